package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

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

// The window reaches back nine to ten tenths, whatever the instant at which a tenth of it begins.
func TestG05_ACallNineTenthsOldStillCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, breaker.Config{FailureRate: 0.5, WindowDuration: 10 * time.Second, MinCalls: 3})
		_ = b.Do(t.Context(), succeed)
		time.Sleep(time.Second) // in this very instant another tenth begins
		_ = b.Do(t.Context(), succeed)
		time.Sleep(9 * time.Second)
		for range 2 { // which make three calls, with the second success and without the first
			wantState(t, b, breaker.Closed)
			_ = b.Do(t.Context(), fail)
		}
		wantState(t, b, breaker.Open)
	})
}

// Every tenth of the window is filled anew many times here, and what is in it then must be no more and no less than what
// came in the last ten of them.
func TestG05_AWindowOfTimeIsExactRoundAfterRound(t *testing.T) {
	bad := map[string]breaker.Result{
		"failures": {Outcome: breaker.Failure, Elapsed: 1}, "slow calls": {Elapsed: time.Minute},
	}
	for name, bad := range bad {
		for _, silence := range []time.Duration{time.Second, 9 * time.Second, 10 * time.Second, 25 * time.Second} {
			t.Run(fmt.Sprint(name, " after ", silence), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := new(recorder)
					b := mustNew(t, breaker.Config{WindowDuration: 10 * time.Second, MinCalls: 4,
						FailureRate: 0.5, SlowCallRate: 0.5, SlowCallDuration: time.Second}, r)
					call := func(result breaker.Result) {
						p, err := b.Acquire(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						p.DoneWith(t.Context(), result)
					}
					second := func() {
						for range 3 {
							call(breaker.Result{Elapsed: 1})
						}
						call(bad)
						wantState(t, b, breaker.Closed)
					}
					for range 35 {
						second()
						time.Sleep(time.Second)
					}
					time.Sleep(silence)
					for range 34 {
						second()
						time.Sleep(time.Second)
					}
					second() // 40 calls now in the window, 10 of them bad
					for range 20 {
						wantState(t, b, breaker.Closed)
						call(bad)
					}
					wantState(t, b, breaker.Open)
					_ = b.Flush(t.Context())
					if e := r.all()[0]; e.FailureCount+e.SuccessCount != 60 || e.Reason.Observed != 0.5 {
						t.Errorf("opened by %+v of %d calls", e.Reason, e.FailureCount+e.SuccessCount)
					}
				})
			})
		}
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

func TestG05_WithAClassifierEveryWindowIsTheSame(t *testing.T) {
	for name, c := range map[string]breaker.Config{
		"of calls":               {FailureRate: 0.5, WindowCalls: 10, MinCalls: 4},
		"of time":                {FailureRate: 0.5, WindowDuration: time.Minute, MinCalls: 4},
		"of calls, for slowness": {SlowCallRate: 0.5, SlowCallDuration: time.Second, WindowCalls: 10, MinCalls: 4},
		"of time, for slowness":  {SlowCallRate: 0.5, SlowCallDuration: time.Second, WindowDuration: time.Minute, MinCalls: 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.Classify = func(err error) breaker.Outcome {
					if err != nil {
						return breaker.Failure
					}
					return breaker.Success
				}
				b := mustNew(t, c)
				for range 2 { // the second success makes it four calls, of which half are bad
					_ = b.Do(t.Context(), func(context.Context) error { time.Sleep(2 * time.Second); return errDown })
					wantState(t, b, breaker.Closed)
					_ = b.Do(t.Context(), succeed)
				}
				wantState(t, b, breaker.Open)
			})
		})
	}
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

func TestG05_ALeaseIsJudgedByTheRulesUnderWhichItRanOut(t *testing.T) {
	for range 20 { // virtual time runs timers of one instant in random order
		synctest.Test(t, func(t *testing.T) {
			b := mustNew(t, breaker.Config{SlowCallDuration: time.Second, ProbeTimeout: 2 * time.Second})
			halfOpen(t, b)
			if _, err := b.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			if err := b.Reconfigure(breaker.Config{}); err != nil { // which knows no slow calls
				t.Fatal(err)
			}
			if s := b.Snapshot(); s.Slow != 1 || s.State != breaker.Open {
				t.Fatalf("%d slow calls, and %v: want 1, and open", s.Slow, s.State)
			}
		})
	}
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
