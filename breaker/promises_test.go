package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// The tests of the promises in docs/guarantees.md, each with the promise's id in its name. Time is virtual.

var errDown = errors.New("down")

func fail(context.Context) error { return errDown }

// recorder is a listener that remembers.
type recorder struct {
	mu     sync.Mutex
	events []breaker.Event
}

func (r *recorder) OnTransition(e breaker.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []breaker.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// story gives the transitions as "closed>open consecutive_failures".
func (r *recorder) story() []string {
	var lines []string
	for _, e := range r.all() {
		lines = append(lines, fmt.Sprintf("%v>%v %s", e.From, e.To, e.Reason.Rule))
	}
	return lines
}

func wantStory(t *testing.T, b *breaker.Breaker, r *recorder, want ...string) {
	t.Helper()
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.story(); !slices.Equal(got, want) {
		t.Errorf("transitions:\n  got  %v\n  want %v", got, want)
	}
}

func wantState(t *testing.T, b *breaker.Breaker, want breaker.State) {
	t.Helper()
	if got := b.State(); got != want {
		t.Fatalf("state is %v, want %v", got, want)
	}
	if got := b.Snapshot().State; got != want {
		t.Fatalf("snapshot's state is %v, want %v", got, want)
	}
}

// trip opens b by failures; its threshold must be the default.
func trip(t *testing.T, b *breaker.Breaker) {
	t.Helper()
	for range breaker.DefaultFailureThreshold {
		if err := b.Do(t.Context(), fail); !errors.Is(err, errDown) {
			t.Fatalf("a failing call returned %v", err)
		}
	}
	wantState(t, b, breaker.Open)
}

// halfOpen trips b and waits until its delay has ended.
func halfOpen(t *testing.T, b *breaker.Breaker) {
	t.Helper()
	trip(t, b)
	time.Sleep(b.Snapshot().RetryAfter)
	synctest.Wait()
	wantState(t, b, breaker.HalfOpen)
}

// wantCounts checks the totals: success, failure, ignored, blocked.
func wantCounts(t *testing.T, b *breaker.Breaker, want ...uint64) {
	t.Helper()
	s := b.Snapshot()
	if got := []uint64{s.Success, s.Failure, s.Ignored, s.Blocked}; !slices.Equal(got, want) {
		t.Errorf("success, failure, ignored, blocked are %v, want %v", got, want)
	}
}

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

func TestG05_AWindowOfCallsIsExact(t *testing.T) {
	b := mustNew(t, breaker.Config{FailureRate: 0.5, WindowCalls: 4, MinCalls: 4})
	do := func(results string) {
		for _, r := range results {
			if r == 'F' {
				_ = b.Do(t.Context(), fail)
			} else {
				_ = b.Do(t.Context(), succeed)
			}
		}
	}
	do("FSSS" + "FSSS" + "FSSS") // one failure in any four calls in a row, always
	wantState(t, b, breaker.Closed)
	do("S") // the oldest failure has left: SSSS
	do("FF")
	wantState(t, b, breaker.Open) // SSFF: the threshold is inclusive
}

func TestG05_NoRateIsJudgedOnFewerThanMinCalls(t *testing.T) {
	b := mustNew(t, breaker.Config{FailureRate: 0.1, WindowCalls: 20, MinCalls: 10})
	for range 9 {
		_ = b.Do(t.Context(), fail)
	}
	wantState(t, b, breaker.Closed)
	_ = b.Do(t.Context(), succeed) // the tenth call, and nine of ten have failed
	wantState(t, b, breaker.Open)
	if s := b.Snapshot(); time.Since(s.OpenedAt) > time.Minute {
		t.Errorf("opened by a success at %v", s.OpenedAt)
	}
}

func TestG05_AWindowOfTimeForgetsOnTime(t *testing.T) {
	for _, c := range []struct {
		wait time.Duration // since the failures
		want breaker.State
	}{
		{0, breaker.Open},
		{9*time.Second - 1, breaker.Open},      // within nine tenths: still counts
		{10 * time.Second, breaker.Closed},     // older than the window: gone
		{1000 * time.Hour, breaker.Closed},     // long idle
		{10*time.Second + 1, breaker.Closed},   //
		{19*time.Second + 1e8, breaker.Closed}, //
	} {
		t.Run(c.wait.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := mustNew(t, breaker.Config{FailureRate: 0.5, WindowDuration: 10 * time.Second, MinCalls: 10})
				for range 9 {
					_ = b.Do(t.Context(), fail)
				}
				time.Sleep(c.wait)
				_ = b.Do(t.Context(), succeed) // makes ten calls where the failures still count
				wantState(t, b, c.want)
			})
		})
	}
}

