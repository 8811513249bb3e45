package failsafe_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	peer "github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/failsafe"
)

func good() (int, error) { return 1, nil }
func bad() (int, error)  { return 0, errDown }

func flush(t testing.TB, b *breaker.Breaker) {
	t.Helper()
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// nosy looks at the breaker whatever it is told.
type nosy struct{ look func() }

func (n nosy) OnTransition(breaker.Event)                      { n.look(); panic("a listener") }
func (n nosy) OnCallTransition(context.Context, breaker.Event) { n.look(); panic("a listener") }
func (n nosy) OnBlocked(context.Context, *breaker.OpenError)   { n.look(); panic("a listener") }

// In failsafe-go a panic of a listener ends the process. One that observes is kept from that, and may call the breaker.
func TestG07_ListenersMayCallItAndPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen atomic.Int32
		var cb *failsafe.CircuitBreaker[int]
		b := failsafe.NewBuilder[int]().OnHalfOpen(func(circuitbreaker.StateChangedEvent) { cb.State() }).
			OnOpen(func(circuitbreaker.StateChangedEvent) { cb.Open() })
		cb = mustBuild(t, b)
		cb.Subscribe(nosy{func() {
			cb.Open() // it is so already
			cb.Metrics().Failures()
			seen.Add(1)
		}})
		executor := peer.With[int](cb).WithContext(t.Context())
		_, _ = executor.Get(bad)
		_, _ = executor.Get(good)
		synctest.Wait()
		if n := seen.Load(); n != 3 || cb.State() != circuitbreaker.OpenState || cb.Breaker().State() != breaker.Open {
			t.Errorf("listeners were called %d times; %v, %v", n, cb.State(), cb.Breaker().State())
		}
	})
}

// A panic of the builder's own functions comes to the caller, where failsafe-go would end the process, and the breaker works on.
func TestAPanicOfTheBuildersFunctionsIsTheCallers(t *testing.T) {
	for name, b := range map[string]*failsafe.Builder[int]{
		"state":            failsafe.NewBuilder[int]().OnOpen(func(circuitbreaker.StateChangedEvent) { panic("mine") }),
		"failure":          failsafe.NewBuilder[int]().OnFailure(func(peer.ExecutionEvent[int]) { panic("mine") }),
		"condition, alone": failsafe.NewBuilder[int]().HandleIf(func(int, error) bool { panic("mine") }),
		"condition":        failsafe.NewBuilder[int]().HandleIf(func(int, error) bool { panic("mine") }),
	} {
		cb := mustBuild(t, b)
		func() {
			defer func() {
				if p := recover(); p != "mine" {
					t.Errorf("%s: what came back is %v", name, p)
				}
			}()
			if name == "condition, alone" {
				cb.RecordError(errDown)
			}
			_, _ = peer.With[int](cb).Get(bad)
		}()
		if s := cb.Breaker().Snapshot(); s.Failure != 1 || s.Success != 0 || (s.State == breaker.Open) != (cb.State() == circuitbreaker.OpenState) {
			t.Errorf("%s: %+v, %v", name, s, cb.State())
		}
	}
}

