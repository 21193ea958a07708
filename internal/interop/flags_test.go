package interop

import (
	"strings"
	"testing"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/polling"
	"github.com/upshift-go/upshift/transports/ws"
)

// A client that reads gets what is volatile, with its attachments; one that
// does not read is spared it, and gets everything else (C34).
func TestVolatile(t *testing.T) {
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		wire := startLink(t, a.addr)
		c, sid := connect(t, n, "a", wire.url, way, nil)
		settle(t, c, way)
		s := a.socket(t, "/", sid)
		targets := []core.Target{s.Self().Volatile(), a.server.Of("/").To().Volatile(), a.server.Of("/").To(sid).Volatile()}
		dropped := func() uint64 { return a.server.Stats().VolatileDropped }
		for _, to := range targets {
			await(t, "a client that can take it", func() bool {
				before := dropped()
				mustEmit(t, to, "volatile", []byte("bytes"), 1)
				return dropped() == before
			})
			if d := diff([]any{[]byte("bytes"), 1.0}, c.message(t, "volatile").Args); d != "" {
				t.Errorf("event (-want +got):\n%s", d)
			}
		}

		wire.stall()
		filler := strings.Repeat("x", 64<<10)
		sent, numbers, before := 0, 0, dropped()
		for ; dropped() < before+uint64(len(targets)); numbers++ {
			if numbers == 1000 {
				t.Fatal("nothing is dropped")
			}
			mustEmit(t, s, "normal", numbers, filler)
			for _, to := range targets {
				mustEmit(t, to, "volatile", []byte("bytes"), 1)
				sent++
			}
		}
		wire.resume()
		for i, r := range c.messages(t, "normal", numbers) {
			if d := diff(float64(i), r.Args[0]); d != "" {
				t.Fatalf("event %d (-want +got):\n%s", i, d)
			}
		}
		c.call(t, "echo", nil)
		want := sent - int(dropped()-before)
		if got := len(c.take(isMessage("volatile"))); got != want {
			t.Errorf("%d volatile events arrived, want %d of %d", got, want, sent)
		}
	})
}

// Compression is a matter of the transport, and of each event that may do
// without (C35): to the client it is all the same.
func TestCompress(t *testing.T) {
	set := settings{options: func(o *core.Options) {
		o.Transports = []transports.Transport{
			polling.New(polling.Options{}), ws.New(ws.Options{Compression: ws.Compression{Enabled: true}}),
		}
	}}
	eachCodec(t, set, func(t *testing.T, n *node, a *app, way route) {
		wire := startLink(t, a.addr)
		c, sid := connect(t, n, "a", wire.url, way, nil)
		settle(t, c, way)
		large := strings.Repeat("compress me ", 10_000)
		s := a.socket(t, "/", sid)
		for _, to := range []core.Target{s.Self(), a.server.Of("/").To()} {
			for _, compress := range []bool{true, false} {
				before := wire.down.Load()
				mustEmit(t, to.Compress(compress), "large", large)
				if d := diff([]any{large}, c.message(t, "large").Args); d != "" {
					t.Errorf("event (-want +got):\n%s", d)
				}
				// In Node.js a client that polls does not ask for compression.
				small := wire.down.Load()-before < int64(len(large)/2)
				if want := compress && way.ends == "websocket"; small != want {
					t.Errorf("Compress(%v): compressed %v, want %v", compress, small, want)
				}
			}
		}
		if got := c.run(t, `return await socket.compress(false).timeout(30_000).emitWithAck("echo", args[0])`, large); got != large {
			t.Errorf("%d bytes came back, want %d", len(got.(string)), len(large))
		}
	})
}
