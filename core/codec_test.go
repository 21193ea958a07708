package core_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/pipe"
)

// newCodecRig is newRig with a log that has everything.
func newCodecRig(t *testing.T, c codec.Codec) *rig {
	t.Helper()
	r := &rig{t: t, pipe: pipe.New(), log: new(strings.Builder)}
	srv, err := core.New(core.Options{
		Codec: c, Transports: []transports.Transport{r.pipe},
		Logger: slog.New(slog.NewTextHandler(&lockedWriter{b: r.log, lock: make(chan struct{}, 1)}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Server = srv
	t.Cleanup(func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error("Shutdown:", err)
		}
	})
	return r
}

const (
	packedConnect = "binary:\x83\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa1/" // as the official parser writes it
	packedEcho    = "binary:\x84\xa4type\x02\xa4data\x93\xa4echo\xc4\x01x\xd7\x00\x00\x00\x00\xe8\xd4\xa5\x10\x00\xa2id\x00\xa3nsp\xa1/"
	packedEchoed  = "binary:\x84\xa2id\x00\xa4type\x03\xa4data\x92\xc4\x01x\xd7\x00\x00\x00\x00\xe8\xd4\xa5\x10\x00\xa3nsp\xa1/"
)

// A server with the MessagePack codec answers a client that speaks it.
func TestMsgPackServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCodecRig(t, codec.MsgPack(codec.MsgPackOptions{}))
		core.On(r.Of("/"), "echo", func(_ context.Context, _ *core.Socket, in core.Args2[any, any]) (core.Args2[any, any], error) {
			return in, nil
		})
		c := r.dial()
		c.send(packedConnect)
		if got := c.next(); !strings.HasPrefix(got, "binary:\x83\xa4type\x00\xa4data\x81\xa3sid\xb4") || !strings.HasSuffix(got, "\xa3nsp\xa1/") {
			t.Fatalf("answer to CONNECT is %q", got)
		}
		c.send(packedEcho)
		c.expect(packedEchoed)
		c.send("binary:\x83\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa4/nil")
		c.expect("binary:\x83\xa4type\x04\xa4data\x81\xa7message\xb1Invalid namespace\xa3nsp\xa4/nil")
	})
}

// A client that speaks another codec is let go at once, before and after it has
// joined, and log and cause say why.
func TestWrongCodec(t *testing.T) {
	packing := codec.MsgPack(codec.MsgPackOptions{})
	json := codec.JSON(codec.JSONOptions{})
	for name, test := range map[string]struct {
		codec       codec.Codec
		join, wrong string
		want        error
		text        string
	}{
		"JSON client of a MsgPack server": {
			packing, packedConnect, "0", codec.ErrUnexpectedText,
			"text message on a msgpack connection: the client uses another codec",
		},
		"MsgPack client of a JSON server": {
			json, "0", packedConnect, codec.ErrUnexpectedBinary,
			"got binary data when not reconstructing a packet: the client may use another codec",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newCodecRig(t, test.codec)
				var cause error
				r.Of("/").OnDisconnect(func(_ context.Context, _ *core.Socket, c error) { cause = c })

				c := r.dial()
				c.send(test.wrong)
				c.expectEnd()
				synctest.Wait()
				if cause != nil {
					t.Errorf("a socket that never was left: %v", cause)
				}
				if n := r.Sessions(); n != 0 {
					t.Errorf("%d sessions", n)
				}
				if log := r.log.String(); !strings.Contains(log, `reason="forced close"`) || !strings.Contains(log, test.text) {
					t.Errorf("the log says %s", log)
				}

				c = r.dial()
				c.send(test.join)
				c.next()
				c.send(test.wrong)
				c.expectEnd()
				synctest.Wait()
				e, ok := errors.AsType[*codec.DecodeError](cause)
				if !ok || e.Error() != test.text || !errors.Is(cause, test.want) || core.ReasonOf(cause) != core.ForcedClose {
					t.Errorf("cause %v, want %s", cause, test.text)
				}
			})
		})
	}
}
