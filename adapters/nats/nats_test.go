package nats_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/nats"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/clustertest"
	"github.com/upshift-go/upshift/internal/clustertest/ports"
)

// brokerEnv makes the test binary a NATS server: a port, the directory of JetStream, if it
// is to have that, and a token, if clients need one, with commas between.
const brokerEnv = "UPSHIFT_TEST_NATS"

func TestMain(m *testing.M) {
	if place := os.Getenv(brokerEnv); place != "" {
		if err := runBroker(place); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	clustertest.Main(func(url string) core.Adapter {
		return nats.NewLog(nats.LogOptions{Options: nats.Options{Servers: url}})
	})
	goleak.VerifyTestMain(m)
}

func runBroker(place string) error {
	parts := strings.Split(place, ",")
	n, err := strconv.Atoi(parts[0])
	if err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: n, NoSigs: true, NoLog: true, JetStream: parts[1] != "", StoreDir: parts[1], Authorization: parts[2],
	})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		return fmt.Errorf("port %d is not there to listen on", n)
	}
	fmt.Println(s.ClientURL())
	s.WaitForShutdown() // until it is killed
	return nil
}

const patience = 20 * time.Second

// A broker is a NATS server in a process of its own, with JetStream on files.
type broker struct {
	tb    testing.TB
	port  int
	url   string
	dir   string // none: without JetStream
	token string // that clients need, if any
	cmd   *exec.Cmd
}

func startBroker(tb testing.TB) *broker {
	tb.Helper()
	b := &broker{tb: tb, dir: tb.TempDir()}
	b.start()
	return b
}

// start starts the server for the first time, at a port that nobody else has.
func (b *broker) start() {
	b.tb.Helper()
	var err error
	for range ports.Attempts {
		b.port = ports.Free(b.tb)
		if err = b.listen(); err == nil {
			b.tb.Cleanup(b.kill)
			return
		}
	}
	b.tb.Fatal(err)
}

// run starts the server again.
func (b *broker) run() {
	b.tb.Helper()
	if err := b.listen(); err != nil {
		b.tb.Fatal(err)
	}
}

// listen starts the server and returns when it is ready.
func (b *broker) listen() error {
	b.cmd = exec.CommandContext(context.Background(), os.Args[0])
	b.cmd.Env = append(os.Environ(), brokerEnv+"="+strings.Join([]string{strconv.Itoa(b.port), b.dir, b.token}, ","))
	b.cmd.Stderr = os.Stderr
	stdout, err := b.cmd.StdoutPipe()
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		return err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.kill()
		return err
	}
	b.url = strings.TrimSpace(line)
	return nil
}

func (b *broker) kill() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait() // it was killed
}

func (b *broker) signal(signal os.Signal) {
	if err := b.cmd.Process.Signal(signal); err != nil {
		b.tb.Fatal(err)
	}
}

var clusters atomic.Uint64

// options are those of a cluster that no other test has.
func options(b *broker) nats.Options {
	return nats.Options{Servers: b.url, Prefix: fmt.Sprint("test", clusters.Add(1))}
}

func TestAdapter(t *testing.T) {
	b := startBroker(t)
	adaptertest.Run(t, func(*testing.T) func() core.Adapter {
		o := options(b)
		return func() core.Adapter { return nats.New(o) }
	})
}

func newLog(b *broker) func(*testing.T) func() core.Adapter {
	return func(*testing.T) func() core.Adapter {
		o := nats.LogOptions{Options: options(b), InMemory: true, MaxBytes: 64 << 20}
		return func() core.Adapter { return nats.NewLog(o) }
	}
}

func TestLog(t *testing.T) { adaptertest.Run(t, newLog(startBroker(t))) }

func TestRecovery(t *testing.T) { adaptertest.RunRecovery(t, newLog(startBroker(t))) }

func TestRollingRestart(t *testing.T) {
	b := startBroker(t)
	clustertest.TestRollingRestart(t, b.url, nats.NewLogEngine(nats.LogOptions{Options: nats.Options{Servers: b.url}}))
}
