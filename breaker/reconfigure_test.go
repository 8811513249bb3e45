package breaker_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func TestReconfigureKeepsTotalsListenersAndState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(recorder)
		b := mustNew(t, breaker.Config{Service: "s", RecoveryTimeout: 10 * time.Second}, r)
		for range 3 {
			_ = b.Do(t.Context(), fail)
		}
		if err := b.Reconfigure(breaker.Config{FailureThreshold: 4, RecoveryTimeout: time.Second}); err != nil {
			t.Fatal(err)
		}
		wantCounts(t, b, 0, 3, 0, 0)
		_ = b.Do(t.Context(), fail)
		wantState(t, b, breaker.Open)
		if err := b.Reconfigure(breaker.Config{RecoveryTimeout: time.Hour, MaxProbes: 2, SuccessThreshold: 2}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the open period that runs keeps its end
		synctest.Wait()
		wantState(t, b, breaker.HalfOpen)
		p, err := b.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Reconfigure(breaker.Config{MaxProbes: 3}); err != nil { // one more place, at once, and one success is enough
			t.Fatal(err)
		}
		q, err := b.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Reconfigure(breaker.Config{MaxProbes: 1}); err != nil {
			t.Fatal(err)
		}
		q.Done(t.Context(), breaker.Ignored)
		if err := b.Do(t.Context(), succeed); !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("two probes in flight where one is the limit now: %v", err)
		}
		p.Done(t.Context(), breaker.Success)
		wantState(t, b, breaker.Closed)
		wantStory(t, b, r, "closed>open consecutive_failures", "open>half_open delay_elapsed", "half_open>closed probes_succeeded")
		if err := b.Reconfigure(breaker.Config{Service: "other"}); err == nil || !strings.Contains(err.Error(), "Config.Service") {
			t.Errorf("another service: %v", err)
		}
	})
}

func TestReconfigureKeepsTheNames(t *testing.T) {
	b := mustNew(t, breaker.Config{Service: "payments", Endpoint: "https://pay.example"})
	for _, c := range []breaker.Config{{}, {Service: "payments"}, {Endpoint: "https://pay.example"}} {
		if err := b.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		for _, s := range []breaker.Config{b.Snapshot().Config, {Service: b.Snapshot().Service, Endpoint: b.Snapshot().Endpoint}} {
			if s.Service != "payments" || s.Endpoint != "https://pay.example" {
				t.Errorf("after Reconfigure(%+v) it is called %q, %q", c, s.Service, s.Endpoint)
			}
		}
	}
	err := b.Reconfigure(breaker.Config{Service: "other", Endpoint: "https://user:hunter2@pay.example"})
	if err == nil || !strings.Contains(err.Error(), "Config.Service is \"other\"") || strings.Contains(err.Error(), "hunter2") ||
		!strings.Contains(err.Error(), "Config.Endpoint is \"https://pay.example\": allowed is \"https://pay.example\" or empty") {
		t.Errorf("other names: %v", err)
	}
}

func TestReconfigureKeepsTheWindowUnlessItsSizeChanges(t *testing.T) {
	b := mustNew(t, breaker.Config{FailureRate: 0.9, WindowCalls: 10, MinCalls: 4})
	for range 3 {
		_ = b.Do(t.Context(), fail)
	}
	if err := b.Reconfigure(breaker.Config{FailureRate: 0.5, WindowCalls: 10, MinCalls: 4}); err != nil {
		t.Fatal(err)
	}
	_ = b.Do(t.Context(), succeed)
	wantState(t, b, breaker.Open) // three of four
	b.Reset()
	for range 3 {
		_ = b.Do(t.Context(), fail)
	}
	if err := b.Reconfigure(breaker.Config{FailureRate: 0.5, WindowDuration: time.Minute, MinCalls: 4}); err != nil {
		t.Fatal(err)
	}
	_ = b.Do(t.Context(), fail)
	wantState(t, b, breaker.Closed) // one of one, of four wanted
}

func TestANewWindowBeginsEmpty(t *testing.T) {
	b := mustNew(t, breaker.Config{})
	for range 100 {
		_ = b.Do(t.Context(), succeed)
	}
	if err := b.Reconfigure(breaker.Config{FailureRate: 1, WindowDuration: time.Minute, MinCalls: 4}); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		wantState(t, b, breaker.Closed)
		_ = b.Do(t.Context(), fail)
	}
	wantState(t, b, breaker.Open) // all four of the window
}

func TestResetKeepsWhatReconfigureHasPutInForce(t *testing.T) {
	b := mustNew(t, breaker.Config{Service: "s", FailureThreshold: 5})
	if err := b.Reconfigure(breaker.Config{FailureThreshold: 2}); err != nil {
		t.Fatal(err)
	}
	b.ForceOpen("drill")
	b.Reset()
	if s := b.Snapshot(); s.Config.FailureThreshold != 2 || s.Override != breaker.Automatic {
		t.Errorf("after a reset: %+v", s)
	}
}