func TestG05_SlowCallsOpenAndAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(recorder)
		b := mustNew(t, breaker.Config{SlowCallRate: 0.5, SlowCallDuration: time.Second, WindowCalls: 4, MinCalls: 4}, r)
		for _, took := range []time.Duration{time.Second, 0, time.Second + 1, time.Second + 1} { // one second is not slow
			wantState(t, b, breaker.Closed)
			_ = b.Do(t.Context(), func(context.Context) error { time.Sleep(took); return nil })
		}
		wantState(t, b, breaker.Open)
		if got := b.Snapshot().Slow; got != 2 {
			t.Errorf("%d slow calls, want 2", got)
		}
		_ = b.Flush(t.Context())
		if why := r.all()[0].Reason; why != (breaker.Reason{Rule: breaker.RuleSlowCallRate, Observed: 0.5, Threshold: 0.5}) {
			t.Errorf("opened by %+v", why)
		}
	})
}

func TestG05_AProbeThatOutlivesItsLeaseWasSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, breaker.Config{SlowCallDuration: time.Second, ProbeTimeout: 2 * time.Second})
		halfOpen(t, b)
		if _, err := b.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := b.Snapshot(); s.Slow != 1 || s.Failure != 6 {
			t.Errorf("%d slow of %d failures", s.Slow, s.Failure)
		}
	})
}

func TestG05_AReportedDurationIsJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, breaker.Config{SlowCallRate: 1, SlowCallDuration: time.Second, WindowDuration: time.Minute, MinCalls: 3})
		for _, took := range []time.Duration{time.Millisecond, 2 * time.Second} {
			p, err := b.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second) // the reader's pace, which is not judged
			p.DoneWith(t.Context(), breaker.Result{Elapsed: took})
		}
		if got := b.Snapshot().Slow; got != 1 {
			t.Errorf("%d slow calls, want the one that was reported so", got)
		}
	})
}

func TestG06_DelaysMultiplySaturateAndAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, breaker.Config{RecoveryTimeout: time.Second, BackoffFactor: 3, MaxRecoveryTimeout: 20 * time.Second})
		halfOpen(t, b)
		for _, want := range []time.Duration{3, 9, 20, 20, 20} {
			_ = b.Do(t.Context(), fail)
			if got := b.Snapshot().RetryAfter; got != want*time.Second {
				t.Fatalf("reopened for %v, want %v", got, want*time.Second)
			}
			time.Sleep(want * time.Second)
			synctest.Wait()
		}
		_ = b.Do(t.Context(), succeed)
		wantState(t, b, breaker.Closed)
		trip(t, b)
		if got := b.Snapshot().RetryAfter; got != time.Second {
			t.Errorf("after a closing it opens for %v, want the plain second again", got)
		}
	})
}

func TestG06_NoOverflowEverYieldsAnInstantRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, breaker.Config{RecoveryTimeout: time.Second, BackoffFactor: math.MaxFloat64,
			MaxRecoveryTimeout: math.MaxInt64, ProbeTimeout: math.MaxInt64})
		halfOpen(t, b)
		_ = b.Do(t.Context(), fail)
		wantState(t, b, breaker.Open)
		time.Sleep(1000 * time.Hour)
		synctest.Wait()
		wantState(t, b, breaker.Open)
		var e *breaker.OpenError
		if err := b.Do(t.Context(), succeed); !errors.As(err, &e) || e.RetryAfter() < 1000*time.Hour {
			t.Errorf("%v, retry after %v", err, e.RetryAfter())
		}
	})
}

