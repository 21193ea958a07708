package cluster

import (
	"context"
	"log/slog"
)

// An Engine carries messages between the servers of a cluster, over a broker. A
// message reaches every other server that has its namespace (and, if the engine
// is that fine, a room that it is for), or the one that it is for; at most once,
// and the messages of one server in their order.
//
// What an engine does not do: it knows no requests, waits for no answers, keeps
// nothing for later. Package adaptertest tests one.
type Engine interface {
	// Name is a short name for logs and metrics, such as "redis".
	Name() string

	// Start is called once, before anything else, by core.New. An error makes
	// that fail: it is for options that cannot work. That the broker cannot be
	// reached is none; the engine goes on trying, with a pause that grows and is
	// random, and tells Inbox.Gap when it is back.
	Start(in Inbox) error

	// Encode makes of m what Publish takes. It is called on the goroutine of
	// whoever sends, any number of them at a time, and must not keep m or what
	// it refers to. The error is about m.
	Encode(m *Message) (Publication, error)

	// Publish sends a batch, in its order, as one round trip if it can. It
	// returns when the broker has taken it, ctx has ended, or it has failed; then
	// any part of the batch may have been sent. It is called by one goroutine
	// at a time.
	Publish(ctx context.Context, batch []Publication) error

	// Changed says that a namespace, or rooms of it, may have come to be or may
	// be gone on this server; Inbox.Has tells. It must not block: it is called
	// while clients join and leave. Calls can come at the same time and in any
	// order; what Inbox.Has says after the last of them is what counts. Rooms
	// named after sockets are not reported.
	Changed(namespace string, rooms ...string)

	// Close stops everything and returns when no goroutine is left, or ctx has
	// ended. It is called once, after the last Publish has returned.
	Close(ctx context.Context) error
}

// A Counter is an Engine that knows from its broker who else is there. With other
// engines the servers tell each other, by heartbeats, which are of no namespace:
// their Namespace is empty, and they must reach every server. So must requests,
// messages with a RequestID that are for no particular server, of whatever
// namespace: those that do not have it say so.
type Counter interface {
	// Others is how many other servers have the namespace now.
	Others(ctx context.Context, namespace string) (int, error)
	// Names are their ids, as far as they can be told, for who looks for the one
	// that is silent. It may take longer than Others.
	Names(ctx context.Context, namespace string) ([]string, error)
}

// A Publication is an encoded message.
type Publication struct {
	// Type and Namespace are those of the message.
	Type      Type
	Namespace string
	// Channel and Data mean what the engine wants.
	Channel string
	Data    []byte
	// Nonce is that of the message.
	Nonce string
}

// An Inbox is the side of the cluster that an Engine gives to. Its methods may
// be called from any goroutine, and do not block for longer than delivering a
// message to outboxes takes.
type Inbox interface {
	// ID is the id of this server: 16 hexadecimal digits.
	ID() string
	// Receive takes a message. Messages of one sender must come in their order.
	// One of this server itself is passed over. It must not be changed any more.
	Receive(m *Message)
	// Malformed takes note of something that was received and is no message.
	Malformed(channel string, err error)
	// Gap says that messages may have been missed until now, and why. It is
	// logged and counted, and programs are told.
	Gap(reason error)
	// Has reports whether this server has a namespace and, if room is not
	// empty, somebody in that room of it.
	Has(namespace, room string) bool
	// Namespaces and Rooms are what is there now, in no order.
	Namespaces() []string
	Rooms(namespace string) []string
	// Logger is that of the server.
	Logger() *slog.Logger
}
