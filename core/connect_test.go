package core_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/pipe"
)

// stuckLog is a log that takes "session closed" only when it may.
type stuckLog struct {
	slog.Handler
	may chan struct{}
}

func (stuckLog) Enabled(context.Context, slog.Level) bool { return true }

func (l stuckLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "session closed" {
		<-l.may
	}
	return nil
}

// A socket whose session is over, but has not told it yet, asks middleware once.
func TestConnectOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe.New()
		may, consent := make(chan struct{}), make(chan struct{})
		srv, err := core.New(core.Options{
			Transports: []transports.Transport{p},
			Logger:     slog.New(stuckLog{slog.DiscardHandler, may}),
		})
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		srv.Use(func(core.Handler) core.Handler {
			return func(context.Context, *core.Request) error {
				if asked++; asked == 1 {
					<-consent
				} else {
					<-may // not for ever
				}
				return nil
			}
		})
		client, err := p.Dial(srv, transports.Handshake{})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Send(transports.Packet{Type: transports.Message, Data: []byte("0")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		client.Cut()
		synctest.Wait()
		close(consent)
		synctest.Wait()
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		close(may)
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Middleware that is nil is found when it is registered.
func TestNilMiddleware(t *testing.T) {
	srv, err := core.New(core.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, use := range map[string]func(){
		"server":    func() { srv.Use(nil) },
		"namespace": func() { srv.Of("/").Use(nil) },
		"family":    func() { srv.OfPattern("/{x}").Use(nil) },
		"group":     func() { srv.Of("/").Group(nil) },
		"subgroup":  func() { srv.Of("/").Group().Group(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it is taken")
				}
			}()
			use()
		})
	}
}
