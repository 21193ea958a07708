package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// connectLocked starts the goroutine that connects. lost is why there is no
// connection any more, nil if there was none before.
func (m *Manager) connectLocked(lost *CloseError) {
	ctx, cancel := context.WithCancel(m.ctx)
	m.attempt = cancel
	m.spawn(func() {
		defer cancel()
		m.connect(ctx, lost)
	})
}

// connect opens a connection, and tries until one opens, ctx ends or the
// attempts are used up.
func (m *Manager) connect(ctx context.Context, lost *CloseError) {
	r := &m.options.Reconnection
	var err error
	if lost == nil {
		m.report(ctx, StateChange{State: Connecting})
		if err = m.try(ctx); err == nil {
			return
		}
	}
	for n := 0; ctx.Err() == nil; n++ {
		if r.Disabled || r.Attempts > 0 && n >= r.Attempts {
			switch {
			case n > 0:
				err = errors.Join(ErrGivenUp, err)
			case lost != nil:
				err = errors.Join(ErrGivenUp, lost)
			}
			m.giveUp(ctx, err)
			return
		}
		delay := r.delay(n)
		m.report(ctx, StateChange{State: Waiting, Attempt: n + 1, Delay: delay, Err: err})
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return
		}
		m.report(ctx, StateChange{State: Connecting, Attempt: n + 1})
		if err = m.try(ctx); err == nil {
			return
		}
	}
}

// try makes one attempt.
func (m *Manager) try(ctx context.Context) error {
	e, err := m.open(ctx)
	if err == nil {
		err = m.opened(ctx, e)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	m.options.Logger.LogAttrs(ctx, slog.LevelDebug, "connecting failed", slog.Any("error", err))
	for _, s := range m.active() {
		s.attemptFailed(err)
	}
	return err
}

// open opens a session on one of the transports.
func (m *Manager) open(ctx context.Context) (*engine, error) {
	names := m.options.Transports
	m.mu.Lock()
	if m.remember && m.options.RememberUpgrade && slices.Contains(names, WebSocket) {
		names = append([]string{WebSocket}, slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == WebSocket })...)
	}
	m.mu.Unlock()
	if m.options.FirstTransportOnly {
		names = names[:1]
	}
	var failures []error
	for _, name := range names {
		attempt, cancel := context.WithTimeoutCause(ctx, m.options.Timeout, errTimeout)
		e := newEngine(m)
		err := e.open(attempt, name)
		cancel()
		if err == nil {
			m.worksOn(name)
			if name == Polling {
				m.spawn(e.upgrade)
			}
			return e, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", name, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

var errTimeout = errors.New("client: the server has not opened a session in time")

// worksOn remembers on what a connection has worked last.
func (m *Manager) worksOn(name string) {
	m.mu.Lock()
	m.remember = name == WebSocket
	m.mu.Unlock()
}

// opened makes e the connection. The error is why e is over already.
func (m *Manager) opened(ctx context.Context, e *engine) error {
	m.mu.Lock()
	if ctx.Err() != nil {
		m.mu.Unlock()
		m.leave(e)
		return nil
	}
	if e.isOver() {
		m.mu.Unlock()
		return e.cause
	}
	m.engine, m.attempt = e, nil
	m.mu.Unlock()
	for _, s := range m.active() {
		s.join(e)
	}
	return nil
}

// active returns the sockets that want to be connected.
func (m *Manager) active() []*Socket {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(m.socketsLocked(), func(s *Socket) bool { return !s.isActive() })
}

// report tells the sockets that want to be connected what is being done for it.
func (m *Manager) report(ctx context.Context, c StateChange) {
	if ctx.Err() != nil {
		return
	}
	for _, s := range m.active() {
		s.progress(c)
	}
}

// giveUp is the end of trying to connect.
func (m *Manager) giveUp(ctx context.Context, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	m.attempt = nil
	// Under the lock: who calls Connect now is either told or has another
	// attempt made, not both.
	for _, s := range m.sockets {
		s.deactivate(err)
	}
}