func TestItSaysWhyItMoved(t *testing.T) {
	b := func() *failsafe.Builder[int] { return failsafe.NewBuilder[int]().WithDelay(time.Minute) }
	for _, c := range []struct {
		name    string
		builder *failsafe.Builder[int]
		opens   string // by good and bad calls
		opening breaker.Reason
		failed  uint64
		probes  string
		after   breaker.Reason
	}{
		{"defaults", failsafe.NewBuilder[int](), "gb", breaker.Reason{Rule: "consecutive_failures", Observed: 1, Threshold: 1}, 1,
			"b", breaker.Reason{Rule: "probe_failed", Observed: 1, Threshold: 1}},
		{"in a row", b().WithFailureThreshold(2).WithSuccessThreshold(3), "bgbb", breaker.Reason{Rule: "consecutive_failures", Observed: 2, Threshold: 2}, 2,
			"ggg", breaker.Reason{Rule: "probes_succeeded", Observed: 3, Threshold: 3}},
		{"a ratio", b().WithFailureThresholdRatio(2, 4), "gbgb", breaker.Reason{Rule: failsafe.RuleFailureThresholdRatio, Observed: 2, Threshold: 2}, 2,
			"gbgg", breaker.Reason{Rule: "probes_succeeded", Observed: 3, Threshold: 3}},
		{"a period", b().WithFailureThresholdPeriod(3, time.Hour).WithSuccessThresholdRatio(2, 3), "gbbb",
			breaker.Reason{Rule: failsafe.RuleFailureThresholdPeriod, Observed: 3, Threshold: 3}, 3,
			"bb", breaker.Reason{Rule: "probe_failed", Observed: 2, Threshold: 2}},
		{"a rate", b().WithFailureRateThreshold(0.5, 4, time.Hour), "ggbb", breaker.Reason{Rule: "failure_rate", Observed: 0.5, Threshold: 0.5}, 2,
			"bbbb", breaker.Reason{Rule: "probe_failed", Observed: 4}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var told []breaker.Event
			cb := mustBuild(t, c.builder)
			cb.Subscribe(breaker.ListenerFunc(func(e breaker.Event) { told = append(told, e) }))
			call := func(calls string) {
				for _, call := range calls {
					f := good
					if call == 'b' {
						f = bad
					}
					_, _ = peer.With[int](cb).Get(f)
				}
			}
			call(c.opens)
			time.Sleep(time.Minute + time.Millisecond)
			synctest.Wait()
			call(c.probes)
			synctest.Wait()
			if len(told) != 3 || told[0].Reason != c.opening || told[0].FailureCount != c.failed || told[2].Reason != c.after ||
				told[1].Reason != (breaker.Reason{Rule: "delay_elapsed", Observed: 60, Threshold: 60}) {
				t.Errorf("%s: %+v", c.name, told)
			}
		})
	}
}

func TestWhatIsKnownOfTheConfiguration(t *testing.T) {
	b := func() *failsafe.Builder[int] { return failsafe.NewBuilder[int]() }
	for name, c := range map[string]struct {
		builder *failsafe.Builder[int]
		want    breaker.Config
	}{
		"defaults": {b(), breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Minute, SuccessThreshold: 1, MaxProbes: 1}},
		"a ratio, a random delay": {b().WithFailureThresholdRatio(2, 4).WithRandomDelay(1, 2),
			breaker.Config{SuccessThreshold: 3, MaxProbes: 4}},
		"a rate, a computed delay": {b().WithFailureRateThreshold(0.2, 9, time.Minute).WithSuccessThreshold(2).
			WithDelayFunc(func(peer.ExecutionAttempt[int]) time.Duration { return 1 }).WithJitter(1).WithJitterFactor(0.1),
			breaker.Config{FailureRate: 0.2, WindowDuration: time.Minute, MinCalls: 9, SuccessThreshold: 2, MaxProbes: 2}},
		"beyond our words": {b().WithFailureThreshold(1<<20).WithFailureRateThreshold(0.2, 1<<20, time.Microsecond), breaker.Config{RecoveryTimeout: time.Minute}},
	} {
		c.want.Service, c.want.Endpoint = "default", "default"
		if got := mustBuild(t, c.builder).Breaker().Snapshot().Config; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// failsafe-go itself is open until the next call, and a result that comes meanwhile bears on nothing.
func TestItIsShownHalfOpenOnTimeWithoutTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cb := mustBuild(t, failsafe.NewBuilder[int]().WithDelay(10*time.Second))
		cb.RecordFailure()
		if s := cb.Breaker().Snapshot(); s.State != breaker.Open || s.RetryAfter != 10*time.Second {
			t.Errorf("%+v", s)
		}
		cb.Open() // is so already
		time.Sleep(10 * time.Second)
		synctest.Wait()
		cb.RecordSuccess()
		if s := cb.Breaker().Snapshot(); s.State != breaker.HalfOpen || s.OpenTime != 10*time.Second || cb.State() != circuitbreaker.OpenState {
			t.Errorf("%+v; %v", s, cb.State())
		}
		if !cb.TryAcquirePermit() || cb.TryAcquirePermit() {
			t.Error("not one probe was let through")
		}
		cb.RecordResult(7)
		if s := cb.Breaker().Snapshot(); s.State != breaker.Closed || s.Transitions != 3 || s.Success != 2 || s.Failure != 1 || s.Blocked != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestTheProgramMovesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		cb := mustBuild(t, failsafe.NewBuilder[int](failsafe.WithListeners(breaker.ListenerFunc(func(e breaker.Event) {
			told = append(told, fmt.Sprint(e.From, " ", e.To, " ", e.Reason.Rule))
		}))))
		cb.HalfOpen()
		cb.Open()
		cb.Close()
		cb.Open()
		time.Sleep(time.Second)
		cb.Close()
		time.Sleep(time.Hour) // the open periods have not ended by themselves
		synctest.Wait()
		if want := []string{"closed half_open manual", "half_open open manual", "open closed manual", "closed open manual", "open closed manual"}; !slices.Equal(told, want) {
			t.Errorf("%q, want %q", told, want)
		}
	})
}