func TestG06_JitterTakesAtMostItsShareAndNeverFromRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 100 {
			b := mustNew(t, breaker.Config{RecoveryTimeout: 100 * time.Second, Jitter: 0.25, FailureThreshold: 1})
			_ = b.Do(t.Context(), fail)
			d := b.Snapshot().RetryAfter
			if d < 75*time.Second || d > 100*time.Second {
				t.Fatalf("delay %v is not within a quarter below 100s", d)
			}
			seen[d] = true
		}
		if len(seen) < 50 {
			t.Errorf("100 delays had only %d values", len(seen))
		}
	})
}

func TestG06_RetryAfterLengthensAndIsCapped(t *testing.T) {
	for _, c := range []struct{ asked, want time.Duration }{
		{time.Second, 10 * time.Second},
		{20 * time.Second, 20 * time.Second},
		{time.Hour, 30 * time.Second},
		{-time.Hour, 10 * time.Second},
		{math.MaxInt64, 30 * time.Second},
	} {
		b := mustNew(t, breaker.Config{FailureThreshold: 1, RecoveryTimeout: 10 * time.Second, Jitter: 1e-9,
			MaxRecoveryTimeout: 30 * time.Second})
		p, err := b.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.DoneWith(t.Context(), breaker.Result{Outcome: breaker.Failure, RetryAfter: c.asked})
		if got := b.Snapshot().RetryAfter.Round(time.Second); got != c.want {
			t.Errorf("asked for %v: opens for %v, want %v", c.asked, got, c.want)
		}
	}
}

type retryAfterError struct{ time.Duration }

func (e retryAfterError) Error() string             { return "busy" }
func (e retryAfterError) RetryAfter() time.Duration { return e.Duration }

func TestG06_RetryAfterComesWithTheErrorToo(t *testing.T) {
	b := mustNew(t, breaker.Config{FailureThreshold: 1})
	_ = b.Do(t.Context(), func(context.Context) error {
		return fmt.Errorf("charging: %w", retryAfterError{10 * time.Minute})
	})
	if got := b.Snapshot().RetryAfter.Round(time.Second); got != 10*time.Minute {
		t.Errorf("opens for %v, want the ten minutes asked for", got)
	}
}

func TestG07_AListenerMayCallTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *breaker.Breaker
		states := make(chan breaker.State, 1)
		b = mustNew(t, breaker.Config{}, breaker.ListenerFunc(func(breaker.Event) {
			_ = b.Do(context.Background(), succeed)
			_ = b.Snapshot()
			cancel := b.Subscribe(breaker.ListenerFunc(func(breaker.Event) {}))
			cancel()
			states <- b.State()
		}))
		trip(t, b)
		if got := <-states; got != breaker.Open {
			t.Errorf("the listener saw %v", got)
		}
	})
}

func TestG07_APanicOrGoexitInAListenerHarmsNobody(t *testing.T) {
	var log strings.Builder
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	synctest.Test(t, func(t *testing.T) {
		first, last := new(recorder), new(recorder)
		b := mustNew(t, breaker.Config{}, first,
			breaker.ListenerFunc(func(breaker.Event) { panic("secret") }),
			breaker.ListenerFunc(func(breaker.Event) { runtime.Goexit() }), last)
		halfOpen(t, b)
		_ = b.Do(t.Context(), succeed)
		want := []string{"closed>open consecutive_failures", "open>half_open delay_elapsed", "half_open>closed probes_succeeded"}
		wantStory(t, b, first, want...)
		wantStory(t, b, last, want...)
	})
	if text := log.String(); strings.Count(text, "listener panicked") != 3 || strings.Contains(text, "secret") {
		t.Errorf("logged: %s", text)
	}
}

