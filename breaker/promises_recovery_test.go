package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func TestG01_ProbesInFlightNeverExceedTheLimit(t *testing.T) {
	for _, limit := range []int{1, 3} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := mustNew(t, breaker.Config{MaxProbes: limit, SuccessThreshold: 50})
				// Late calls from before the trip end in the middle of the herd and must make no room in it.
				late := make([]breaker.Permit, 20)
				for i := range late {
					var err error
					if late[i], err = b.Acquire(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				halfOpen(t, b)
				var flying, most atomic.Int64
				var herd sync.WaitGroup
				for range 200 {
					herd.Go(func() {
						for range 5 {
							_ = b.Do(t.Context(), func(context.Context) error {
								n := flying.Add(1)
								defer flying.Add(-1)
								for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
								}
								time.Sleep(time.Millisecond)
								return nil
							})
							time.Sleep(time.Millisecond)
						}
					})
				}
				for i := range late {
					time.Sleep(100 * time.Microsecond)
					late[i].Done(t.Context(), breaker.Outcome(i%3))
				}
				herd.Wait()
				if got := most.Load(); got != int64(limit) {
					t.Errorf("%d probes were in flight at once, want exactly %d", got, limit)
				}
			})
		})
	}
}

func TestG02_AResultCountsForThePeriodThatAdmittedIt(t *testing.T) {
	for _, outcome := range []breaker.Outcome{breaker.Success, breaker.Failure, breaker.Ignored} {
		t.Run(outcome.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := mustNew(t, breaker.Config{})
				early, err := b.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				halfOpen(t, b)
				before := b.Snapshot()
				early.Done(t.Context(), outcome)
				wantState(t, b, breaker.HalfOpen)
				after := b.Snapshot()
				if sum(after) != sum(before)+1 {
					t.Errorf("the late result was counted %d times", sum(after)-sum(before))
				}
				if after.ConsecutiveFailures != before.ConsecutiveFailures || after.Generation != before.Generation {
					t.Errorf("the late result moved %+v to %+v", before, after)
				}
			})
		})
	}
}

func TestG02_AProbeOfAnEarlierHalfOpenMovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, breaker.Config{MaxProbes: 2})
		halfOpen(t, b)
		slow, err := b.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = b.Do(t.Context(), fail) // the other probe reopens
		wantState(t, b, breaker.Open)
		time.Sleep(b.Snapshot().RetryAfter)
		synctest.Wait()
		wantState(t, b, breaker.HalfOpen)
		slow.Done(t.Context(), breaker.Success)
		wantState(t, b, breaker.HalfOpen)
		wantCounts(t, b, 1, 6, 0, 0)
	})
}

func TestG03_NothingHoldsTheBreakerHalfOpen(t *testing.T) {
	type probe func(t *testing.T, b *breaker.Breaker)
	for name, c := range map[string]struct {
		probe probe
		want  breaker.State // when the lease has ended
		rule  string
	}{
		"hang": {func(t *testing.T, b *breaker.Breaker) {
			release := make(chan struct{})
			go func() { _ = b.Do(context.Background(), func(context.Context) error { <-release; return nil }) }()
			t.Cleanup(func() { close(release) })
		}, breaker.Open, breaker.RuleProbeTimeout},
		"dropped permit": {func(t *testing.T, b *breaker.Breaker) {
			if _, err := b.Acquire(t.Context()); err != nil {
				t.Error(err)
			}
		}, breaker.Open, breaker.RuleProbeTimeout},
		"panic": {func(t *testing.T, b *breaker.Breaker) {
			defer func() {
				if r := recover(); r != "boom" {
					t.Errorf("recovered %v, want the caller's own panic", r)
				}
			}()
			_ = b.Do(t.Context(), func(context.Context) error { panic("boom") })
		}, breaker.Open, breaker.RuleProbeFailed},
		"Goexit": {func(t *testing.T, b *breaker.Breaker) {
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				_ = b.Do(context.Background(), func(context.Context) error { runtime.Goexit(); return nil })
			}()
			<-gone
		}, breaker.Open, breaker.RuleProbeFailed},
		"cancelled caller": {func(t *testing.T, b *breaker.Breaker) {
			ctx, cancel := context.WithCancel(t.Context())
			_ = b.Do(ctx, func(ctx context.Context) error { cancel(); return ctx.Err() })
			if got := b.Snapshot().ProbesInFlight; got != 0 {
				t.Errorf("the cancelled probe keeps %d places", got)
			}
			if err := b.Do(t.Context(), succeed); err != nil {
				t.Errorf("after a cancelled probe the next is refused: %v", err)
			}
		}, breaker.Closed, breaker.RuleProbesSucceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := new(recorder)
				b := mustNew(t, breaker.Config{ProbeTimeout: 10 * time.Second}, r)
				halfOpen(t, b)
				c.probe(t, b)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				wantState(t, b, c.want)
				_ = b.Flush(t.Context())
				events := r.all()
				if last := events[len(events)-1]; last.Reason.Rule != c.rule {
					t.Errorf("the last transition is by %s, want %s", last.Reason.Rule, c.rule)
				}
			})
		})
	}
}

func TestG03_ALateProbeIsVoidAndCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, breaker.Config{ProbeTimeout: time.Second})
		halfOpen(t, b)
		p, err := b.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		wantState(t, b, breaker.Open)
		wantCounts(t, b, 0, 6, 0, 0)
		p.Done(t.Context(), breaker.Success)
		wantState(t, b, breaker.Open)
		wantCounts(t, b, 0, 6, 0, 0)
	})
}

// hostileError is a typed nil whose methods panic, or one that calls the breaker.
type hostileError struct{ b *breaker.Breaker }

func (e *hostileError) Error() string             { return "hostile" }
func (e *hostileError) ErrorType() string         { return e.b.State().String() }
func (e *hostileError) Timeout() bool             { return e.b.State() == breaker.Open }
func (e *hostileError) RetryAfter() time.Duration { return e.b.Snapshot().RetryAfter }

func TestG03_AnErrorThatPanicsWedgesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(recorder)
		b := mustNew(t, breaker.Config{FailureThreshold: 2, RecoveryTimeout: time.Second}, r)
		var none *hostileError
		hostile := func(context.Context) error { return none }
		for range 2 {
			if err := b.Do(t.Context(), hostile); err != error(none) {
				t.Fatalf("the error came back as %v", err)
			}
		}
		wantState(t, b, breaker.Open)
		time.Sleep(time.Second)
		synctest.Wait()
		_ = b.Do(t.Context(), hostile) // the probe
		wantState(t, b, breaker.Open)
		time.Sleep(time.Second)
		synctest.Wait()
		if err := b.Do(t.Context(), succeed); err != nil {
			t.Fatal(err)
		}
		wantState(t, b, breaker.Closed)
		_ = b.Flush(t.Context())
		if got := r.all()[0].ErrorType; got != "*breaker_test.hostileError" {
			t.Errorf("named %q", got)
		}
	})
}

func TestG07_AnErrorMayCallTheBreaker(t *testing.T) {
	r := new(recorder)
	b := mustNew(t, breaker.Config{FailureThreshold: 1}, r)
	_ = b.Do(t.Context(), func(context.Context) error { return &hostileError{b} })
	_ = b.Flush(t.Context())
	if got := r.all()[0].ErrorType; got != "closed" {
		t.Errorf("named %q", got)
	}
}

func TestG04_RecoversOnTimeWithoutTrafficOrDespiteIt(t *testing.T) {
	for _, traffic := range []bool{false, true} {
		t.Run(fmt.Sprintf("traffic=%v", traffic), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := new(recorder)
				b := mustNew(t, breaker.Config{RecoveryTimeout: 10 * time.Second}, r)
				trip(t, b)
				tripped := time.Now()
				for time.Since(tripped) < 10*time.Second-time.Millisecond {
					time.Sleep(time.Millisecond)
					if traffic {
						if err := b.Do(t.Context(), succeed); !errors.Is(err, breaker.ErrOpen) {
							t.Fatalf("%v after the trip a call got %v", time.Since(tripped), err)
						}
					}
				}
				wantState(t, b, breaker.Open)
				time.Sleep(time.Millisecond)
				synctest.Wait()
				wantState(t, b, breaker.HalfOpen)
				_ = b.Flush(t.Context())
				if e := r.all()[1]; e.At.Sub(tripped) != 10*time.Second || e.Reason.Rule != breaker.RuleDelayElapsed {
					t.Errorf("half-open %v after the trip by %q", e.At.Sub(tripped), e.Reason.Rule)
				}
				if err := b.Do(t.Context(), succeed); err != nil {
					t.Fatal(err)
				}
				wantState(t, b, breaker.Closed)
			})
		})
	}
}

// The instant itself, when the timer's goroutine has not run yet: the call finds the delay over by its own clock.
func TestG04_TheFirstCallOfTheInstantIsAProbe(t *testing.T) {
	for range 50 { // virtual time runs timers of one instant in random order
		synctest.Test(t, func(t *testing.T) {
			b := mustNew(t, breaker.Config{RecoveryTimeout: time.Second})
			trip(t, b)
			time.Sleep(time.Second)
			if err := b.Do(t.Context(), succeed); err != nil {
				t.Fatalf("at the end of the delay: %v", err)
			}
			wantState(t, b, breaker.Closed)
		})
	}
}

func TestG04_ASnapshotOfTheInstantIsHalfOpen(t *testing.T) {
	for range 50 { // virtual time runs timers of one instant in random order
		synctest.Test(t, func(t *testing.T) {
			b := mustNew(t, breaker.Config{RecoveryTimeout: time.Second})
			trip(t, b)
			time.Sleep(time.Second)
			if s := b.Snapshot(); s.State != breaker.HalfOpen || s.OpenTime != time.Second {
				t.Fatalf("at the end of the delay it is %v, after %v", s.State, s.OpenTime)
			}
		})
	}
}
