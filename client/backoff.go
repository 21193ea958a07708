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
	limit := float64(r.MaxDelay)
	d := min(float64(r.Delay)*math.Pow(2, float64(min(n, 62))), limit)
	d += d * r.Jitter * (2*random - 1)
	if d > limit {
		d = 2*limit - d // not all clients of a server that is gone for long are to come at once
	}
	return time.Duration(d)
}
