package main

import (
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/cmd/demo/internal/faulty"
)

// TestClient_Account has the client judge each fault by itself, and the breaker agree with it.
func TestClient_Account(t *testing.T) {
	up, err := faulty.Start(t.Context(), "payments", 20*time.Millisecond, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	c, guarded, err := newClient("payments", up.URL(),
		breaker.Config{Service: "payments", FailureThreshold: 7, RecoveryTimeout: time.Hour}, 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.base.CloseIdleConnections(); guarded.Close() })
	call := func(f faulty.Fault, giveUp bool, want outcome) {
		t.Helper()
		if err := up.Set(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		c.call(t.Context(), giveUp)
		last := c.last(1)[0]
		if last.outcome != want {
			t.Errorf("a call with the fault %s came to %c, want %c", f, last.outcome, want)
		}
		if len(last.traceID) != 32 || last.end.Before(last.start) {
			t.Errorf("its account is %+v", last)
		}
	}
	call(faulty.None, false, success)
	call(faulty.Latency, false, success)
	call(faulty.Hang, true, ignored)
	for range 2 { // the seventh failure in a row opens
		call(faulty.Errors, false, failure)
		call(faulty.Refuse, false, failure)
		call(faulty.Cut, false, failure)
	}
	call(faulty.Hang, false, failure)
	call(faulty.None, false, blocked)
	s := guarded.Breakers().Get(up.URL()).Snapshot()
	if s.Success != c.seen(success) || s.Failure != c.seen(failure) || s.Blocked != c.seen(blocked) || s.Ignored != c.seen(ignored) {
		t.Errorf("the breaker counts %d, %d, %d, %d; the client %v", s.Success, s.Failure, s.Blocked, s.Ignored, c.counts)
	}
}

func TestClient_KeepsTheLastCalls(t *testing.T) {
	c := &client{counts: make(map[outcome]uint64), keep: 3}
	for _, o := range "SFBIS" {
		c.account(call{outcome: outcome(o)})
	}
	var kept string
	for _, call := range c.all() {
		kept += string(call.outcome)
	}
	if kept != "BIS" || c.seen(success) != 2 {
		t.Errorf("it keeps %q and has seen %d successes, want BIS and 2", kept, c.seen(success))
	}
	if got := c.last(1); len(got) != 1 || got[0].outcome != success {
		t.Errorf("the last one is %v", got)
	}
}
