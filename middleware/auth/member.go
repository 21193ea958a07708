package auth

import (
	"context"
	"sync"
	"time"

	"github.com/upshift-go/upshift/core"
)

// A member is a socket that a Guard has let in. It has no goroutine: one timer
// fires when the client is to be told and when its time is up.
type member struct {
	// Set before anybody else knows the member.
	guard   *Guard
	socket  *core.Socket
	subject string

	// Guarded by guard.mu.
	previous, next *member // of the same subject

	mu       sync.Mutex // guards what follows; never held together with guard.mu
	identity Identity
	timer    *time.Timer // once connected, unless the identity is for ever
	armed    bool        // connected
	told     bool        // that it expires
	tell     time.Time   // when to tell it
	cause    error       // why it was closed; set once
	gone     bool        // the socket has left
}

// current returns the identity.
func (m *member) current() Identity {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.identity
}

// enter makes a socket a member. It is known to Revoke before the revocations
// are looked at, and Revoke remembers before it looks for members, so that one
// of the two finds the other.
func (g *Guard) enter(s *core.Socket, id Identity) (*member, error) {
	m := &member{guard: g, socket: s, subject: id.Subject}
	m.takeLocked(id)
	g.mu.Lock()
	err := g.revoked.check(&id, time.Now())
	g.link(m)
	g.mu.Unlock()
	memberKey.Set(s, m)
	context.AfterFunc(s.Context(), m.leave)
	return m, err
}

// takeLocked sets the identity. Who is told at once would renew at once, and
// again, if its tokens are that short.
func (m *member) takeLocked(id Identity) {
	m.identity, m.told = id, false
	m.tell = id.Expires.Add(-min(m.guard.options.Lead, time.Until(id.Expires)/2))
}

// link puts a member into the list of its subject. The lock is held.
func (g *Guard) link(m *member) {
	if m.subject == "" {
		return
	}
	m.next = g.subjects[m.subject]
	if m.next != nil {
		m.next.previous = m
	}
	g.subjects[m.subject] = m
}

// unlink takes it out. The lock is held.
func (g *Guard) unlink(m *member) {
	if m.subject == "" {
		return
	}
	switch {
	case m.previous != nil:
		m.previous.next = m.next
	case m.next == nil:
		delete(g.subjects, m.subject)
	default:
		g.subjects[m.subject] = m.next
	}
	if m.next != nil {
		m.next.previous = m.previous
	}
	m.previous, m.next = nil, nil
}

// leave forgets a socket that has left, connected or not.
func (m *member) leave() {
	m.mu.Lock()
	m.gone = true
	if m.timer != nil {
		m.timer.Stop()
	}
	m.mu.Unlock()
	m.guard.mu.Lock()
	defer m.guard.mu.Unlock()
	m.guard.unlink(m)
}

// connected is the hook of the server. A socket that was recovered past the
// middleware has the member of the one it was.
func (g *Guard) connected(s *core.Socket) {
	m, ok := memberKey.Get(s)
	if !ok || m.guard != g {
		return
	}
	if m.socket == s {
		m.arm()
		return
	}
	m, err := g.enter(s, m.current())
	if err != nil {
		m.end(err)
	}
	m.arm()
}

// ended returns why the member was closed, if it was.
func (m *member) ended() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cause
}

// arm starts the timer, now that the client can be told. A hook calls it, which
// must not change the socket: hence the goroutine.
func (m *member) arm() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.armed = true
	if m.cause != nil {
		go m.disconnect(m.cause)
		return
	}
	m.scheduleLocked()
}

// scheduleLocked sets the timer to what happens next.
func (m *member) scheduleLocked() {
	if !m.armed || m.gone || m.identity.Expires.IsZero() {
		return // fire finds nothing to do, if it comes
	}
	next := m.tell
	if m.told {
		next = m.identity.Expires
	}
	if wait := max(time.Until(next), 0); m.timer == nil {
		m.timer = time.AfterFunc(wait, m.fire)
	} else {
		m.timer.Reset(wait)
	}
}

// An expiring is the argument of Options.ExpiringEvent.
type expiring struct {
	Expires int64 `json:"expires"` // in milliseconds since 1970
	In      int64 `json:"in"`      // in milliseconds
}

// fire is called by the timer. A renewal may have been quicker, so it looks at
// the clock.
func (m *member) fire() {
	m.mu.Lock()
	if m.cause != nil || m.identity.Expires.IsZero() {
		m.mu.Unlock()
		return
	}
	now, expires := time.Now(), m.identity.Expires
	if m.identity.expired(now) {
		m.cause = ErrExpired
		m.mu.Unlock()
		m.disconnect(ErrExpired)
		return
	}
	tell := !m.told && !now.Before(m.tell)
	m.told = m.told || tell
	m.scheduleLocked()
	m.mu.Unlock()
	if tell {
		// A client that cannot be told will be closed.
		_ = m.socket.Emit(m.socket.Context(), m.guard.options.ExpiringEvent,
			expiring{Expires: expires.UnixMilli(), In: expires.Sub(now).Milliseconds()})
	}
}

// end closes the socket, once. One that is not connected yet is closed when it
// is.
func (m *member) end(cause error) {
	m.mu.Lock()
	ended := m.cause != nil
	if !ended {
		m.cause = cause
	}
	armed := m.armed
	m.mu.Unlock()
	if !ended && armed {
		m.disconnect(cause)
	}
}

// disconnect tells the client and closes its socket.
func (m *member) disconnect(cause error) {
	d, _ := detailOf(cause)
	_ = m.socket.Emit(m.socket.Context(), m.guard.options.ClosedEvent, d) // it is disconnected, told or not
	m.socket.DisconnectCause(cause)
}
