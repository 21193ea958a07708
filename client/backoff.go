package client

import (
	"math"
	"math/rand/v2"
	"time"
)

// delay is the time before attempt n, counted from zero.
func (r *Reconnection) delay(n int) time.Duration {
	return r.delayBy(n, rand.Float64()) //nolint:gosec // clients are only to be apart from each other
}

// delayBy is delay with a random number from [0, 1), of which the middle is no
// jitter.
func (r *Reconnection) delayBy(n int, random float64) time.Duration {
	base := float64(r.Delay) * math.Pow(2, float64(min(n, 62)))
	base += base * r.Jitter * (2*random - 1)
	return time.Duration(min(base, float64(r.MaxDelay)))
}
