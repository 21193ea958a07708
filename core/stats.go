package core

import (
	"sync/atomic"

	"github.com/upshift-go/upshift/core/session"
)

// Stats are counts of what a server has done since it was made, most of them
// of limits that have taken effect. All but Sessions and RecoveryBytes only
// grow.
type Stats struct {
	// Sessions is how many there are.
	Sessions int
	// Limits of sessions.
	session.Stats

	// QueueFull is how often a client was not read from because
	// Options.MaxQueuedBytes of its events waited for their handler.
	QueueFull uint64
	// TooManyNamespaces is how many connects MaxNamespaces has refused.
	TooManyNamespaces uint64
	// TooManyDynamicNamespaces is how many connects MaxDynamicNamespaces has
	// refused.
	TooManyDynamicNamespaces uint64
	// TooManyRooms is how many joins MaxRooms has refused.
	TooManyRooms uint64
	// BadPackets is how many sessions were closed for a Socket.IO packet
	// that cannot be decoded, or that is over a limit of the codec: too
	// many attachments, too deep, too large.
	BadPackets uint64

	// Recovered is how many sockets have come back by recovery.
	Recovered uint64
	// RecoveryFailed is how many have tried in vain and started afresh.
	RecoveryFailed uint64
	// RecoveryBytes is what is kept for recovery.
	RecoveryBytes int64
}

type counters struct {
	queueFull, namespaces, dynamicNamespaces, rooms, badPackets atomic.Uint64

	recovered, recoveryFailed atomic.Uint64
}

// Stats returns the counts.
func (srv *Server) Stats() Stats {
	c := &srv.stats
	return Stats{
		Sessions:                 srv.manager.Len(),
		Stats:                    srv.manager.Stats(),
		QueueFull:                c.queueFull.Load(),
		TooManyNamespaces:        c.namespaces.Load(),
		TooManyDynamicNamespaces: c.dynamicNamespaces.Load(),
		TooManyRooms:             c.rooms.Load(),
		BadPackets:               c.badPackets.Load(),
		Recovered:                c.recovered.Load(),
		RecoveryFailed:           c.recoveryFailed.Load(),
		RecoveryBytes:            srv.recoveryBytes.Load(),
	}
}
