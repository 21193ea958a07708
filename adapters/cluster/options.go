package cluster

import (
	"errors"
	"fmt"
	"time"
)

// Options are the limits of a cluster. The zero value has sane ones.
type Options struct {
	// RequestTimeout is how long answers of other servers are waited for when
	// the context says nothing, and how long the clients of this server may take
	// to answer the question of another that says nothing. Default 5 seconds.
	RequestTimeout time.Duration
	// PublishTimeout is how long the broker may take to accept what is sent.
	// Default 5 seconds.
	PublishTimeout time.Duration
	// MaxQueueBytes is how much may wait for the broker. What is beyond it is
	// dropped, with ErrQueueFull. Of what a Log has taken about as much is kept until it
	// has come back. Default 16 MiB.
	MaxQueueBytes int
	// MaxRequests is how many questions of other servers are worked on, or wait
	// for it, at the same time. What is beyond it is not answered. Default 1000.
	MaxRequests int
	// MaxRecentBytes is about how much memory the last events may take that an
	// adapter of NewRecovering keeps for clients that come back. What is older is
	// read from the broker. Default 8 MiB.
	MaxRecentBytes int
	// HeartbeatInterval and HeartbeatTimeout are how often a server says that it
	// is there, and after how long without a word others take it for gone; with
	// engines that are no Counter. All servers must have the same. Default 5 and
	// 10 seconds.
	HeartbeatInterval, HeartbeatTimeout time.Duration
	// OnGap is called when messages of other servers may have been missed, most
	// likely because the broker could not be reached: what depends on having seen
	// all of them is to be read anew. It runs on a goroutine of the engine and
	// should not block.
	OnGap func(reason error)
}

func (o Options) withDefaults() (Options, error) {
	for _, d := range []struct {
		name  string
		value *time.Duration
		other time.Duration
	}{
		{"RequestTimeout", &o.RequestTimeout, 5 * time.Second},
		{"PublishTimeout", &o.PublishTimeout, 5 * time.Second},
		{"HeartbeatInterval", &o.HeartbeatInterval, 5 * time.Second},
		{"HeartbeatTimeout", &o.HeartbeatTimeout, 10 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.other
		}
		if *d.value < 0 {
			return o, fmt.Errorf("cluster: Options.%s is negative", d.name)
		}
	}
	if o.MaxQueueBytes == 0 {
		o.MaxQueueBytes = 16 << 20
	}
	if o.MaxRequests == 0 {
		o.MaxRequests = 1000
	}
	if o.MaxRecentBytes == 0 {
		o.MaxRecentBytes = 8 << 20
	}
	if o.MaxRecentBytes < 0 || o.MaxQueueBytes < 0 || o.MaxRequests < 0 {
		return o, errors.New("cluster: Options has a negative limit")
	}
	return o, nil
}
