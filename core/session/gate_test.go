package session

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// gated is a manager whose sessions the test opens from addresses.
type gated struct {
	*Manager
	t         *testing.T
	transport *fakeTransport
	sessions  []*Session
}

func newGated(t *testing.T, o Options) *gated {
	t.Helper()
	g := &gated{t: t, transport: &fakeTransport{name: "x"}}
	o.Transports = []transports.Transport{g.transport}
	m, err := New(handlerFunc(func(s *Session) Receiver {
		g.sessions = append(g.sessions, s)
		return &fakeReceiver{}
	}), o)
	if err != nil {
		t.Fatal(err)
	}
	g.Manager = m
	t.Cleanup(g.endAll)
	return g
}

func (g *gated) open(address string) error {
	_, err := g.Open(g.transport, transports.Handshake{RemoteAddr: address}, &fakeConn{})
	return err
}

func (g *gated) endAll() {
	for _, s := range g.sessions {
		s.fail(&transports.CloseError{Reason: transports.ForcedClose})
	}
	g.sessions = nil
}

func (g *gated) want(err error, addresses ...string) {
	g.t.Helper()
	for _, address := range addresses {
		if got := g.open(address); !errors.Is(got, err) {
			g.t.Errorf("from %s: %v, want %v", address, got, err)
		}
	}
}

// wantForgotten fails unless nothing is known of any address.
func (g *gated) wantForgotten() {
	g.t.Helper()
	g.gate.mu.Lock()
	defer g.gate.mu.Unlock()
	if len(g.gate.sessions)+len(g.gate.young)+len(g.gate.old) > 0 || g.gate.timer != nil {
		g.t.Errorf("left: %v %v %v", g.gate.sessions, g.gate.young, g.gate.old)
	}
}

func TestSessionsPerAddress(t *testing.T) {
	g := newGated(t, Options{MaxSessionsPerAddress: 2})
	g.want(nil, "10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "[::ffff:10.0.0.2]:2", "[2001:db8::1]:1", "[2001:db8::2]:1")
	g.want(ErrTooManySessionsFromAddress, "10.0.0.1:3", "10.0.0.2:3", "[2001:db8::3%eth0]:1", "10.0.0.1", "2001:db8::3")
	g.want(nil, "[2001:db8:0:1::1]:1", "", "", "", "@", "@", "@") // another network; and who has no address
	g.sessions[0].fail(&transports.CloseError{Reason: transports.TransportClose})
	g.want(nil, "10.0.0.1:4")
	g.want(ErrTooManySessionsFromAddress, "10.0.0.1:5")
	if n := g.Stats().TooManySessionsFromAddress; n != 6 {
		t.Errorf("counted %d", n)
	}
	g.endAll()
	g.wantForgotten()
}

func TestClientAddress(t *testing.T) {
	g := newGated(t, Options{MaxSessionsPerAddress: 1, ClientAddress: func(h *transports.Handshake) string {
		return h.Header.Get("X-Forwarded-For")
	}})
	open := func(client string) error {
		h := transports.Handshake{RemoteAddr: "10.0.0.1:1", Header: transports.NewHeader("X-Forwarded-For", client)}
		_, err := g.Open(g.transport, h, &fakeConn{})
		return err
	}
	for _, client := range []string{"a", "b", "", ""} {
		if err := open(client); err != nil {
			t.Errorf("%q: %v", client, err)
		}
	}
	if err := open("a"); !errors.Is(err, ErrTooManySessionsFromAddress) {
		t.Error(err)
	}
}

func TestConnectRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t, Options{MaxConnectRate: 2.5})
		for range 3 {
			g.want(nil, "a:1", "b:1", "c:1") // one second's worth at once
			g.want(ErrConnectRate, "d:1", "a:1")
			<-time.After(400 * time.Millisecond)
			g.want(nil, "a:1")
			g.want(ErrConnectRate, "a:1")
			<-time.After(time.Hour)
		}
		if n := g.Stats().ConnectRate; n != 9 {
			t.Errorf("counted %d", n)
		}
	})
}

func TestConnectRatePerAddress(t *testing.T) {
	for _, perSecond := range []float64{0.1, 1, 10} {
		t.Run(fmt.Sprint(perSecond), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGated(t, Options{MaxConnectRatePerAddress: perSecond})
				share := time.Duration(float64(time.Second) / perSecond)
				for range int(max(1, perSecond)) {
					g.want(nil, "10.0.0.1:1", "10.0.0.2:1")
				}
				// An address that goes on trying is not forgotten.
				for range 20 {
					g.want(ErrConnectRateFromAddress, "10.0.0.1:1")
					<-time.After(share + time.Microsecond)
					g.want(nil, "10.0.0.1:1")
				}
				g.want(nil, "10.0.0.2:1")
				if n := g.Stats().ConnectRateFromAddress; n != 20 {
					t.Errorf("counted %d", n)
				}
				<-time.After(3 * share * time.Duration(max(1, perSecond)))
				synctest.Wait()
				g.wantForgotten()
			})
		})
	}
}

// However a handshake fails, it leaves nothing counted.
func TestRefusedHandshakesAreNotCounted(t *testing.T) {
	no := errors.New("no")
	refuse := false
	g := newGated(t, Options{
		MaxSessions: 1, MaxSessionsPerAddress: 1,
		AllowRequest: func(context.Context, *transports.Handshake) error {
			if refuse {
				return no
			}
			return nil
		},
		GenerateID: func(h *transports.Handshake) (string, error) {
			if h.Path == "bad id" {
				return "", no
			}
			return "id" + h.RemoteAddr, nil
		},
	})
	const address = "10.0.0.1:1"
	for range 3 {
		refuse = true
		g.want(no, address)
		refuse = false
		if _, err := g.Open(g.transport, transports.Handshake{RemoteAddr: address, Path: "bad id"}, &fakeConn{}); !errors.Is(err, no) {
			t.Errorf("GenerateID: %v", err)
		}
		g.want(nil, address)
		g.want(ErrTooManySessions, address, "10.0.0.2:1")
		g.endAll()
	}
	if g.Len() != 0 {
		t.Errorf("%d sessions", g.Len())
	}
	g.wantForgotten()
	if st := g.Stats(); st.TooManySessions != 6 || st.Opened != 3 {
		t.Errorf("stats %+v", st)
	}
}

// What ends a session is counted by its cause.
func TestEndsAreCounted(t *testing.T) {
	g := newGated(t, Options{})
	for _, err := range []error{
		transports.ErrPayloadTooLarge, transports.ErrTooManyPackets, transports.ErrMalformed, transports.ErrSlowConsumer, transports.ErrClientGone,
	} {
		g.want(nil, "")
		g.sessions[len(g.sessions)-1].fail(&transports.CloseError{Reason: transports.TransportError, Err: fmt.Errorf("because: %w", err)})
	}
	st := g.Stats()
	if st.PayloadTooLarge != 1 || st.TooManyPackets != 1 || st.Malformed != 1 || st.SlowConsumers != 1 || st.Opened != 5 {
		t.Errorf("stats %+v", st)
	}
}