func TestG07_ABlockedListenerSlowsNoCallAndTheOldestEventsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := new(recorder)
		entered := make(chan struct{}, 1)
		b := mustNew(t, breaker.Config{}, breaker.ListenerFunc(func(breaker.Event) {
			select {
			case entered <- struct{}{}:
			default:
			}
			<-release
		}), r)
		b.ForceOpen("first")
		<-entered
		start := time.Now()
		const more = 2000
		for range more / 2 {
			b.Reset()
			b.ForceOpen("again")
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the breaker waited %v for its listener", took)
		}
		if got := b.Snapshot().EventsDropped; got != more-1024 {
			t.Errorf("%d events dropped, want %d", got, more-1024)
		}
		timeout, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Flush(timeout); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush while the listener blocks: %v", err)
		}
		close(release)
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		events := r.all()
		if len(events) != 1+1024 {
			t.Fatalf("%d events were delivered, want the first and the last 1,024", len(events))
		}
		for i := 2; i < len(events); i++ {
			if events[i].From != events[i-1].To {
				t.Fatalf("event %d goes from %v, but the one before went to %v", i, events[i].From, events[i-1].To)
			}
		}
	})
}

func TestG07_CallListenersRunOnTheCallAndMayPanic(t *testing.T) {
	l := &callRecorder{}
	b := mustNew(t, breaker.Config{FailureThreshold: 1}, l)
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "mine")
	_ = b.Do(ctx, fail)
	if l.transitions != 1 || l.ctx.Value(key{}) != "mine" {
		t.Errorf("the tripping call noted %d transitions", l.transitions)
	}
	if err := b.Do(ctx, succeed); !errors.Is(err, breaker.ErrOpen) || l.blocked != 1 {
		t.Errorf("the blocked call noted %d, and got %v", l.blocked, err)
	}
	cancelled := mustNew(t, breaker.Config{FailureThreshold: 1})
	cancelled.Subscribe(l)()
	_ = cancelled.Do(ctx, fail)
	_ = cancelled.Do(ctx, fail)
	if l.transitions != 1 || l.blocked != 1 {
		t.Error("a cancelled subscription was still called")
	}
}

type callRecorder struct {
	transitions, blocked int
	ctx                  context.Context
}

func (*callRecorder) OnTransition(breaker.Event) {}
func (l *callRecorder) OnCallTransition(ctx context.Context, _ breaker.Event) {
	l.ctx = ctx
	l.transitions++
	panic("harmless")
}
func (l *callRecorder) OnBlocked(context.Context, *breaker.OpenError) {
	l.blocked++
	panic("harmless")
}

func sum(s breaker.Snapshot) uint64 { return s.Success + s.Failure + s.Ignored + s.Blocked }

func TestG08_EveryCallIsCountedOnceConcurrentSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(recorder)
		b := mustNew(t, breaker.Config{RecoveryTimeout: time.Millisecond, MaxProbes: 2, ProbeTimeout: time.Minute}, r)
		var calls, succeeded, failed, ignored, blocked atomic.Uint64
		var all sync.WaitGroup
		for g := range 16 {
			all.Go(func() {
				for i := range 300 {
					calls.Add(1)
					time.Sleep(time.Duration(1+(i*7+g*13)%50) * 10 * time.Microsecond)
					one(b, (i+g*5)%8, &succeeded, &failed, &ignored, &blocked)
				}
			})
		}
		all.Wait()
		s := b.Snapshot()
		if s.Success != succeeded.Load() || s.Failure != failed.Load() || s.Ignored != ignored.Load() ||
			s.Blocked != blocked.Load() || sum(s) != calls.Load() {
			t.Errorf("%d calls: counted %d %d %d %d, the callers counted %d %d %d %d", calls.Load(),
				s.Success, s.Failure, s.Ignored, s.Blocked,
				succeeded.Load(), failed.Load(), ignored.Load(), blocked.Load())
		}
		for name, n := range map[string]uint64{"success": s.Success, "failure": s.Failure, "ignored": s.Ignored, "blocked": s.Blocked} {
			if n == 0 {
				t.Errorf("no call ended as %s: the test shows nothing of it", name)
			}
		}
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := uint64(len(r.all())); got != s.Transitions {
			t.Errorf("%d events for %d transitions", got, s.Transitions)
		}
	})
}

