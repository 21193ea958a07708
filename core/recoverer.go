package core

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/upshift-go/upshift/codec"
)

// A Recoverer is an Adapter whose broker keeps events, and what clients come back
// to, so that with Options.Recovery a client can come back to another server than
// the one it had. The events have one order, which is the same for all servers.
type Recoverer interface {
	Adapter
	// Keep is Broadcast for an event that is kept. The event comes back to the
	// sockets of this server, too, by Node.Deliver, with its Offset; if the broker
	// does not take it, it comes back to this server alone and without one. An
	// error means that neither will happen.
	Keep(ctx context.Context, b *Broadcast) error
	// Settle returns when the events that Keep was called for before have come back, or
	// will not, or when ctx ends. Nobody is disconnected by the program before what was
	// sent to it.
	Settle(ctx context.Context)
	// Position is the offset up to which the events of the broker have been
	// delivered to this server.
	Position() Offset
	// Save keeps what a client comes back to, in place of what this server has
	// saved for it before; see ClientState.Fresh. It does not block and cannot fail
	// in a way that somebody could do something about.
	Save(c *ClientState)
	// Forget drops what this server has saved for a client that will not come
	// back. It does not block.
	Forget(namespace, privateID string)
	// Restore makes this server the one that has a client, so that what other
	// servers save or forget for it does not count, and returns what the client
	// comes back to, with the events that it has missed since the offset that it
	// says it has seen, which is as it came from the client. It may be called again:
	// the client may not have got what it was sent. The error wraps
	// ErrNotRecoverable if there is nothing to come back to, or something is
	// missing; otherwise the client may try again.
	Restore(ctx context.Context, namespace, privateID, seen string) (*Comeback, error)
}

// ErrNotRecoverable says that a client cannot come back to where it was.
var ErrNotRecoverable = errors.New("core: not recoverable")

// A ClientState is what a client comes back to.
type ClientState struct {
	Namespace, ID, PrivateID string
	Rooms                    []string
	Data                     codec.Raw // see SocketInfo
	// Since is the position at which the client connected first: what came
	// before was not for it.
	Since Offset
	// Window is for how long it is kept.
	Window time.Duration
	// Fresh: this server has neither saved it before nor restored it, so that it is
	// saved also if nothing is there. Otherwise it is not: the client has been
	// forgotten. What another server has saved stays in either case: that has the
	// client.
	Fresh bool
}

// A Comeback is what a client has come back to.
type Comeback struct {
	Client ClientState
	// Missed are the events that the client has missed, in order.
	Missed []*Broadcast
	// Until is up to where Missed goes: what is for the client and comes after it
	// will be, or has been, delivered after the call of Restore.
	Until Offset
}

// An Offset is the place of an event in the order of all events that a broker
// keeps. Clients keep the text of the last one and say it when they come back. The
// zero Offset is no place.
type Offset struct{ Major, Minor uint64 }

// ParseOffset reads what String has written.
func ParseOffset(text string) (o Offset, ok bool) {
	major, minor, ok := strings.Cut(text, "-")
	if !ok || len(text) > 41 || strings.ContainsAny(text, "+_") {
		return Offset{}, false
	}
	var err1, err2 error
	o.Major, err1 = strconv.ParseUint(major, 10, 64)
	o.Minor, err2 = strconv.ParseUint(minor, 10, 64)
	return o, err1 == nil && err2 == nil
}

// String is two decimal numbers with a hyphen between.
func (o Offset) String() string {
	text := make([]byte, 0, 24)
	text = strconv.AppendUint(text, o.Major, 10)
	text = append(text, '-')
	return string(strconv.AppendUint(text, o.Minor, 10))
}

// IsZero reports whether it is no place.
func (o Offset) IsZero() bool { return o == Offset{} }

// Compare returns -1 if o comes before p, 1 if it comes after, and 0 if they are
// the same.
func (o Offset) Compare(p Offset) int {
	if c := cmp.Compare(o.Major, p.Major); c != 0 {
		return c
	}
	return cmp.Compare(o.Minor, p.Minor)
}
