package clustertest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/emitter"
	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
)

// nodeEnv makes the test binary a server, in the cluster of the broker that it says.
const nodeEnv = "UPSHIFT_TEST_BROKER"

// Main runs a server instead of tests if this process was started to be one by
// TestRollingRestart.
func Main(newAdapter func(broker string) core.Adapter) {
	broker := os.Getenv(nodeEnv)
	if broker == "" {
		return
	}
	if err := runNode(newAdapter(broker)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runNode is a server until it is told to end. It writes its address.
func runNode(adapter core.Adapter) error {
	srv, err := core.New(core.Options{Adapter: adapter, Recovery: &core.Recovery{}})
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, l.Addr()); err != nil {
		return err
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	site := &http.Server{Handler: srv, ReadHeaderTimeout: patience}
	go func() { _ = site.Serve(l) }()
	<-stop.Done()
	_ = l.Close() // new clients go elsewhere
	return srv.Shutdown(context.Background())
}

// A fleet is some servers, and a balancer in front of them.
type fleet struct {
	broker string
	next   atomic.Uint64

	mu    sync.Mutex // guards what follows
	addrs []string
	nodes []*exec.Cmd
}

func (f *fleet) start(t *testing.T, i int) {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0]) //nolint:gosec // the test itself, as a server
	cmd.Env = append(os.Environ(), nodeEnv+"="+f.broker)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addrs[i], f.nodes[i] = strings.TrimSpace(line), cmd
}

// stop ends a server with a signal, and waits for it.
func (f *fleet) stop(i int, with os.Signal) {
	f.mu.Lock()
	cmd := f.nodes[i]
	f.mu.Unlock()
	_ = cmd.Process.Signal(with)
	_ = cmd.Wait() // how it ends is the test's doing
}

// dial connects to the servers in turns, passing over those that are not there.
func (f *fleet) dial(ctx context.Context, _, _ string) (conn net.Conn, err error) {
	f.mu.Lock()
	addrs := append([]string(nil), f.addrs...)
	f.mu.Unlock()
	for range addrs {
		addr := addrs[f.next.Add(1)%uint64(len(addrs))]
		if conn, err = new(net.Dialer).DialContext(ctx, "tcp", addr); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// TestRollingRestart has three servers restarted one after the other, some in order
// and some by SIGKILL, while a thousand clients are sent something: each gets
// everything, once and in order, or, if the broker keeps nothing, what it gets once and
// in order on each connection, and everything from when all servers are back. TestMain must call Main. The
// adapters of servers and the engine are those of the broker.
func TestRollingRestart(t *testing.T, broker string, engine cluster.Engine) {
	t.Helper()
	const servers, clients = 3, 1000
	_, keeps := engine.(cluster.Log)
	f := &fleet{broker: broker, addrs: make([]string, servers), nodes: make([]*exec.Cmd, servers)}
	for i := range servers {
		f.start(t, i)
	}
	t.Cleanup(func() {
		for i := range servers {
			f.stop(i, os.Kill)
		}
	})
	transport := &http.Transport{DialContext: f.dial}
	t.Cleanup(transport.CloseIdleConnections)

	var failed atomic.Int64
	var reached [clients]atomic.Int64 // the number each client has received last
	fail := func(format string, args ...any) {
		if failed.Add(1) <= 5 {
			t.Errorf(format, args...)
		}
	}
	var dialling sync.WaitGroup
	limit := make(chan struct{}, 50)
	for i := range clients {
		dialling.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			c, err := client.New("http://fleet", client.Options{
				HTTPClient:   &http.Client{Transport: transport},
				Reconnection: client.Reconnection{Delay: 50 * time.Millisecond, MaxDelay: time.Second},
			})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			c.Listen("n", func(_ context.Context, args event.Arguments) ([]any, error) {
				var n int64
				if err := args.Bind(&n); err != nil {
					return nil, err
				}
				if last := reached[i].Swap(n); n <= last || keeps && n != last+1 {
					fail("client %d has got %d after %d", i, n, last)
				}
				return nil, nil
			})
			again := false
			c.OnConnect(func(context.Context) {
				switch {
				case !keeps:
					reached[i].Store(0) // another server may not have come as far
				case again && !c.Recovered():
					fail("client %d is not recovered", i)
				}
				again = true
			})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := c.Connect(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	dialling.Wait()
	if t.Failed() {
		t.FailNow()
	}
	<-time.After(time.Second) // what clients come back to is saved with a delay

	sender, err := emitter.New(engine, emitter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sender.Close(context.Background()) })
	var sent atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	end := sync.OnceFunc(func() {
		close(stop)
		<-stopped
	})
	defer end()
	go func() {
		defer close(stopped)
		for {
			if err := sender.Emit(context.Background(), "n", sent.Add(1)); err != nil {
				t.Error(err)
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	for i, with := range []os.Signal{syscall.SIGTERM, os.Kill, syscall.SIGTERM} {
		f.stop(i, with)
		f.start(t, i)
		<-time.After(2 * time.Second)
	}
	if keeps {
		end() // otherwise those who are not back yet need something more
	}
	last := sent.Load()
	for i := range reached {
		for end := time.Now().Add(patience); reached[i].Load() < last; <-time.After(10 * time.Millisecond) {
			if time.Now().After(end) {
				fail("client %d has got %d of %d", i, reached[i].Load(), last)
				break
			}
		}
	}
	t.Logf("%d events to %d clients; %d failures", last, clients, failed.Load())
}
