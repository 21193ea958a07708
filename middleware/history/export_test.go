package history

// Bytes is what is counted of what is kept, and what is kept.
func (h *History) Bytes() (counted, kept int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.rooms {
		for i := range r.events {
			kept += r.events[i].size()
		}
	}
	return h.bytes, kept
}
