package breaker_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

var byLeader = breaker.Reason{Rule: breaker.RuleFleetLeader, Observed: 1, Threshold: 1}

// TestF01_WhatComesFromOutsideCostsACallNothing looks at allocations; that a call takes no longer is for BenchmarkCall.
func TestF01_WhatComesFromOutsideCostsACallNothing(t *testing.T) {
	b := mustNew(t, breaker.Config{})
	if _, err := b.Gate(func(breaker.Hold) {}, time.Second); err != nil {
		t.Fatal(err)
	}
	if err := b.Advise(0.5); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() { _ = b.Do(ctx, succeed) }); n != 0 {
		t.Errorf("a call of a closed breaker allocates %v times", n)
	}
	b.Trip(byLeader)
	if n := testing.AllocsPerRun(100, func() { _ = b.Do(ctx, succeed) }); n != 0 {
		t.Errorf("a blocked call allocates %v times", n)
	}
}

func TestF02_NothingThatBefallsAGateHoldsABreakerOpen(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.DiscardHandler)) // where a panic is told
	for name, gate := range map[string]func(breaker.Hold){
		"it does nothing":     func(breaker.Hold) {},
		"it panics":           func(breaker.Hold) { panic("gate") },
		"it hangs":            func(breaker.Hold) { time.Sleep(time.Hour) },
		"it asks for more":    func(h breaker.Hold) { h.Keep(math.MaxInt64) },
		"it releases in time": func(h breaker.Hold) { time.Sleep(time.Second); h.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := mustNew(t, breaker.Config{RecoveryTimeout: 10 * time.Second, MaxRecoveryTimeout: time.Minute})
				if _, err := b.Gate(gate, 5*time.Second); err != nil {
					t.Fatal(err)
				}
				want := map[string]time.Duration{"it asks for more": 70 * time.Second, "it releases in time": 11 * time.Second}[name]
				if want == 0 {
					want = 15 * time.Second
				}
				b.Trip(byLeader)
				time.Sleep(want - 1)
				synctest.Wait()
				if s := b.Snapshot(); s.State != breaker.Open || !s.Held {
					t.Errorf("just before %v it is %v, held %v", want, s.State, s.Held)
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if s := b.State(); s != breaker.HalfOpen {
					t.Errorf("after %v it is %v", want, s)
				}
				time.Sleep(time.Hour) // for the one that hangs
			})
		})
	}
}

func TestF02_RejectionsOfAHeldPeriodTellWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, breaker.Config{RecoveryTimeout: 10 * time.Second})
		var hold breaker.Hold
		remove, err := b.Gate(func(h breaker.Hold) { hold = h }, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		b.Trip(byLeader)
		id := b.Snapshot().OutageID
		retryAfter := func() time.Duration {
			var open *breaker.OpenError
			if err := b.Do(t.Context(), succeed); !errors.As(err, &open) || open.Reason != byLeader || open.OutageID != id {
				t.Fatalf("a call gets %#v", err)
			}
			if s := b.Snapshot(); s.RetryAfter != open.RetryAfter() {
				t.Errorf("the snapshot says %v, the rejection %v", s.RetryAfter, open.RetryAfter())
			}
			return open.RetryAfter()
		}
		time.Sleep(4 * time.Second)
		if got := retryAfter(); got != 6*time.Second {
			t.Errorf("before the delay is over it says %v", got)
		}
		time.Sleep(8 * time.Second)
		if got := retryAfter(); got != 3*time.Second {
			t.Errorf("held it says %v", got)
		}
		synctest.Wait()
		if !hold.Keep(20 * time.Second) {
			t.Error("Keep did nothing")
		}
		if got := retryAfter(); got != 20*time.Second {
			t.Errorf("kept it says %v", got)
		}
		remove() // what is held stays so until the hold ends
		if got := retryAfter(); got != 20*time.Second {
			t.Errorf("with the gate gone it says %v", got)
		}
		time.Sleep(20 * time.Second)
		if s := b.State(); s != breaker.HalfOpen {
			t.Errorf("after the hold it is %v", s)
		}
		if hold.Release() || hold.Keep(time.Second) || (breaker.Hold{}).Release() {
			t.Error("a hold that is over does something")
		}
	})
}

func TestF03_WhatAnOperatorDecidedIsNotMovedFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []breaker.Event
		b := mustNew(t, breaker.Config{RecoveryTimeout: time.Second}, breaker.ListenerFunc(func(e breaker.Event) { events = append(events, e) }))
		var hold breaker.Hold
		if _, err := b.Gate(func(h breaker.Hold) { hold = h }, time.Minute); err != nil {
			t.Fatal(err)
		}
		b.Disable("trial")
		if b.Trip(byLeader) {
			t.Error("a disabled breaker was tripped")
		}
		b.Reset()
		b.Trip(byLeader)
		time.Sleep(2 * time.Second)
		b.ForceOpen("maintenance")
		synctest.Wait()
		if hold.Release() || hold.Keep(1) {
			t.Error("a hold moved a breaker that was forced open")
		}
		if b.Recover(b.Snapshot().OutageID, breaker.Reason{Rule: breaker.RuleFleetRecovered}) {
			t.Error("a breaker that was forced open was closed")
		}
		time.Sleep(time.Hour)
		if s := b.Snapshot(); s.State != breaker.Open || s.Held || !s.RetryAt.IsZero() {
			t.Errorf("a breaker that was forced open is %v, held %v, to be tried at %v", s.State, s.Held, s.RetryAt)
		}
		synctest.Wait()
		if len(events) != 1 || events[0].Reason != byLeader {
			t.Errorf("told were %+v", events)
		}
	})
}

func TestRecoverEndsTheOutageThatItNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last breaker.Event
		b := mustNew(t, breaker.Config{RecoveryTimeout: time.Minute}, breaker.ListenerFunc(func(e breaker.Event) { last = e }))
		well := breaker.Reason{Rule: breaker.RuleFleetRecovered, Observed: 1, Threshold: 1}
		if b.Recover("", well) {
			t.Error("a closed breaker was closed")
		}
		b.Trip(byLeader)
		first := b.Snapshot().OutageID
		time.Sleep(3 * time.Second)
		if b.Recover("another", well) || b.Recover(first, breaker.Reason{}) {
			t.Error("it was closed for another outage, or without a rule")
		}
		if !b.Recover(first, well) {
			t.Error("it was not closed")
		}
		synctest.Wait()
		if last.From != breaker.Open || last.To != breaker.Closed || last.Reason != well || last.RecoveryDuration != 3*time.Second {
			t.Errorf("told was %+v", last)
		}
		b.Trip(byLeader)
		if b.Recover(first, well) {
			t.Error("a later outage was ended")
		}
		time.Sleep(time.Minute)
		p, err := b.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !b.Recover(b.Snapshot().OutageID, well) {
			t.Error("a half-open breaker was not closed")
		}
		p.Done(t.Context(), breaker.Failure) // of a period that is over
		if s := b.Snapshot(); s.State != breaker.Closed || s.ConsecutiveFailures != 0 || s.Failure != 1 {
			t.Errorf("after the probe's late failure: %+v", s)
		}
	})
}

func TestAdviceLowersWhatOpens(t *testing.T) {
	ctx := context.Background()
	fail := func(b *breaker.Breaker, times int) {
		for range times {
			_ = b.Do(ctx, func(context.Context) error { return errors.New("failure") })
		}
	}
	b := mustNew(t, breaker.Config{FailureThreshold: 5})
	if err := b.Advise(0.5); err != nil {
		t.Fatal(err)
	}
	fail(b, 2)
	if err := b.Reconfigure(breaker.Config{FailureThreshold: 7}); err != nil { // an operator's change keeps the advice
		t.Fatal(err)
	}
	fail(b, 1)
	if s := b.Snapshot(); s.State != breaker.Closed || s.Config.FailureThreshold != 7 || s.Advice != 0.5 {
		t.Errorf("after 3 of 4 failures: %+v", s)
	}
	fail(b, 1)
	if s := b.State(); s != breaker.Open {
		t.Errorf("after 4 failures it is %v", s)
	}
	b.Reset()
	if err := b.Advise(1); err != nil {
		t.Fatal(err)
	}
	fail(b, 6)
	if s := b.State(); s != breaker.Closed {
		t.Errorf("without advice it is %v after 6 failures", s)
	}
	if err := b.Advise(0.1); err != nil {
		t.Fatal(err)
	}
	if s := b.State(); s != breaker.Closed {
		t.Errorf("advice alone opened it: %v", s)
	}
	fail(b, 1)
	if s := b.State(); s != breaker.Open {
		t.Errorf("the first result under advice leaves it %v", s)
	}
	for _, share := range []float64{0, -1, 1.01, math.NaN(), math.Inf(1)} {
		if err := b.Advise(share); err == nil || !strings.Contains(err.Error(), "allowed is") {
			t.Errorf("Advise(%v) gives %v", share, err)
		}
	}
}

func TestG18_AGateWantsAFunctionAndABound(t *testing.T) {
	b := mustNew(t, breaker.Config{})
	gate := func(breaker.Hold) {}
	if _, err := b.Gate(nil, time.Second); err == nil {
		t.Error("a nil gate is taken")
	}
	if _, err := b.Gate(gate, 0); err == nil || !strings.Contains(err.Error(), "allowed is a positive duration") {
		t.Errorf("a bound of 0 gives %v", err)
	}
	remove, err := b.Gate(gate, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Gate(gate, time.Second); err == nil {
		t.Error("a second gate is taken")
	}
	remove()
	if _, err := b.Gate(gate, time.Second); err != nil {
		t.Errorf("once the first is gone: %v", err)
	}
	remove() // again, which must not take the second's place away
	if _, err := b.Gate(gate, time.Second); err == nil {
		t.Error("the second gate was taken away by the first one's remove")
	}
}

func TestAMirrorIsMovedByMoveAlone(t *testing.T) {
	m, err := breaker.NewMirror("other", breaker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b := m.Breaker()
	if b.Trip(byLeader) || b.Advise(0.5) == nil {
		t.Error("a mirror takes advice")
	}
	if _, err := b.Gate(func(breaker.Hold) {}, time.Second); err == nil {
		t.Error("a mirror takes a gate")
	}
	m.Move(t.Context(), breaker.Move{To: breaker.Open})
	if b.Recover(b.Snapshot().OutageID, breaker.Reason{Rule: breaker.RuleFleetRecovered}) {
		t.Error("a mirror was closed")
	}
}