func TestWithOtherPolicies(t *testing.T) {
	cb := mustBuild(t, failsafe.NewBuilder[int]().WithFailureThreshold(3))
	retries := retrypolicy.NewBuilder[int]().WithMaxRetries(4).Build()
	ran := 0
	_, err := peer.With[int](retries, cb).Get(func() (int, error) { ran++; return 0, errDown })
	if s := cb.Breaker().Snapshot(); ran != 3 || s.Failure != 3 || s.Blocked != 2 || !errors.Is(err, circuitbreaker.ErrOpen) {
		t.Errorf("retries outside: %d ran, %v, %+v", ran, err, s)
	}
	cb = mustBuild(t, failsafe.NewBuilder[int]())
	_, _ = peer.With[int](cb, retries).Get(bad)
	result := peer.With[int](cb).GetAsync(good)
	if _, err := result.Get(); !errors.Is(err, circuitbreaker.ErrOpen) {
		t.Errorf("asynchronously: %v", err)
	}
	if s := cb.Breaker().Snapshot(); s.Failure != 1 || s.Blocked != 1 {
		t.Errorf("retries inside: %+v", s)
	}
	whatever, err := failsafe.NewBuilder[any]().Build()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = peer.WithAny[int](whatever).Get(bad)
	_, _ = peer.WithAny[int](whatever).Get(good)
	if s := whatever.Breaker().Snapshot(); s.Failure != 1 || s.Blocked != 1 {
		t.Errorf("for any result: %+v", s)
	}
}

// failsafe-go never hears of a probe that panics, and waits for it for good. It shows so, and the call is counted.
func TestAPanicIsCountedThoughFailsafeIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cb := mustBuild(t, failsafe.NewBuilder[int]())
		_, _ = peer.With[int](cb).Get(bad)
		time.Sleep(2 * time.Minute)
		func() {
			defer func() {
				if p := recover(); p != "oh" {
					t.Errorf("what came back is %v", p)
				}
			}()
			_, _ = peer.With[int](cb).Get(func() (int, error) { panic("oh") })
		}()
		time.Sleep(24 * time.Hour)
		if _, err := peer.With[int](cb).Get(good); !errors.Is(err, circuitbreaker.ErrOpen) {
			t.Errorf("failsafe-go is not stuck any more: %v", err)
		}
		if s := cb.Breaker().Snapshot(); s.State != breaker.HalfOpen || s.Failure != 2 || s.Blocked != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestG18_BadNamesAndOptionsAreRefused(t *testing.T) {
	_, err := failsafe.NewBuilder[int](nil, failsafe.WithListeners(nil), failsafe.WithService("a\xff"),
		failsafe.WithEndpoint("https://user:secret@pay.example/?token=secret")).Build()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"option 0 is nil", "listener 0 is nil", "Endpoint", "Service"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not tell of %s", err, part)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// What nobody holds any more goes, once the open period is over.
func TestG19_NothingIsLeftOfABreakerThatIsGone(t *testing.T) {
	gone := func() weak.Pointer[failsafe.CircuitBreaker[int]] {
		cb := mustBuild(t, failsafe.NewBuilder[int]().WithDelay(time.Millisecond))
		cb.RecordFailure()
		flush(t, cb.Breaker())
		return weak.Make(cb)
	}()
	for deadline := time.Now().Add(time.Minute); gone.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("it is still there")
		}
		runtime.Gosched()
	}
}

func contextWith(t *testing.T, key, value any) context.Context {
	return context.WithValue(t.Context(), key, value)
}
