package cluster

import "sync/atomic"

// Stats are counts since the start, but for Queued, Requests and Servers, which
// are what is now.
type Stats struct {
	Published     uint64 // messages that the broker has taken
	PublishFailed uint64 // messages that may not have reached it
	Dropped       uint64 // messages for which there was no room in the queue
	Received      uint64 // messages of other servers
	Malformed     uint64 // what was received and is no message
	Refused       uint64 // questions and events of other servers that were beyond MaxRequests
	Gaps          uint64 // times that messages may have been missed
	Partial       uint64 // own questions that not all have answered
	NotSaved      uint64 // changes to what clients come back to that were not saved

	QueuedBytes int // what waits for the broker
	Requests    int // own questions that wait for answers
	Servers     int // other servers, of engines with heartbeats
}

type counters struct {
	published, publishFailed, dropped, received, malformed, refused, gaps, partial, notSaved atomic.Uint64
}

// Stats returns what has happened. It may be called from any goroutine.
func (a *Adapter) Stats() Stats {
	s := Stats{
		Published: a.stats.published.Load(), PublishFailed: a.stats.publishFailed.Load(),
		Dropped: a.stats.dropped.Load(), Received: a.stats.received.Load(),
		Malformed: a.stats.malformed.Load(), Refused: a.stats.refused.Load(),
		Gaps: a.stats.gaps.Load(), Partial: a.stats.partial.Load(), NotSaved: a.stats.notSaved.Load(),
		Requests: a.pending.len(), Servers: a.members.len(),
	}
	a.queue.mu.Lock()
	s.QueuedBytes = a.queue.bytes
	a.queue.mu.Unlock()
	return s
}
