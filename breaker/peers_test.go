package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// What the tests of four breakers in wide use say of behaviour that this one shares, retold for ours: gobreaker (G),
// failsafe-go (F), Resilience4j (R) and Polly (P). Nothing is copied from them; docs/compared.md tells where we differ.
// Time is virtual.

// peerCase is one such behaviour. The letters say whose tests ask for it.
type peerCase struct {
	name, peers string
	config      breaker.Config
	play        func(*stage)
}

// stage is where a case plays: one breaker, and what was heard of it.
type stage struct {
	*testing.T
	b *breaker.Breaker
	r *recorder
}

var (
	errIgnored = errors.New("not the dependency's fault")
	errFine    = errors.New("not found, as it should be")
)

// classify is a Config.Classify with all three outcomes.
func classify(err error) breaker.Outcome {
	switch {
	case errors.Is(err, errIgnored):
		return breaker.Ignored
	case err == nil || errors.Is(err, errFine):
		return breaker.Success
	}
	return breaker.Failure
}

// gives makes n calls that return err, and wants them let through.
func (s *stage) gives(n int, err error) {
	s.Helper()
	for range n {
		if got := s.b.Do(s.Context(), func(context.Context) error { return err }); !errors.Is(got, err) {
			s.Errorf("a call gives %v, want %v", got, err)
		}
	}
}

func (s *stage) ok(n int)   { s.Helper(); s.gives(n, nil) }
func (s *stage) down(n int) { s.Helper(); s.gives(n, errDown) }

// lasts makes a successful call that takes so long by the clock.
func (s *stage) lasts(d time.Duration) {
	s.Helper()
	if err := s.b.Do(s.Context(), func(context.Context) error { time.Sleep(d); return nil }); err != nil {
		s.Errorf("a call gives %v", err)
	}
}

// begin starts a call that stays in flight.
func (s *stage) begin() *breaker.Permit {
	s.Helper()
	p, err := s.b.Acquire(s.Context())
	if err != nil {
		s.Fatalf("a call that should begin gives %v", err)
	}
	return &p
}

func (s *stage) end(p *breaker.Permit, o breaker.Outcome) { p.Done(s.Context(), o) }

// took reports a call whose caller has measured it.
func (s *stage) took(d time.Duration, o breaker.Outcome) {
	s.Helper()
	s.begin().DoneWith(s.Context(), breaker.Result{Outcome: o, Elapsed: d})
}

func (s *stage) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// closed, opened and tested want the state.
func (s *stage) closed() { s.Helper(); wantState(s.T, s.b, breaker.Closed) }
func (s *stage) opened() { s.Helper(); wantState(s.T, s.b, breaker.Open) }
func (s *stage) tested() { s.Helper(); wantState(s.T, s.b, breaker.HalfOpen) }

// blocks wants the next call refused for so much longer, and its function not called.
func (s *stage) blocks(remaining time.Duration) {
	s.Helper()
	err := s.b.Do(s.Context(), func(context.Context) error {
		s.Error("a blocked call's function was called")
		return nil
	})
	refusal, is := errors.AsType[*breaker.OpenError](err)
	if !is || !errors.Is(err, breaker.ErrOpen) || refusal.RetryAfter() != remaining {
		s.Errorf("the call gives %v, want a refusal for another %v", err, remaining)
	}
}

func (s *stage) story(want ...string) { s.Helper(); wantStory(s.T, s.b, s.r, want...) }

func (s *stage) counts(success, failure, ignored, blocked uint64) {
	s.Helper()
	wantCounts(s.T, s.b, success, failure, ignored, blocked)
}

func playAll(t *testing.T, cases []peerCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := new(recorder)
				c.play(&stage{t, mustNew(t, c.config, r), r})
				if t.Failed() {
					t.Logf("the tests of %s ask for this", c.peers)
				}
			})
		})
	}
}

