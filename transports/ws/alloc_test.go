//go:build !race

package ws

import (
	"strings"
	"testing"

	"github.com/upshift-go/upshift/transports"
)

// Sending allocates nothing, whether a packet, a batch, or one's part in a
// broadcast.
func TestAllocsSend(t *testing.T) {
	packet := text(strings.Repeat("x", 64))
	shared := packet
	shared.Shared = new(transports.Shared)
	l := discarding(t, setup{})
	for name, batch := range map[string][]transports.Packet{
		"packet": {packet},
		"batch":  {packet, binaryPacket("y"), shared, packet},
		"shared": {shared},
	} {
		if n := testing.AllocsPerRun(1000, func() { l.mustSend(t, batch) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
