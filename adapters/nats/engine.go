package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/upshift-go/upshift/adapters/cluster"
)

// engine is the engine of New. It has one goroutine that receives and one that keeps
// the subscriptions in step, until Close.
type engine struct {
	options Options
	in      cluster.Inbox
	conn    *nats.Conn

	messages chan *nats.Msg
	status   chan nats.Status
	subs     subscriptions
	running  sync.WaitGroup
	closed   chan struct{} // by Close
}

// Name implements cluster.Engine.
func (e *engine) Name() string { return "nats" }

// Start implements cluster.Engine.
func (e *engine) Start(in cluster.Inbox) error {
	e.in = in
	if err := e.connect(); err != nil {
		return err
	}
	e.messages = make(chan *nats.Msg, e.options.MaxPending)
	e.status = e.conn.StatusChanged(nats.CONNECTED, nats.RECONNECTING)
	e.subs.init(e)
	e.subs.begin()
	e.running.Go(e.receive)
	e.running.Go(e.subs.run)
	return nil
}

// Close implements cluster.Engine.
func (e *engine) Close(context.Context) error {
	close(e.closed)
	e.running.Wait()
	e.conn.RemoveStatusListener(e.status)
	if e.options.Existing == nil {
		e.conn.Close()
	}
	return nil
}

var (
	errLost = errors.New("nats: the connection was lost")
	errSlow = errors.New("nats: messages arrive faster than they are delivered")
)

// checkDropped is how often is looked for messages that were dropped.
const checkDropped = 2 * time.Second

// receive hands on what arrives, and says when something may not have.
func (e *engine) receive() {
	lost := false
	check := time.NewTicker(checkDropped)
	defer check.Stop()
	for {
		select {
		case m := <-e.messages:
			e.message(m)
		case status := <-e.status:
			switch {
			case status == nats.RECONNECTING && !lost:
				lost = true
				e.in.Logger().WarnContext(context.Background(), "the connection to NATS was lost", slog.Any("error", e.conn.LastError()))
			case status == nats.CONNECTED && lost:
				lost = false
				e.in.Logger().InfoContext(context.Background(), "the connection to NATS is back")
				e.in.Gap(errLost)
			}
		case <-check.C:
			if e.subs.dropped() {
				e.in.Gap(errSlow)
			}
		case <-e.closed:
			return
		}
	}
}

func (e *engine) message(m *nats.Msg) {
	message, err := cluster.ReadMessage(m.Data)
	if err != nil {
		e.in.Malformed(m.Subject, err)
		return
	}
	e.in.Receive(message)
}

// Changed implements cluster.Engine.
func (e *engine) Changed(namespace string, rooms ...string) { e.subs.changed(namespace, rooms) }

// Encode implements cluster.Engine.
func (e *engine) Encode(m *cluster.Message) (cluster.Publication, error) {
	data, err := cluster.AppendMsgPack(nil, m)
	if err == nil {
		err = e.checkSize(len(data))
	}
	return cluster.Publication{Type: m.Type, Namespace: m.Namespace, Channel: e.subject(m), Data: data}, err
}

// checkSize returns an error if a message is larger than the server takes, as far as that
// is known.
func (e *engine) checkSize(bytes int) error {
	if most := e.conn.MaxPayload(); most > 0 && int64(bytes) > most {
		return fmt.Errorf("nats: %d bytes are more than the %d that the server takes: %w", bytes, most, nats.ErrMaxPayload)
	}
	return nil
}

// subject is where a message goes.
func (e *engine) subject(m *cluster.Message) string {
	switch {
	case m.To != "":
		return e.nodeSubject(m.To)
	case m.Namespace == "" || m.RequestID != "":
		return e.options.Prefix + ".all"
	case m.Type == cluster.Broadcast && len(m.In) == 1 && hasSubject(m.In[0]):
		return e.roomSubject(m.Namespace, m.In[0])
	default:
		return e.namespaceSubject(m.Namespace)
	}
}

func (e *engine) nodeSubject(id string) string { return e.options.Prefix + ".node." + token(id) }

func (e *engine) namespaceSubject(namespace string) string {
	return e.options.Prefix + ".ns." + token(namespace)
}

func (e *engine) roomSubject(namespace, room string) string {
	return e.options.Prefix + ".room." + token(namespace) + "." + token(room)
}

// hasSubject reports whether a room has a subject of its own. Those that are named
// after sockets have not: servers are not told of them.
func hasSubject(room string) bool {
	const socketID, longest = 20, 200 // a subject is not to be longer than a line of the protocol
	return len(room) != socketID && len(room) <= longest
}

// token makes one of any text.
func token(text string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			b.WriteByte('=')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	if b.Len() == 0 {
		return "="
	}
	return b.String()
}

// Publish implements cluster.Engine.
func (e *engine) Publish(ctx context.Context, batch []cluster.Publication) error {
	for i := range batch {
		if err := e.conn.Publish(batch[i].Channel, batch[i].Data); err != nil {
			return fmt.Errorf("nats: %w", err)
		}
	}
	return flush(ctx, e.conn)
}

// jitter is something between nothing and d.
func jitter(d time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(d))) //nolint:gosec // no secret
}
