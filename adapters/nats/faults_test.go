package nats_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/nats"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/clustertest"
	"github.com/upshift-go/upshift/upshifttest"
)

// A wire is the network between one server and NATS, which can be cut.
type wire struct {
	mu    sync.Mutex // guards what follows
	isCut bool
	conns []net.Conn
}

// Dial implements natsgo.CustomDialer.
func (w *wire) Dial(network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(context.Background(), network, addr)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		_ = conn.Close()
		return nil, errors.New("the wire is cut")
	}
	w.conns = append(w.conns, conn)
	return conn, nil
}

func (w *wire) cut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = cut
	if cut {
		for _, conn := range w.conns {
			_ = conn.Close()
		}
	}
}

func TestFaults(t *testing.T) {
	flavours := map[string]struct {
		log      bool
		recovery *core.Recovery
	}{"core": {}, "log": {log: true}, "log with recovery": {log: true, recovery: &core.Recovery{}}}
	for name, fault := range map[string]struct {
		begin, end func(b *broker, wires []*wire)
		options    cluster.Options
		lossless   bool // with a log
	}{
		"killed": {
			begin: func(b *broker, _ []*wire) { b.kill() },
			end:   func(b *broker, _ []*wire) { b.run() },
		},
		"paused for a moment": {
			begin:    func(b *broker, _ []*wire) { b.signal(syscall.SIGSTOP) },
			end:      func(b *broker, _ []*wire) { b.signal(syscall.SIGCONT) },
			lossless: true,
		},
		"paused for long": {
			begin: func(b *broker, _ []*wire) { b.signal(syscall.SIGSTOP) },
			end: func(b *broker, _ []*wire) {
				<-time.After(2 * time.Second)
				b.signal(syscall.SIGCONT)
			},
			options: cluster.Options{PublishTimeout: 200 * time.Millisecond},
		},
		"receiver cut off": {
			begin:    func(_ *broker, wires []*wire) { wires[1].cut(true) },
			end:      func(_ *broker, wires []*wire) { wires[1].cut(false) },
			lossless: true,
		},
		"sender cut off": {
			begin: func(_ *broker, wires []*wire) { wires[0].cut(true) },
			end:   func(_ *broker, wires []*wire) { wires[0].cut(false) },
		},
	} {
		for kind, flavour := range flavours {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				b := startBroker(t)
				wires := []*wire{new(wire), new(wire)}
				var adapters [2]clustertest.Member
				for i := range adapters {
					o := nats.Options{Servers: b.url, Cluster: fault.options, Connect: []natsgo.Option{natsgo.SetCustomDialer(wires[i])}}
					if flavour.log {
						adapters[i] = nats.NewLog(nats.LogOptions{Options: o, MaxBytes: 64 << 20})
					} else {
						adapters[i] = nats.New(o)
					}
				}
				clustertest.TestFault(t, adapters, flavour.recovery, clustertest.Fault{
					Begin: func() { fault.begin(b, wires) }, End: func() { fault.end(b, wires) },
					Lossless: fault.lossless && flavour.log,
				})
			})
		}
	}
}

// A broker that does not accept the server for a while, since what knows its users is
// not there yet, is tried on.
func TestRefusedForAWhile(t *testing.T) {
	b := startBroker(t)
	b.kill()
	b.token = "right"
	b.run()
	attempts, gaps := make(chan struct{}, 1000), make(chan struct{}, 1)
	upshifttest.NewServer(t, core.Options{Adapter: nats.New(nats.Options{
		Servers: b.url,
		Cluster: cluster.Options{OnGap: func(error) { gaps <- struct{}{} }},
		Connect: []natsgo.Option{natsgo.Token("right"), natsgo.CustomReconnectDelay(func(int) time.Duration {
			attempts <- struct{}{}
			return 10 * time.Millisecond
		})},
	})})
	b.kill()
	b.token = "wrong"
	b.run()
	for range len(attempts) + 5 {
		select {
		case <-attempts:
		case <-time.After(patience):
			t.Fatal("it is not tried any more")
		}
	}
	b.kill()
	b.token = "right"
	b.run()
	select {
	case <-gaps:
	case <-time.After(patience):
		t.Error("it has not come back")
	}
}
