package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A client that takes nothing for ten seconds finds the newest price of each
// symbol afterwards, and not the thousands that it has missed.
func TestSlowClientGetsTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		client := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		market, closeMarket := context.WithCancel(t.Context())
		go trade(market, srv.Of("/"), 20*time.Millisecond)

		if first := upshifttest.Receive(client, Price); first.N != 1 || first.Symbol != opening[0].Symbol {
			t.Errorf("the first tick is %+v", first)
		}
		client.Stall()
		<-time.After(10*time.Second - time.Millisecond) // takes no time; the first tick was after 20 ms
		closeMarket()
		client.Resume()
		synctest.Wait()

		const rounds = 500
		received := client.Pending()
		newest := make(map[string]int)
		for _, event := range received {
			var tick Tick
			if err := event.Args.Bind(&tick); err != nil {
				t.Fatal(err)
			}
			newest[tick.Symbol] = tick.N
		}
		for _, o := range opening {
			if got := newest[o.Symbol]; got != rounds {
				t.Errorf("the last tick of %s is number %d, want %d", o.Symbol, got, rounds)
			}
		}
		if most := 3 * len(opening); len(received) > most {
			t.Errorf("%d ticks were received, want %d at most", len(received), most)
		}
	})
}
