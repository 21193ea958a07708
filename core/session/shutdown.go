package session

import (
	"context"
	"errors"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// ErrShutdown is returned to transports that open a session while the manager
// shuts down.
var ErrShutdown = errors.New("session: server is shutting down")

// Shutdown ends every session with the given cause, after what was sent to it
// has been delivered, and refuses new ones. The sessions take turns over
// Options.ShutdownSpread and work as usual until it is theirs. It returns when
// all are gone, or, when ctx ends first, after having dropped those that are
// left, with ctx's error. A second call waits too.
func (m *Manager) Shutdown(ctx context.Context, cause *transports.CloseError) error {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		if m.count == 0 {
			close(m.empty)
		}
	}
	m.mu.Unlock()
	m.gate.close()
	m.closeAll(ctx, cause)
	select {
	case <-m.empty:
		return nil
	case <-ctx.Done():
	}
	for s := range m.sessions.all() {
		s.fail(cause)
	}
	return context.Cause(ctx)
}

// closeAll closes the sessions one after the other, evenly spread over the time
// that the options give them. A session that has ended by itself leaves its
// turn empty, so that the pace stays what it is.
func (m *Manager) closeAll(ctx context.Context, cause *transports.CloseError) {
	var sessions []*Session
	for s := range m.sessions.all() {
		sessions = append(sessions, s)
	}
	spread := m.options.ShutdownSpread
	if spread == 0 {
		for _, s := range sessions {
			s.Close(cause)
		}
		return
	}
	const tick = 10 * time.Millisecond // many sessions have their turn together
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for done := 0; done < len(sessions); {
		select {
		case <-timer.C:
		case <-m.empty:
			return
		case <-ctx.Done():
			return
		}
		due := int(float64(len(sessions)) * float64(time.Since(began)) / float64(spread))
		for ; done <= due && done < len(sessions); done++ {
			sessions[done].Close(cause)
		}
		next := time.Duration(float64(spread) * float64(done) / float64(len(sessions)))
		timer.Reset(max(tick, next-time.Since(began)))
	}
}
