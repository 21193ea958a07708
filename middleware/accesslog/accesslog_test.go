package accesslog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/accesslog"
	"github.com/upshift-go/upshift/upshifttest"
)

// A book collects records.
type book struct {
	mu    sync.Mutex // guards lines
	lines bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines.Write(p)
}

// take returns the records since it was last called, and all of their text.
func (b *book) take(t *testing.T) (records []map[string]any, text string) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	text = b.lines.String()
	for line := range strings.Lines(text) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	b.lines.Reset()
	return records, text
}

// expect compares a record with what it has to say, "namespace=/ code=x", with _ for spaces.
func expect(t *testing.T, records []map[string]any, at int, message, says string) {
	t.Helper()
	if at >= len(records) {
		t.Errorf("no record %d: %v", at, records)
		return
	}
	r := records[at]
	if r["msg"] != message {
		t.Errorf("record %d is %v, want %q", at, r, message)
	}
	for part := range strings.FieldsSeq(says) {
		name, want, _ := strings.Cut(part, "=")
		if got := strings.ReplaceAll(fmt.Sprint(r[name]), " ", "_"); got != want {
			t.Errorf("%q: %s is %q, want %q", message, name, got, want)
		}
	}
}

func TestRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b book
		srv := upshifttest.NewServer(t, core.Options{})
		stop := accesslog.Attach(srv, accesslog.Options{
			Logger: slog.New(slog.NewJSONHandler(&b, nil)),
			Events: func(_, event string) int {
				return map[string]int{"say": 1, "rare": 1 << 40}[event]
			},
			Attrs: func(*core.Socket) []slog.Attr { return []slog.Attr{slog.String("user", "ann")} },
		})
		srv.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				var auth struct{ Banned bool }
				if err := r.Socket.Auth(&auth); err != nil || auth.Banned {
					return core.Errorf("banned", "go away")
				}
				return next(ctx, r)
			}
		})
		ns := srv.Of("/chat")
		for _, event := range []string{"say", "rare", "quiet"} {
			core.On(ns, event, func(_ context.Context, _ *core.Socket, text string) (int, error) {
				<-time.After(time.Second)
				switch text {
				case "known":
					return 0, core.Errorf("known", "known")
				case "unknown":
					return 0, errors.New("broken")
				}
				return len(text), nil
			})
		}
		c := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{Auth: map[string]any{"token": "SECRET"}})
		records, text := b.take(t)
		if len(records) != 1 {
			t.Errorf("a connect has records %v", records)
		}
		expect(t, records, 0, "connect", "level=INFO namespace=/chat socket="+c.ID()+" transport=pipe recovered=false user=ann")
		client := fmt.Sprint(records[0]["client"])

		for _, event := range []string{"say", "rare", "quiet"} {
			for _, arg := range []string{"SECRET", "known", "unknown"} {
				_ = c.Call(t.Context(), event, []any{arg})
			}
		}
		records, more := b.take(t)
		if len(records) != 5 {
			t.Errorf("events have records %v", records)
		}
		expect(t, records, 0, "event", "level=INFO event=say ack=true duration=1e+09 bytes=8 namespace=/chat user=ann code=<nil>")
		expect(t, records, 1, "event", "level=WARN event=say code=known")
		expect(t, records, 2, "event", "level=WARN event=say code=internal error=broken")
		expect(t, records, 3, "event", "event=rare code=known")
		text += more

		if err := upshifttest.Refused(t, srv, "/chat", upshifttest.Options{Auth: map[string]any{"banned": true}}); err == nil {
			t.Error("not refused")
		}
		if err := upshifttest.Refused(t, srv, "/none", upshifttest.Options{}); err == nil {
			t.Error("not refused")
		}
		records, _ = b.take(t)
		expect(t, records, 0, "connect refused", "level=WARN namespace=/chat code=banned")
		expect(t, records, 1, "connect refused", "level=WARN namespace=/none")

		<-time.After(time.Second)
		c.Disconnect()
		synctest.Wait()
		c.Close()
		records, more = b.take(t)
		expect(t, records, 0, "disconnect", "level=INFO namespace=/chat reason=client_namespace_disconnect")
		expect(t, records, 1, "session closed", "upgraded=false client="+client)
		if in, _ := records[len(records)-1]["bytes_in"].(float64); in < 100 {
			t.Errorf("session closed: %v", records[len(records)-1])
		}
		text += more
		if strings.Contains(text, "SECRET") {
			t.Errorf("a payload is in the log:\n%s", text)
		}

		stop()
		_ = upshifttest.Dial(t, srv, "/chat", upshifttest.Options{}).Emit(t.Context(), "say", "x")
		<-time.After(2 * time.Second)
		if records, _ := b.take(t); len(records) > 0 {
			t.Errorf("after stop: %v", records)
		}
	})
}

// A payload is logged only as far as it is asked for.
func TestPayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b book
		srv := upshifttest.NewServer(t, core.Options{})
		accesslog.Attach(srv, accesslog.Options{
			Logger: slog.New(slog.NewJSONHandler(&b, nil)),
			Events: func(string, string) int { return 1 },
			Payload: func(_ *core.Socket, _ string, args core.Args) slog.Value {
				var m struct{ Room string }
				_ = args.Bind(&m)
				return slog.StringValue(m.Room)
			},
		})
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		if err := c.Emit(t.Context(), strings.Repeat("x", 1000), map[string]string{"room": "r", "text": "SECRET"}); err != nil {
			t.Fatal(err)
		}
		records, text := b.take(t)
		expect(t, records, 1, "event", "payload=r event="+strings.Repeat("x", 200))
		if strings.Contains(text, "SECRET") {
			t.Error(text)
		}
	})
}
