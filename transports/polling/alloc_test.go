//go:build !race

package polling

import "testing"

// Text costs no allocation either way, binary one buffer for a payload.
func TestAllocs(t *testing.T) {
	for name, test := range map[string]struct {
		binary bool
		split  float64
	}{"text": {false, 0}, "mixed": {true, 1}} {
		packets := batch(test.binary)
		buffer := AppendPayload(nil, packets)
		if n := testing.AllocsPerRun(100, func() { buffer = AppendPayload(buffer[:0], packets) }); n != 0 {
			t.Errorf("AppendPayload, %s: %g allocations", name, n)
		}
		n := testing.AllocsPerRun(100, func() {
			for _, err := range Split(buffer) {
				if err != nil {
					t.Fatal(err)
				}
			}
		})
		if n > test.split {
			t.Errorf("Split, %s: %g allocations, want %g", name, n, test.split)
		}
	}
}