// one makes a call that ends in one of the ways that calls end.
func one(b *breaker.Breaker, way int, succeeded, failed, ignored, blocked *atomic.Uint64) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var began bool
	work := func(fn func() error) func(context.Context) error {
		return func(context.Context) error {
			began = true
			time.Sleep(20 * time.Microsecond)
			return fn()
		}
	}
	ended := succeeded
	defer func() {
		_ = recover()
		if !began {
			ended = blocked
		}
		ended.Add(1)
	}()
	switch way {
	case 0, 1, 2:
		_ = b.Do(ctx, work(func() error { return nil }))
	case 3:
		ended = failed
		_ = b.Do(ctx, work(func() error { return errDown }))
	case 4:
		ended = failed
		_ = b.Do(ctx, work(func() error { panic("boom") }))
	case 5:
		ended = failed
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_ = b.Do(ctx, work(func() error { runtime.Goexit(); return nil }))
		}()
		<-gone
	case 6:
		ended = ignored
		_ = b.Do(ctx, work(func() error { cancel(); return ctx.Err() }))
	case 7:
		p, err := b.Acquire(ctx)
		if err != nil {
			return
		}
		began = true
		time.Sleep(20 * time.Microsecond)
		var twice sync.WaitGroup // a second Done, at the same time, does nothing
		for range 2 {
			twice.Go(func() { p.Done(ctx, breaker.Success) })
		}
		twice.Wait()
	}
}

func TestG08_AClassifierThatPanicsCountsAFailure(t *testing.T) {
	b := mustNew(t, breaker.Config{FailureThreshold: 1, Classify: func(error) breaker.Outcome { panic("boom") }})
	func() {
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v", r)
			}
		}()
		_ = b.Do(t.Context(), succeed)
	}()
	wantCounts(t, b, 0, 1, 0, 0)
	wantState(t, b, breaker.Open)

	two := mustNew(t, breaker.Config{FailureThreshold: 1, Classify: func(error) breaker.Outcome { panic("boom") }})
	p, err := two.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		p.DoneErr(t.Context(), nil)
	}()
	wantCounts(t, two, 0, 1, 0, 0)
}

func TestG09_TheCallersCancellationIsIgnoredADeadlineIsNot(t *testing.T) {
	cancelled, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("the user left"))
	expired, stop := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer stop()
	type ctxErr = func(context.Context) error
	ownErr := func(ctx context.Context) error { return fmt.Errorf("calling: %w", ctx.Err()) }
	for name, c := range map[string]struct {
		ctx  context.Context
		fn   ctxErr
		want []uint64
	}{
		"the caller cancelled":               {cancelled, ownErr, []uint64{0, 0, 1, 0}},
		"the caller cancelled, other error":  {cancelled, fail, []uint64{0, 0, 1, 0}},
		"the caller cancelled, yet it works": {cancelled, succeed, []uint64{1, 0, 0, 0}},
		"the deadline passed":                {expired, ownErr, []uint64{0, 1, 0, 0}},
		"a deadline of the callee's own": {context.Background(),
			func(context.Context) error { return context.DeadlineExceeded }, []uint64{0, 1, 0, 0}},
		"a cancellation of the callee's own": {context.Background(),
			func(context.Context) error { return context.Canceled }, []uint64{0, 1, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, classify := range []func(error) breaker.Outcome{nil, func(err error) breaker.Outcome {
				if err != nil {
					return breaker.Failure
				}
				return breaker.Success
			}} {
				b := mustNew(t, breaker.Config{Classify: classify})
				_ = b.Do(c.ctx, c.fn)
				wantCounts(t, b, c.want...)
			}
		})
	}
}

