package upshifttest_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
	"github.com/upshift-go/upshift/upshifttest"
)

// A recorder is a test that may fail.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// What must fail a test does, and says why.
func TestFailures(t *testing.T) {
	number := event.New[int, event.None]("posted")
	for name, c := range map[string]struct {
		want string
		test func(tb testing.TB, srv *core.Server, ann *upshifttest.Client)
	}{
		"another event": {
			`received "posted" [{"room":"r","data":"AQ=="}], want "other" []`,
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) { ann.Expect("other") },
		},
		"other arguments": {
			`received "posted" [{"room":"r","data":"AQ=="}], want "posted" [{"room":"r","data":"Ag=="}]`,
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) {
				ann.Expect("posted", message{Room: "r", Data: []byte{2}})
			},
		},
		"text for bytes": {
			`received "posted" [{"room":"r","data":"AQ=="}], want "posted" [{"data":"AQ==","room":"r"}]`,
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) {
				ann.Expect("posted", map[string]string{"room": "r", "data": "AQ=="})
			},
		},
		"too few arguments": {
			`received "posted" [{"room":"r","data":"AQ=="}], want "posted" []`,
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) { ann.Expect("posted") },
		},
		"not to be encoded": {
			"reserved",
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) { ann.Expect("connect") },
		},
		"an event": {
			`received "posted" [{"room":"r","data":"AQ=="}], want nothing`,
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) { ann.ExpectNone() },
		},
		"another descriptor": {
			`want "size"`,
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) { upshifttest.Receive(ann, size) },
		},
		"another type": {
			`cannot unmarshal object`,
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) { upshifttest.Receive(ann, number) },
		},
		"an answer of another type": {
			`cannot unmarshal`,
			func(_ testing.TB, srv *core.Server, ann *upshifttest.Client) {
				upshifttest.Answer(ann, size, func(string) int { return 0 })
				_ = srv.Of("/chat").Emit(context.Background(), "size", 1)
				synctest.Wait()
			},
		},
		"nothing": {
			"waited 1m0s in vain for an event",
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) { ann.Next(); ann.Next() },
		},
		"no disconnection": {
			"waited 1m0s in vain for a disconnection",
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) { ann.WaitDisconnect() },
		},
		"no namespace": {
			"/none has refused the client: Invalid namespace",
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) { ann.Join("/none", nil) },
		},
		"bad auth": {
			"invalid payload",
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) { ann.Join("/chat", 7) },
		},
		"no connection": {
			"Join without a connection",
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) { ann.Cut(); ann.Join("/chat", nil) },
		},
		"not connected": {
			"socket has been disconnected",
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) { ann.Cut(); ann.Disconnect() },
		},
		"accepted": {
			"/chat has accepted the client",
			func(tb testing.TB, srv *core.Server, _ *upshifttest.Client) {
				_ = upshifttest.Refused(tb, srv, "/chat", upshifttest.Options{})
			},
		},
		"another transport": {
			`transport "pipe" is not configured`,
			func(tb testing.TB, _ *core.Server, _ *upshifttest.Client) {
				srv, err := core.New(core.Options{})
				if err != nil {
					tb.Fatalf("%v", err)
				}
				tb.Cleanup(func() { _ = srv.Shutdown(context.Background()) })
				upshifttest.Dial(tb, srv, "/chat", upshifttest.Options{})
			},
		},
		"bad options": {
			"negative",
			func(tb testing.TB, _ *core.Server, _ *upshifttest.Client) {
				upshifttest.NewServer(tb, core.Options{MaxRooms: -1})
			},
		},
		"server is gone": {
			"shut",
			func(_ testing.TB, srv *core.Server, ann *upshifttest.Client) {
				_ = srv.Shutdown(context.Background())
				ann.Reconnect()
			},
		},
		"lost meanwhile": {
			"/chat has refused the client: upshifttest: /chat: transport error",
			func(_ testing.TB, _ *core.Server, ann *upshifttest.Client) {
				ann.Delay(time.Second) // the answer is on its way when the network fails
				ann.CutAfterSent(1)
				ann.Reconnect()
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tb := &recorder{TB: t}
				done := make(chan struct{})
				go func() { // Fatalf ends the goroutine
					defer close(done)
					srv := upshifttest.NewServer(tb, core.Options{})
					ns := register(srv)
					ann := upshifttest.Dial(tb, srv, "/chat", upshifttest.Options{})
					if err := posted.Emit(context.Background(), ns, message{Room: "r", Data: []byte{1}}); err != nil {
						tb.Errorf("%v", err)
					}
					synctest.Wait()
					c.test(tb, srv, ann)
				}()
				<-done
				if got := strings.Join(tb.failures, "; "); len(tb.failures) != 1 || !strings.Contains(got, c.want) {
					t.Errorf("failed with %s\nwant %s", got, c.want)
				}
			})
		})
	}
}

// A server that speaks another codec refuses.
func TestOtherCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{Codec: codecs["msgpack"]})
		srv.Of("/")
		if err := upshifttest.Refused(t, srv, "/", upshifttest.Options{}); err == nil {
			t.Error("no error")
		}
	})
}
