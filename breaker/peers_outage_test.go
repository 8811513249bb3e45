package breaker_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// The second half of what peers_test.go begins: from an opening to the closing.

const (
	tripped   = "closed>open consecutive_failures"
	waited    = "open>half_open delay_elapsed"
	recovered = "half_open>closed probes_succeeded"
	relapsed  = "half_open>open probe_failed"
)

func TestPeersOpen(t *testing.T) {
	minute := breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Minute}
	playAll(t, []peerCase{
		{"every call is refused, and counted", "G F R P", minute, func(s *stage) {
			s.down(1)
			for range 5 {
				s.blocks(time.Minute)
			}
			s.counts(0, 1, 0, 5)
		}},
		{"a refusal says how long it will go on", "F P", minute, func(s *stage) {
			s.down(1)
			s.after(30 * time.Second)
			s.blocks(30 * time.Second)
			s.after(30*time.Second - 1)
			s.opened()
			s.blocks(1)
		}},
		{"when the delay has passed a call gets through", "G F R P", minute, func(s *stage) {
			s.down(1)
			s.after(time.Minute)
			s.ok(1)
			s.closed()
		}},
		{"to ask for the state is enough to see that it has", "G P", minute, func(s *stage) {
			s.down(1)
			s.after(time.Minute)
			s.tested()
		}},
		{"it has with nobody asking", "R", minute, func(s *stage) {
			s.down(1)
			s.after(time.Minute)
			s.story(tripped, waited)
		}},
		{"no delay remains in another state", "F", minute, func(s *stage) {
			for range 2 {
				if d := s.b.Snapshot().RetryAfter; d != 0 {
					s.Errorf("%v: another %v", s.b.State(), d)
				}
				s.down(1)
				s.after(time.Minute)
			}
		}},
		{"a failure that began before neither opens again nor prolongs", "P", minute, func(s *stage) {
			late := s.begin()
			s.down(1)
			s.after(30 * time.Second)
			s.end(late, breaker.Failure)
			s.blocks(30 * time.Second)
			s.story(tripped)
			s.counts(0, 2, 0, 1)
		}},
		{"a success that began before does not close", "R P", minute, func(s *stage) {
			late := s.begin()
			s.down(1)
			s.end(late, breaker.Success)
			s.opened()
		}},
		{"an event tells what was judged, and in whose context", "F P",
			breaker.Config{FailureRate: 0.5, WindowCalls: 2}, func(s *stage) {
				type key struct{}
				s.ok(1)
				_ = s.b.Do(context.WithValue(s.Context(), key{}, "the last"), fail)
				s.story("closed>open failure_rate")
				if s.Failed() {
					return
				}
				e := s.r.all()[0]
				if e.FailureCount != 1 || e.SuccessCount != 1 || e.Context.Value(key{}) != "the last" {
					s.Errorf("%d failures, %d successes, by %v", e.FailureCount, e.SuccessCount, e.Context.Value(key{}))
				}
			}},
		{"there are no events but for transitions", "P", minute, func(s *stage) {
			s.ok(3)
			s.story()
			s.down(1)
			s.blocks(time.Minute)
			s.blocks(time.Minute)
			s.story(tripped)
		}},
	})
}

// tried lets three probes through at once and closes after three that succeed.
var tried = breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Minute, SuccessThreshold: 3, MaxProbes: 3, Classify: classify}

// halfOpened brings a breaker with a threshold of one there.
func (s *stage) halfOpened() {
	s.Helper()
	s.down(1)
	s.after(time.Minute)
	s.tested()
}

func TestPeersHalfOpen(t *testing.T) {
	single := breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Minute, ProbeTimeout: time.Hour}
	playAll(t, []peerCase{
		{"only so many get through at once", "G F R P", tried, func(s *stage) {
			s.halfOpened()
			s.begin()
			s.begin()
			s.begin()
			for range 5 {
				s.blocks(0)
			}
		}},
		{"by default a single one", "G P", single, func(s *stage) {
			s.halfOpened()
			s.begin()
			s.blocks(0)
			s.tested()
		}},
		{"a place that was not used is another's", "R", tried, func(s *stage) {
			s.halfOpened()
			p := s.begin()
			s.begin()
			s.begin()
			s.blocks(0)
			s.end(p, breaker.Ignored)
			s.begin()
			s.blocks(0)
		}},
		{"ignored ones make room and decide nothing", "G R", tried, func(s *stage) {
			s.halfOpened()
			s.gives(4, errIgnored)
			s.tested()
			s.ok(2)
			s.gives(1, errIgnored)
			s.tested()
			s.ok(1)
			s.closed()
		}},
		{"each time they are as many again", "R", tried, func(s *stage) {
			s.halfOpened()
			p := s.begin()
			s.begin()
			s.end(p, breaker.Failure)
			s.after(time.Minute)
			s.tested()
			s.begin()
			s.begin()
			s.begin()
			s.blocks(0)
		}},
		{"one success closes", "G F P", single, func(s *stage) {
			s.halfOpened()
			s.ok(1)
			s.closed()
			s.story(tripped, waited, recovered)
		}},
		{"or as many as are asked for", "G F", tried, func(s *stage) {
			s.halfOpened()
			s.ok(2)
			s.tested()
			s.ok(1)
			s.closed()
		}},
		{"a failure opens again, also after successes", "G F", tried, func(s *stage) {
			s.halfOpened()
			s.ok(2)
			s.down(1)
			s.opened()
			s.story(tripped, waited, relapsed)
		}},
		{"and then for the whole delay", "G P", single, func(s *stage) {
			s.halfOpened()
			s.after(10 * time.Second)
			s.down(1)
			s.blocks(time.Minute)
			s.after(time.Minute)
			s.ok(1)
			s.closed()
		}},
		{"the end of a call from before has no say", "G", single, func(s *stage) {
			good, bad := s.begin(), s.begin()
			s.halfOpened()
			s.end(good, breaker.Success)
			s.tested()
			s.end(bad, breaker.Failure)
			s.tested()
		}},
		{"a call that hangs does not hold it for ever", "R P",
			breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Minute, ProbeTimeout: time.Second}, func(s *stage) {
				s.halfOpened()
				hung := s.begin()
				s.after(time.Second)
				s.opened()
				s.after(time.Minute)
				s.end(hung, breaker.Failure)
				s.tested()
				s.ok(1)
				s.closed()
			}},
		{"closing forgets what there was", "G R",
			breaker.Config{FailureRate: 0.5, WindowCalls: 10, MinCalls: 4, RecoveryTimeout: time.Minute}, func(s *stage) {
				s.down(4)
				s.after(time.Minute)
				s.ok(1)
				s.closed()
				s.down(3)
				s.closed()
			}},
	})
}