func TestG18_BadConfigurationIsRefusedByName(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		field  string
		config breaker.Config
	}{
		{"FailureThreshold", breaker.Config{FailureThreshold: -1}},
		{"FailureRate", breaker.Config{FailureRate: -0.1}},
		{"FailureRate", breaker.Config{FailureRate: 1.1}},
		{"FailureRate", breaker.Config{FailureRate: nan}},
		{"SlowCallRate", breaker.Config{SlowCallRate: nan, SlowCallDuration: time.Second}},
		{"SlowCallRate", breaker.Config{SlowCallRate: 2, SlowCallDuration: time.Second}},
		{"SlowCallDuration", breaker.Config{SlowCallDuration: -1}},
		{"SlowCallDuration", breaker.Config{SlowCallRate: 0.5}},
		{"WindowCalls", breaker.Config{WindowCalls: -1}},
		{"WindowCalls", breaker.Config{WindowCalls: 1_000_001, FailureRate: 0.5}},
		{"WindowCalls", breaker.Config{WindowCalls: 10}},
		{"WindowDuration", breaker.Config{WindowDuration: -1}},
		{"WindowDuration", breaker.Config{WindowDuration: 1, FailureRate: 0.5}},
		{"WindowDuration", breaker.Config{WindowDuration: time.Second}},
		{"WindowDuration", breaker.Config{WindowDuration: time.Second, WindowCalls: 10, FailureRate: 0.5}},
		{"MinCalls", breaker.Config{MinCalls: -1}},
		{"MinCalls", breaker.Config{MinCalls: 5}},
		{"MinCalls", breaker.Config{MinCalls: 11, WindowCalls: 10, FailureRate: 0.5}},
		{"MinCalls", breaker.Config{MinCalls: 101, FailureRate: 0.5}},
		{"RecoveryTimeout", breaker.Config{RecoveryTimeout: -1}},
		{"BackoffFactor", breaker.Config{BackoffFactor: 0.5}},
		{"BackoffFactor", breaker.Config{BackoffFactor: -2}},
		{"BackoffFactor", breaker.Config{BackoffFactor: nan}},
		{"BackoffFactor", breaker.Config{BackoffFactor: math.Inf(1)}},
		{"MaxRecoveryTimeout", breaker.Config{MaxRecoveryTimeout: -1}},
		{"MaxRecoveryTimeout", breaker.Config{MaxRecoveryTimeout: time.Second}},
		{"MaxRecoveryTimeout", breaker.Config{RecoveryTimeout: time.Minute, MaxRecoveryTimeout: time.Minute - 1}},
		{"Jitter", breaker.Config{Jitter: -0.1}},
		{"Jitter", breaker.Config{Jitter: 1.01}},
		{"Jitter", breaker.Config{Jitter: nan}},
		{"SuccessThreshold", breaker.Config{SuccessThreshold: -1}},
		{"MaxProbes", breaker.Config{MaxProbes: -1}},
		{"MaxProbes", breaker.Config{MaxProbes: 10_001}},
		{"ProbeTimeout", breaker.Config{ProbeTimeout: -1}},
		{"Service", breaker.Config{Service: "\xff"}},
		{"Endpoint", breaker.Config{Endpoint: "https://user:hunter2@host"}},
		{"Endpoint", breaker.Config{Endpoint: "https://host/?token=hunter2"}},
	} {
		_, err := breaker.New(c.config)
		var bad *breaker.ConfigError
		if !errors.As(err, &bad) {
			t.Errorf("%s of %+v is accepted", c.field, c.config)
			continue
		}
		text := err.Error()
		if bad.Field != c.field || !strings.Contains(text, "Config."+c.field+" is ") || !strings.Contains(text, "allowed is ") {
			t.Errorf("want %s named, got: %v", c.field, err)
		}
		if strings.Contains(text, "hunter2") {
			t.Errorf("the error gives a secret away: %v", err)
		}
		live := mustNew(t, breaker.Config{})
		if err := live.Reconfigure(c.config); err == nil {
			t.Errorf("Reconfigure accepts %s of %+v", c.field, c.config)
		}
	}
	if _, err := breaker.New(breaker.Config{Jitter: 2, MaxProbes: -1}); strings.Count(err.Error(), "allowed is") != 2 {
		t.Errorf("of two faults this is reported: %v", err)
	}
	if _, err := breaker.New(breaker.Config{}, nil); err == nil || !strings.Contains(err.Error(), "listener 0 is nil") {
		t.Errorf("a nil listener: %v", err)
	}
}

func TestG19_NothingIsLeftRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // itself fails where a goroutine of the bubble is left
		b := mustNew(t, breaker.Config{}, new(recorder))
		for range 100 {
			halfOpen(t, b)
			_ = b.Do(t.Context(), succeed)
			wantState(t, b, breaker.Closed)
		}
		synctest.Wait()
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if strings.Contains(string(stacks), "breaker.(*Breaker)") {
			t.Errorf("a goroutine of the breaker is left:\n%s", stacks)
		}
	})
}
