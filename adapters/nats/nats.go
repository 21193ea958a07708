// Package nats joins servers to a cluster by NATS. A server hears only what is for
// the rooms that it has members in:
//
//	srv, err := core.New(core.Options{Adapter: nats.New(nats.Options{Servers: "nats://nats:4222"})})
//
// With JetStream the broker keeps the last events, so that nothing is lost while a
// server has no connection, and with Options.Recovery of core a client can come back
// to any server, also if its own was killed:
//
//	srv, err := core.New(core.Options{
//		Adapter:  nats.NewLog(nats.LogOptions{Options: nats.Options{Servers: "nats://nats:4222"}}),
//		Recovery: &core.Recovery{},
//	})
//
// What that costs: with recovery every event goes through the stream and comes back,
// also one to a single socket, and every server reads all of them, whatever rooms it
// has. Servers with New and with NewLog do not hear each other.
//
// # Subjects
//
// With P the prefix, N and R names of a namespace and a room, in which everything but
// letters, digits, hyphen and underscore stands as an equals sign and two hexadecimal
// digits, and ID that of a server:
//
//	P.all          heartbeats and questions
//	P.ns.N         what is for a namespace, or several rooms of it
//	P.room.N.R     events for one room
//	P.node.ID      answers for one server
//	P.log.N        the same as P.ns and P.room, of NewLog; a stream keeps it
//	P.state.ID     what the client with that private id comes back to; in a stream, too
//
// Whoever may publish there is part of the cluster. A user of NATS for the servers
// needs to publish and subscribe to P.>, and, for NewLog, to $JS.API.> and _INBOX.>.
//
// What is encoded is what the ClusterAdapter of socket.io-adapter 2.5 exchanges, in
// MessagePack. Node.js has no such adapter for NATS.
package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/upshift-go/upshift/adapters/cluster"
)

// Options say where NATS is. The zero value is for a server at 127.0.0.1:4222.
type Options struct {
	// Servers are URLs with commas between. Default nats://127.0.0.1:4222. They
	// need not be there yet.
	Servers string
	// Connect are further options of the connection, such as nats.UserCredentials or
	// nats.RootCAs. They come last.
	Connect []nats.Option
	// Existing is used instead of a connection of its own, and not closed. It should
	// have been made with nats.NoEcho.
	Existing *nats.Conn
	// Prefix is what all subjects begin with. Default "upshift".
	Prefix string
	// MaxPending is how many messages of others may wait to be delivered. What is
	// beyond it is dropped, and said to be a gap. Default 65,536.
	MaxPending int
	// Cluster are limits that are the same for all engines.
	Cluster cluster.Options
}

func (o Options) withDefaults() Options {
	if o.Servers == "" {
		o.Servers = nats.DefaultURL
	}
	if o.Prefix == "" {
		o.Prefix = "upshift"
	}
	if o.MaxPending == 0 {
		o.MaxPending = 65_536
	}
	return o
}

// New returns an adapter for one server, for core.Options.Adapter.
func New(o Options) *cluster.Adapter { return cluster.New(NewEngine(o), o.Cluster) }

// NewEngine returns the engine of New, for adapters/emitter.
func NewEngine(o Options) cluster.Engine { return newEngine(o) }

func newEngine(o Options) *engine {
	return &engine{options: o.withDefaults(), closed: make(chan struct{})}
}

// connect makes the connection, or takes the one there is. It goes on by itself when
// the server is away.
func (e *engine) connect() error {
	if e.options.MaxPending < 0 {
		return errors.New("nats: Options.MaxPending is negative")
	}
	if e.options.Existing != nil {
		e.conn = e.options.Existing
		return nil
	}
	const maxWait = 5 * time.Second
	conn, err := nats.Connect(e.options.Servers, append([]nats.Option{
		nats.Name("upshift " + e.in.ID()),
		nats.NoEcho(),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // what knows the users may be away, too
		nats.ReconnectBufSize(-1),   // what cannot be sent is to be known
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			return min(time.Duration(attempts)*reconnectWait, maxWait) + jitter(reconnectWait)
		}),
		nats.PingInterval(pingInterval),
	}, e.options.Connect...)...)
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	e.conn = conn
	return nil
}

const (
	reconnectWait = 250 * time.Millisecond
	pingInterval  = 10 * time.Second // two that are not answered end a connection
)

// flush returns when the server has taken what was published.
func flush(ctx context.Context, conn *nats.Conn) error {
	if err := conn.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	return nil
}
