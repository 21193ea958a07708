package session

import (
	"errors"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// phase is where a session is in moving from one transport to another. What
// happens on each input (spec: engine.io-protocol v4, "Upgrade"):
//
//	            │ idle        offered        probed         committing     upgraded
//	────────────┼──────────────────────────────────────────────────────────────────
//	offer       │ →offered    refuse         refuse         refuse         refuse
//	"2probe"    │ –           "3probe",      "3probe",      –              –
//	            │             noop →probed   noop
//	"5"         │ –           →committing    →committing    –              ignored
//	other packet│ –           abort →idle    abort →idle    –              as usual
//	candidate   │ –           →idle          →idle          session ends   session ends
//	  ends      │
//	timeout     │ –           abort →idle    abort →idle    –              –
//	noop tick   │ –           –              noop           –              –
//	session ends│ –           abort          abort          abort          –
//	old retired │ –           –              –              →upgraded      –
//
// "abort" closes the candidate; the session stays on its transport, unharmed,
// and a new offer may follow. "noop" answers a parked poll, because the client
// does not commit before its poll is answered. Until "5" everything is sent on
// the old transport: a client listens to the new one for "3probe" alone.
//
// Nothing is lost or reordered at the switch, because
//   - the client stops posting before it sends "5", and committing waits until
//     what it posted has been received, before it reads on;
//   - a batch is either given to the old transport, whose answer the client
//     takes before it commits, or refused with ErrRetired and sent on the new
//     one.
type phase uint8

const (
	idle       phase = iota
	offered          // a candidate is connected
	probed           // it has been probed
	committing       // "5" came; the old transport is being retired
	upgraded
)

// noopPeriod is how often a parked poll is released while the upgrade is
// probed. It is the reference's period; we send the first one at once.
const noopPeriod = 100 * time.Millisecond

const probe = "probe"

var (
	errUpgradeTimeout = errors.New("upgrade timeout")
	errUpgradeAborted = errors.New("upgrade aborted: unexpected packet")
	errNoUpgrade      = errors.New("session: no upgrade possible")
)

// offer makes conn the candidate of the session.
func (s *Session) offer(t transports.Transport, conn transports.Conn) (*link, error) {
	l := &link{session: s, transport: t, conn: conn}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.upgradableLocked(t) {
		return nil, errNoUpgrade
	}
	s.candidate = l
	s.phase = offered
	s.timer = time.AfterFunc(s.manager.options.UpgradeTimeout, func() {
		s.abortUpgrade(l, &transports.CloseError{Reason: transports.TransportError, Err: errUpgradeTimeout})
	})
	return l, nil
}

// upgradableLocked reports whether a candidate on t may be offered now.
func (s *Session) upgradableLocked(t transports.Transport) bool {
	return s.state == open && s.phase == idle && !s.manager.options.DisableUpgrades &&
		s.link.transport.Features().Upgradable && t.Features().UpgradeTarget
}

// candidatePacket takes a packet from the candidate. It is called with the
// lock held and unlocks.
func (s *Session) candidatePacket(l *link, p transports.Packet) error {
	switch {
	case s.phase == committing:
		// The candidate's packets are received one at a time and the one
		// that commits has not returned.
		s.mu.Unlock()
		return errDetached
	case p.Type == transports.Ping && string(p.Data) == probe && l.ready:
		return s.answerProbe(l)
	case p.Type == transports.Upgrade:
		return s.commit(l)
	}
	s.mu.Unlock()
	cause := &transports.CloseError{Reason: transports.TransportError, Err: errUpgradeAborted}
	s.abortUpgrade(l, cause)
	return cause
}

// answerProbe writes "3probe" on the candidate, past the outbox, and then
// releases a parked poll. It unlocks.
func (s *Session) answerProbe(l *link) error {
	l.ready = false
	s.mu.Unlock()
	ready, err := l.conn.Send([]transports.Packet{{Type: transports.Pong, Data: []byte(probe)}})
	if err != nil {
		s.abortUpgrade(l, transports.AsCloseError(err))
		return err
	}
	s.mu.Lock()
	l.ready = l.ready || ready
	if s.candidate == l && s.phase == offered {
		s.phase = probed
		s.noopTimer = time.AfterFunc(noopPeriod, s.noopTick)
	}
	s.outbox.noop = s.candidate == l && s.link.ready
	s.mu.Unlock()
	s.Flush()
	return nil
}

// noopTick releases the poll that a client parked after the last one was
// answered and before it noticed the probe's answer.
func (s *Session) noopTick() {
	s.mu.Lock()
	if s.phase != probed || s.noopTimer == nil { // stopped after it had fired
		s.mu.Unlock()
		return
	}
	s.outbox.noop = s.link.ready
	s.noopTimer.Reset(noopPeriod)
	s.mu.Unlock()
	s.Flush()
}

// commit makes the candidate the session's transport. It unlocks. It runs on
// the goroutine that reads from the candidate, so nothing that follows "5" is
// received before it returns.
func (s *Session) commit(l *link) error {
	old := s.link
	s.phase = committing
	s.stopUpgradeTimersLocked()
	s.mu.Unlock()

	// An upgradable transport's Conns are Retirers: Manager.New checked that
	// the transport says so, and the contract demands it.
	if r, ok := old.conn.(transports.Retirer); ok {
		r.Retire()
	}

	s.mu.Lock()
	if s.state == closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.link = l
	s.candidate = nil
	s.phase = upgraded
	s.outbox.noop = false
	s.outbox.abandon()
	s.manager.heartbeat.upgraded(s)
	ended := l.ended
	s.mu.Unlock()
	s.reportUpgrade(l, nil)
	if ended != nil {
		s.fail(ended)
		return ended
	}
	s.Flush()
	return nil
}

// abortUpgrade gives up the candidate l, if it is the candidate still and the
// client has not committed to it.
func (s *Session) abortUpgrade(l *link, cause *transports.CloseError) {
	s.mu.Lock()
	if s.candidate != l || s.phase == committing {
		s.mu.Unlock()
		return
	}
	s.dropCandidateLocked()
	s.mu.Unlock()
	s.giveUp(l, cause)
}

// giveUp closes what was the candidate, if there was one, and says so.
func (s *Session) giveUp(l *link, cause *transports.CloseError) {
	if l == nil {
		return
	}
	l.close(cause)
	s.reportUpgrade(l, cause)
}

// reportUpgrade says how an upgrade has ended.
func (s *Session) reportUpgrade(l *link, err error) {
	if report := s.manager.options.OnUpgrade; report != nil {
		report(s, l.transport.Name(), err)
	}
}

// dropCandidateLocked forgets the candidate and returns it for the caller to
// close, or nil.
func (s *Session) dropCandidateLocked() *link {
	l := s.candidate
	if l == nil {
		return nil
	}
	s.candidate = nil
	if s.phase != committing {
		s.phase = idle
	}
	s.outbox.noop = false
	s.stopUpgradeTimersLocked()
	return l
}

// leaveCandidateLocked is dropCandidateLocked at the beginning of an orderly
// close. A client that has been told that the candidate works may not poll any
// more, so what still waits for it may only arrive there.
func (s *Session) leaveCandidateLocked() *link {
	if s.phase != probed && s.phase != committing || s.outbox.empty() {
		return s.dropCandidateLocked()
	}
	s.stopUpgradeTimersLocked()
	return nil
}

// stopUpgradeTimersLocked stops what limits the upgrade. When the session is
// ending, that is limited by another timer in the same place.
func (s *Session) stopUpgradeTimersLocked() {
	if s.state == open {
		s.timer.Stop()
	}
	if s.noopTimer != nil {
		s.noopTimer.Stop()
		s.noopTimer = nil
	}
}
