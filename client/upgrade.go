package client

import (
	"context"
	"log/slog"
	"slices"

	"github.com/upshift-go/upshift/transports"
)

// The upgrade from polling to WebSocket, seen from the client (engine.io
// protocol v4, "Upgrade"). Until 5 the client sends nothing over the candidate
// but the probe, and the server nothing but its answer; polling is not left
// before the last POST has been answered and the last GET has brought what was
// on its way. So nothing is lost, doubled, or overtakes anything.
//
//	state      input                      what is done                   next
//	─────────  ─────────────────────────  ─────────────────────────────  ─────────
//	polling    the server offers it       dial                           probing
//	probing    candidate is ready         2probe                         probing
//	probing    3probe                     nothing is sent any more       pausing
//	probing    anything else, end, time   close the candidate            polling
//	pausing    POST and GET are through   5, then what has waited        upgraded
//	pausing    candidate ends, time       close it, poll and send again  polling
//	any        the engine ends            close both                     –

// upgrade tries to move to WebSocket. It blocks for as long as dialing takes.
func (e *engine) upgrade() {
	o := &e.owner.options
	if !slices.Contains(e.upgrades, WebSocket) || !slices.Contains(o.Transports, WebSocket) || o.DisableUpgrade {
		return
	}
	ctx, cancel := context.WithTimeout(e.ctx, o.Timeout)
	defer cancel()
	if err := e.dial(ctx, WebSocket, e.sid); err != nil {
		e.noUpgrade(err)
	}
}

func (e *engine) noUpgrade(err error) {
	e.owner.options.Logger.LogAttrs(e.ctx, slog.LevelDebug, "upgrade failed, polling goes on", slog.Any("error", err))
}

// probe sends the probe over a candidate that has become ready.
func (e *engine) probe(l *link) {
	e.mu.Lock()
	l.ready = false
	e.mu.Unlock()
	ready, err := l.conn.Send([]transports.Packet{{Type: transports.Ping, Data: []byte("probe")}})
	if err != nil {
		e.probeFailed(l, err)
		return
	}
	e.mu.Lock()
	l.ready = l.ready || ready
	e.mu.Unlock()
}

// probed takes what has arrived on the candidate.
func (e *engine) probed(l *link, p transports.Packet) error {
	if p.Type != transports.Pong || string(p.Data) != "probe" {
		e.probeFailed(l, transports.Malformed("the probe was answered with a packet "+p.Type.String(), 0))
		return errOver
	}
	e.mu.Lock()
	e.pausing = e.candidate == l
	e.mu.Unlock()
	e.flush() // pauses polling when nobody is sending
	return nil
}

// commit makes the candidate the link. Polling is at rest.
func (e *engine) commit(l *link) {
	e.mu.Lock()
	if e.candidate != l || l == nil || e.cause != nil {
		polling := e.link
		e.mu.Unlock()
		if polling.resume != nil {
			polling.resume()
		}
		return
	}
	e.link, e.candidate, e.pausing = l, nil, false
	e.probing.Stop()
	e.outbox = slices.Insert(e.outbox, 0, transports.Packet{Type: transports.Upgrade})
	e.outboxBytes += packetOverhead
	e.mu.Unlock()
	e.owner.worksOn(WebSocket)
	e.flush()
}

// probeFailed gives a candidate up. Polling goes on.
func (e *engine) probeFailed(l *link, cause error) {
	e.mu.Lock()
	if e.candidate != l {
		e.mu.Unlock()
		return
	}
	e.candidate = nil
	e.probing.Stop()
	paused := e.pausing
	e.pausing = false
	polling := e.link
	e.mu.Unlock()
	l.close(cause)
	e.noUpgrade(cause)
	if paused {
		polling.resume()
	}
	e.flush()
}
