package session

import (
	"sync/atomic"

	"github.com/upshift-go/upshift/transports"
)

// Traffic is what has been carried. Packets are those of Engine.IO: messages,
// heartbeats, attachments. Bytes are those of their data, before a transport adds
// framing or takes something away by compression.
type Traffic struct {
	PacketsIn, BytesIn   uint64
	PacketsOut, BytesOut uint64 // given to a transport
}

// traffic is Traffic of many sessions. Each flusher has one, so that
// processors seldom meet at it.
type traffic struct {
	packetsIn, bytesIn, packetsOut, bytesOut atomic.Uint64
}

// Traffic is what the session has carried so far.
func (s *Session) Traffic() Traffic {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.traffic
}

// Waiting is what the client has not taken yet, in packets and in bytes of their
// data. It is what MaxOutboxPackets and MaxOutboxBytes bound.
func (s *Session) Waiting() (packets, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.outbox.load
	return l.packets, l.bytes - l.packets*PacketOverhead
}

// receivedLocked counts a packet from the client.
func (s *Session) receivedLocked(p transports.Packet) {
	n := uint64(len(p.Data))
	s.traffic.PacketsIn++
	s.traffic.BytesIn += n
	s.flusher.traffic.packetsIn.Add(1)
	s.flusher.traffic.bytesIn.Add(n)
}

// sentLocked counts what a transport has taken.
func (s *Session) sentLocked(l load) {
	packets, bytes := uint64(l.packets), uint64(l.bytes-l.packets*PacketOverhead) //nolint:gosec // neither is negative
	s.traffic.PacketsOut += packets
	s.traffic.BytesOut += bytes
	s.flusher.traffic.packetsOut.Add(packets)
	s.flusher.traffic.bytesOut.Add(bytes)
}

// traffic is what all sessions have carried, those that have ended included.
func (m *Manager) traffic() Traffic {
	var sum Traffic
	for _, f := range m.flushers {
		sum.PacketsIn += f.traffic.packetsIn.Load()
		sum.BytesIn += f.traffic.bytesIn.Load()
		sum.PacketsOut += f.traffic.packetsOut.Load()
		sum.BytesOut += f.traffic.bytesOut.Load()
	}
	return sum
}
