package fleetsim

import (
	"testing"
	"time"
)

// told is what a run has shown.
type told struct {
	open    int           // instances
	alerted time.Duration // after the outage began
	exports taken
	queue   float64 // bytes, when the gateway was killed
	away    time.Duration
	panels  []timed
	rules   []timed
	groups  []timed
	head    float64 // series
	missed  float64 // evaluations
}

func (r *rig) document(t *testing.T) {}