func TestPeersConsecutiveFailures(t *testing.T) {
	three := breaker.Config{FailureThreshold: 3, Classify: classify}
	playAll(t, []peerCase{
		{"a success in between begins the count anew", "G F P", three, func(s *stage) {
			s.down(2)
			s.ok(1)
			s.down(2)
			s.closed()
			s.down(1)
			s.opened()
		}},
		{"the failure that reaches the threshold opens", "F P", three, func(s *stage) {
			s.down(2)
			s.closed()
			s.down(1)
			s.opened()
		}},
		{"failures and successes in turn never open", "F P", breaker.Config{FailureThreshold: 2}, func(s *stage) {
			for range 50 {
				s.down(1)
				s.ok(1)
			}
			s.closed()
		}},
		{"a threshold of one opens on the first failure", "F P",
			breaker.Config{FailureThreshold: 1}, func(s *stage) {
				s.ok(1)
				s.down(1)
				s.opened()
			}},
		{"ignored calls neither break a run nor lengthen it", "G", three, func(s *stage) {
			s.down(2)
			s.gives(5, errIgnored)
			s.closed()
			s.down(1)
			s.opened()
			s.counts(0, 3, 5, 0)
		}},
	})
}

func TestPeersCountWindow(t *testing.T) {
	half := breaker.Config{FailureRate: 0.5, WindowCalls: 5, MinCalls: 5}
	playAll(t, []peerCase{
		{"a share of the last calls opens", "F R",
			breaker.Config{FailureRate: 0.66, WindowCalls: 3}, func(s *stage) {
				s.down(1)
				s.ok(1)
				s.closed()
				s.down(1)
				s.opened()
			}},
		{"a share below the threshold never does", "F R",
			breaker.Config{FailureRate: 0.75, WindowCalls: 4}, func(s *stage) {
				for range 30 {
					s.ok(1)
					s.down(1)
				}
				s.closed()
			}},
		{"below the minimum nothing is judged", "G R P", half, func(s *stage) {
			s.down(4)
			s.closed()
			s.down(1)
			s.opened()
		}},
		{"the call that makes the minimum may be a success", "R", half, func(s *stage) {
			s.down(3)
			s.ok(1)
			s.closed()
			s.ok(1)
			s.opened()
			s.blocks(30 * time.Second)
			s.counts(2, 3, 0, 1)
		}},
		{"a share that equals the threshold opens", "G P",
			breaker.Config{FailureRate: 0.6, WindowCalls: 10}, func(s *stage) {
				s.ok(4)
				s.down(5)
				s.closed()
				s.down(1)
				s.opened()
			}},
		{"what the window has no place for is forgotten", "R",
			breaker.Config{FailureRate: 0.6, WindowCalls: 10}, func(s *stage) {
				s.down(5)
				s.ok(10) // the failures are out
				s.down(5)
				s.closed() // five of ten, not ten of twenty
				s.down(1)
				s.opened()
			}},
		{"ignored calls take no place in it", "G R",
			breaker.Config{FailureRate: 0.5, WindowCalls: 4, Classify: classify}, func(s *stage) {
				s.down(2)
				s.gives(10, errIgnored)
				s.ok(1)
				s.closed()
				s.ok(1)
				s.opened()
			}},
	})
}

func TestPeersTimeWindow(t *testing.T) {
	rolling := breaker.Config{FailureRate: 0.5, WindowDuration: 20 * time.Second, MinCalls: 5}
	playAll(t, []peerCase{
		{"calls of different moments are judged together", "F R P", rolling, func(s *stage) {
			for _, err := range []error{nil, nil, nil, errDown, errDown} {
				s.gives(1, err)
				s.after(time.Second)
			}
			s.closed()
			s.down(1) // three of six
			s.opened()
		}},
		{"below the minimum nothing is judged", "G F R P", rolling, func(s *stage) {
			s.down(4)
			s.closed()
			s.ok(1)
			s.opened()
		}},
		{"calls that are older no longer count", "F",
			breaker.Config{FailureRate: 0.5, WindowDuration: 200 * time.Millisecond, MinCalls: 3}, func(s *stage) {
				s.down(1)
				s.ok(1)
				s.after(210 * time.Millisecond)
				s.down(1)
				s.ok(1)
				s.after(50 * time.Millisecond)
				s.ok(1)
				s.closed() // one of three
				s.down(1)
				s.opened() // two of four
			}},
		{"nor do those of exactly a window ago", "P", rolling, func(s *stage) {
			s.down(4)
			s.after(20 * time.Second)
			s.down(1)
			s.closed()
			s.down(4)
			s.opened()
		}},
		{"nor any after a long silence", "P", rolling, func(s *stage) {
			s.down(4)
			s.after(1000 * time.Hour)
			s.down(4)
			s.closed()
		}},
		{"it slides, and knows no edges at which all is forgotten", "G F P", rolling, func(s *stage) {
			s.after(19 * time.Second)
			s.down(4)
			s.after(2 * time.Second)
			s.down(1)
			s.opened()
		}},
		{"the oldest part leaves alone", "G P",
			breaker.Config{FailureRate: 0.6, WindowDuration: 30 * time.Second, MinCalls: 3}, func(s *stage) {
				s.ok(6)
				s.down(4) // four of ten
				s.after(15 * time.Second)
				s.ok(2)
				s.down(3) // seven of fifteen
				s.closed()
				s.after(16 * time.Second) // the first ten are out: three of five are left
				s.ok(1)
				s.closed() // three of six
				s.down(2)
				s.opened() // five of eight
			}},
	})
}

