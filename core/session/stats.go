package session

// Stats are counts since the manager was made.
type Stats struct {
	// VolatileDropped is how many volatile events were dropped because their
	// client could not take them at once.
	VolatileDropped uint64
	// OverflowDropped is how many events were dropped because an outbox was
	// full, as their Delivery allows.
	OverflowDropped uint64
	// Replaced is how many events were dropped for a later one of the same
	// key.
	Replaced uint64
	// Refused is how many events were refused because an outbox was full.
	Refused uint64
}

// Stats returns the counts.
func (m *Manager) Stats() Stats {
	return Stats{
		VolatileDropped: m.drops.volatile.Load(),
		OverflowDropped: m.drops.overflow.Load(),
		Replaced:        m.drops.replaced.Load(),
		Refused:         m.drops.refused.Load(),
	}
}