func TestPeersManualControl(t *testing.T) {
	two := breaker.Config{FailureThreshold: 2, RecoveryTimeout: time.Minute}
	playAll(t, []peerCase{
		{"forced open, it stays so however long", "R P", two, func(s *stage) {
			s.b.ForceOpen("maintenance")
			s.blocks(0) // and says not for how long
			s.after(1000 * time.Hour)
			s.blocks(0)
			s.story("closed>open forced")
		}},
		{"also when its delay was running", "R", two, func(s *stage) {
			s.down(2)
			s.b.ForceOpen("maintenance")
			s.after(time.Hour)
			s.opened()
			s.story(tripped)
		}},
		{"twice is told once", "R", two, func(s *stage) {
			s.b.ForceOpen("maintenance")
			s.b.ForceOpen("maintenance")
			s.story("closed>open forced")
		}},
		{"a reset ends that", "P", two, func(s *stage) {
			s.b.ForceOpen("maintenance")
			s.b.Reset()
			s.ok(1)
			s.story("closed>open forced", "open>closed reset")
		}},
		{"a reset closes without waiting", "R P", two, func(s *stage) {
			s.down(2)
			s.b.Reset()
			s.closed()
			s.ok(1)
		}},
		{"a reset forgets failures", "R", two, func(s *stage) {
			s.down(1)
			s.b.Reset()
			s.down(1)
			s.closed()
		}},
		{"disabled, it lets all through", "R", two, func(s *stage) {
			s.b.Disable("trial")
			s.down(10)
			s.ok(1)
			s.closed()
		}},
		{"but counts, and says once that it would have opened", "R", two, func(s *stage) {
			s.b.Disable("trial")
			s.down(10)
			s.counts(0, 10, 0, 0)
			if n := s.b.Snapshot().WouldOpen; n != 1 {
				s.Errorf("it would have opened %d times", n)
			}
		}},
		{"disabled ends an outage", "R", two, func(s *stage) {
			s.down(2)
			s.b.Disable("trial")
			s.ok(1)
		}},
	})
}

func TestPeersDelay(t *testing.T) {
	playAll(t, []peerCase{
		{"each reopening can lengthen it", "R",
			breaker.Config{FailureThreshold: 1, RecoveryTimeout: 5 * time.Second, BackoffFactor: 1.5}, func(s *stage) {
				s.down(1)
				s.blocks(5 * time.Second)
				s.after(5 * time.Second)
				s.down(1)
				s.blocks(7500 * time.Millisecond)
				s.after(6 * time.Second)
				s.opened()
				s.after(1500 * time.Millisecond)
				s.ok(1)
			}},
		{"a closing ends that", "P",
			breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Second, BackoffFactor: 2}, func(s *stage) {
				for _, reopenings := range []int{5, 3} {
					delay := time.Second
					for range reopenings {
						s.down(1)
						s.blocks(delay)
						s.after(delay)
						delay *= 2
					}
					s.ok(1)
					s.closed()
				}
			}},
		{"a failure can ask for its own", "F R P",
			breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Second}, func(s *stage) {
				s.gives(1, retryAfterError{42 * time.Minute})
				s.blocks(42 * time.Minute)
				s.after(42 * time.Minute)
				s.down(1) // and this one does not
				s.blocks(time.Second)
			}},
		{"jitter stays within its share", "F",
			breaker.Config{FailureThreshold: 1, RecoveryTimeout: 100 * time.Millisecond, Jitter: 0.25}, func(s *stage) {
				different := map[time.Duration]bool{}
				for range 100 {
					s.down(1)
					d := s.b.Snapshot().RetryAfter
					if d < 75*time.Millisecond || d > 100*time.Millisecond {
						s.Errorf("a delay of %v", d)
					}
					different[d] = true
					s.b.Reset()
				}
				if len(different) < 2 {
					s.Error("all delays are the same")
				}
			}},
		{"the longest there is does not overflow", "P",
			breaker.Config{FailureThreshold: 1, RecoveryTimeout: math.MaxInt64}, func(s *stage) {
				s.after(time.Hour)
				s.down(1)
				s.after(100 * 365 * 24 * time.Hour)
				s.opened()
			}},
	})
}