func TestPeersSlowCalls(t *testing.T) {
	slow := breaker.Config{SlowCallRate: 0.5, SlowCallDuration: 4 * time.Second, WindowCalls: 5, MinCalls: 5}
	playAll(t, []peerCase{
		{"too many open, as the breaker measures them", "R", slow, func(s *stage) {
			s.lasts(5 * time.Second)
			s.lasts(5 * time.Second)
			s.ok(2)
			s.closed()
			s.lasts(5 * time.Second)
			s.opened()
			s.story("closed>open slow_call_rate")
		}},
		{"and as the caller has measured them, failed ones too", "R", slow, func(s *stage) {
			s.took(5*time.Second, breaker.Failure)
			s.took(5*time.Second, breaker.Success)
			s.took(100*time.Millisecond, breaker.Failure)
			s.took(100*time.Millisecond, breaker.Success)
			s.closed()
			s.took(5*time.Second, breaker.Success)
			s.opened()
		}},
		{"a call of just the duration is not slow", "R", slow, func(s *stage) {
			for range 10 {
				s.lasts(4 * time.Second)
			}
			s.closed()
		}},
	})
}

func TestPeersJudgement(t *testing.T) {
	judged := breaker.Config{FailureThreshold: 2, Classify: classify}
	playAll(t, []peerCase{
		{"the user says which errors are no failures", "G F R P", judged, func(s *stage) {
			s.gives(10, errFine)
			s.closed()
			s.counts(10, 0, 0, 0)
		}},
		{"wrapped ones, too", "F P", judged, func(s *stage) {
			wrapped := fmt.Errorf("while asking: %w", errFine)
			s.gives(10, wrapped)
			s.closed()
		}},
		{"such an error ends a run of failures", "R P", judged, func(s *stage) {
			s.down(1)
			s.gives(1, errFine)
			s.down(1)
			s.closed()
		}},
		{"the others still are", "F R P", judged, func(s *stage) {
			s.gives(1, errFine)
			s.down(2)
			s.opened()
		}},
		{"some are neither", "G R", judged, func(s *stage) {
			s.gives(10, errIgnored)
			s.counts(0, 0, 10, 0)
		}},
		{"a result without an error can be a failure", "F R P", judged, func(s *stage) {
			for range 2 { // a page that says 500, say
				s.end(s.begin(), breaker.Failure)
			}
			s.opened()
		}},
		{"a panic is a failure and goes on", "G", judged, func(s *stage) {
			for range 2 {
				func() {
					defer func() {
						if r := recover(); r != "oops" {
							s.Errorf("recovered %v", r)
						}
					}()
					_ = s.b.Do(s.Context(), func(context.Context) error { panic("oops") })
				}()
			}
			s.opened()
		}},
		{"the caller's own cancellation is none", "P", breaker.Config{FailureThreshold: 1}, func(s *stage) {
			ctx, cancel := context.WithCancel(s.Context())
			err := s.b.Do(ctx, func(ctx context.Context) error { cancel(); return ctx.Err() })
			if !errors.Is(err, context.Canceled) {
				s.Errorf("the call gives %v", err)
			}
			s.closed()
			s.counts(0, 0, 1, 0)
		}},
		{"a call in two steps is judged as one in a function", "G", judged, func(s *stage) {
			s.begin().DoneErr(s.Context(), errDown)
			s.begin().DoneErr(s.Context(), errIgnored)
			s.closed()
			s.begin().DoneErr(s.Context(), errDown)
			s.opened()
			s.counts(0, 2, 1, 0)
		}},
	})
}
