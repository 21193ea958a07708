package cluster

import (
	"context"

	"github.com/upshift-go/upshift/core"
)

// A Log is an Engine whose broker keeps broadcasts, in one order that is the same
// for all servers, and what clients come back to. NewRecovering makes of it an
// adapter with which a client can come back to another server than its own.
//
// Every Broadcast without a RequestID that is not volatile is kept. It goes to
// Inbox.Receive with its Offset, also on the server that has sent it, where its
// Nonce must be that of the message that was encoded; one goroutine does that,
// in the order of the offsets.
type Log interface {
	Engine

	// Decode returns the message that Encode has made p of.
	Decode(p Publication) (*Message, error)
	// Position is the offset of the last message that Receive has returned from,
	// or the one at which the engine began to read.
	Position() core.Offset
	// Update saves or drops what clients come back to, as one round trip if it
	// can. It is called by one goroutine at a time.
	Update(ctx context.Context, changes []Change) error
	// Take returns what a client comes back to and counts as having saved it, as if
	// by Update, for the time that was left. Its Window does not count. The error
	// wraps core.ErrNotRecoverable if there is nothing; it is asked again for a while.
	Take(ctx context.Context, namespace, privateID string) (*core.ClientState, error)
	// Read calls take with the events of a namespace that are kept after from, in
	// order, and returns up to where they go: at least to the end of the log as it
	// was when Read was called. The error wraps core.ErrNotRecoverable if something
	// after from is not kept any more, or from is no place in the log.
	Read(ctx context.Context, namespace string, from core.Offset, take func(m *Message)) (until core.Offset, err error)
}

// A Change is one to what a client comes back to.
type Change struct {
	Namespace, PrivateID string
	// State is what to save; nil is to drop what there is. It counts only if what is
	// saved is what this server has saved before or, with State.Fresh, if nothing is.
	// What another server has saved stays. A change whose Update has failed may have
	// been made; what is Fresh then comes Fresh again, with the next change.
	State *core.ClientState
}
