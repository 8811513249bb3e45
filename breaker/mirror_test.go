package breaker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func mustMirror(t *testing.T, c breaker.Config, listeners ...breaker.Listener) *breaker.Mirror {
	t.Helper()
	m, err := breaker.NewMirror("other", c, listeners...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAMirrorShowsWhatItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []breaker.Event
		m := mustMirror(t, breaker.Config{Service: "payments", Endpoint: "db"},
			breaker.ListenerFunc(func(e breaker.Event) { told = append(told, e) }))
		type key struct{}
		opening := context.WithValue(t.Context(), key{}, "opening")

		m.Count(t.Context(), breaker.Result{})
		m.Count(opening, breaker.Result{Outcome: breaker.Failure, Err: context.DeadlineExceeded})
		m.Move(opening, breaker.Move{To: breaker.Open, Reason: breaker.Reason{Rule: breaker.RuleFailureRate, Observed: 0.5, Threshold: 0.5},
			ErrorType: "timeout", OpenFor: 10 * time.Second, Failures: 1, Successes: 1})
		m.Blocked(t.Context())
		m.Blocked(t.Context())
		if s := m.Breaker().Snapshot(); s.State != breaker.Open || s.Success != 1 || s.Failure != 1 || s.Blocked != 2 ||
			s.ConsecutiveFailures != 1 || s.RetryAfter != 10*time.Second || s.Engine != "other" {
			t.Errorf("open: %+v", s)
		}
		time.Sleep(30 * time.Second)
		if s := m.Breaker().Snapshot(); s.State != breaker.Open || s.OpenTime != 30*time.Second || s.RetryAfter != 0 {
			t.Errorf("time alone has moved it: %+v", s)
		}
		m.Move(nil, breaker.Move{To: breaker.HalfOpen, Reason: breaker.Reason{Rule: breaker.RuleDelayElapsed}}) //nolint:staticcheck // none caused it
		m.Count(t.Context(), breaker.Result{})
		m.Move(t.Context(), breaker.Move{To: breaker.Closed, Reason: breaker.Reason{Rule: breaker.RuleProbesSucceeded}})
		m.Move(t.Context(), breaker.Move{To: breaker.Closed}) // is so already

		synctest.Wait()
		if len(told) != 3 {
			t.Fatalf("told of %d transitions: %+v", len(told), told)
		}
		opened, half, closed := told[0], told[1], told[2]
		if opened.FailureCount != 1 || opened.SuccessCount != 1 || opened.ErrorType != "timeout" ||
			opened.Context.Value(key{}) != "opening" || opened.Reason.Rule != breaker.RuleFailureRate {
			t.Errorf("opened: %+v", opened)
		}
		if half.Context.Value(key{}) != "opening" || half.OutageID != opened.OutageID ||
			half.Reason != (breaker.Reason{Rule: breaker.RuleDelayElapsed, Observed: 30, Threshold: 10}) {
			t.Errorf("half-open: %+v", half)
		}
		if closed.RecoveryDuration != 30*time.Second || closed.BlockedCount != 2 || closed.SuccessCount != 1 {
			t.Errorf("closed: %+v", closed)
		}
		if s := m.Breaker().Snapshot(); s.State != breaker.Closed || s.Transitions != 3 || s.OpenTime != 30*time.Second {
			t.Errorf("at the end: %+v", s)
		}
	})
}

// TestAMirrorDecidesNothing has every way to move a breaker tried on a mirror.
func TestAMirrorDecidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustMirror(t, breaker.Config{FailureThreshold: 1, WindowCalls: 2, FailureRate: 0.1, MinCalls: 1})
		b := m.Breaker()
		ran := false
		try := func(when string, want breaker.State) {
			t.Helper()
			err := b.Do(t.Context(), func(context.Context) error { ran = true; return nil })
			_, acquired := b.Acquire(t.Context())
			if err == nil || acquired == nil || errors.Is(err, breaker.ErrOpen) || ran {
				t.Errorf("%s: calls went through the mirror: %v, %v", when, err, acquired)
			}
			b.ForceOpen("")
			b.Disable("")
			b.Reset()
			if b.Reconfigure(breaker.Config{}) == nil || b.Adjust(func(*breaker.Config) error { return nil }) == nil {
				t.Errorf("%s: it was reconfigured", when)
			}
			time.Sleep(time.Hour)
			if s := b.Snapshot(); b.State() != want || s.State != want || s.Override != breaker.Automatic || s.Blocked != 0 {
				t.Errorf("%s: %+v", when, s)
			}
		}
		for range 5 {
			m.Count(t.Context(), breaker.Result{Outcome: breaker.Failure})
		}
		try("closed", breaker.Closed)
		m.Move(t.Context(), breaker.Move{To: breaker.Open})
		try("open", breaker.Open)
		m.Move(t.Context(), breaker.Move{To: breaker.HalfOpen})
		m.Count(t.Context(), breaker.Result{Outcome: breaker.Failure})
		try("half-open", breaker.HalfOpen)
		m.Move(t.Context(), breaker.Move{To: 7})
		try("moved to no state", breaker.HalfOpen)
	})
}

func TestG08_AMirrorCountsEveryReportOnce(t *testing.T) {
	m := mustMirror(t, breaker.Config{Service: "payments"})
	const each = 500
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range each {
				m.Count(t.Context(), breaker.Result{})
				m.Count(t.Context(), breaker.Result{Outcome: breaker.Failure})
				m.Count(t.Context(), breaker.Result{Outcome: breaker.Ignored})
				m.Count(t.Context(), breaker.Result{Outcome: 200})
				m.Blocked(t.Context())
				m.Move(t.Context(), breaker.Move{To: breaker.Open})
				m.Move(t.Context(), breaker.Move{To: breaker.Closed})
			}
		})
	}
	running.Wait()
	s := m.Breaker().Snapshot()
	if s.Success != 4*each || s.Failure != 8*each || s.Ignored != 4*each || s.Blocked != 4*each {
		t.Errorf("%+v", s)
	}
	if opened, closed := s.Edges[breaker.Closed][breaker.Open], s.Edges[breaker.Open][breaker.Closed]; opened != closed || opened == 0 {
		t.Errorf("%d openings, %d closings", opened, closed)
	}
}

func TestAMirrorRefusesWhatIsWrong(t *testing.T) {
	_, err := breaker.NewMirror("", breaker.Config{MaxProbes: -1}, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"engine", "MaxProbes", "listener 0"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not tell of %s", err, part)
		}
	}
	m := mustMirror(t, breaker.Config{Service: "payments", Endpoint: "db"})
	if got := slices.Collect(m.All()); len(got) != 1 || got[0] != m.Breaker() {
		t.Errorf("All gives %v", got)
	}
	if c := m.Breaker().Snapshot().Config; c.RecoveryTimeout != 0 || c.MaxProbes != 0 {
		t.Errorf("unknown settings were made up: %+v", c)
	}
}

// onCall is a listener on the call itself that does what it is told.
type onCall struct {
	breaker.ListenerFunc
	transition func(context.Context, breaker.Event)
	blocked    func(context.Context, *breaker.OpenError)
}

func (l onCall) OnCallTransition(ctx context.Context, e breaker.Event) { l.transition(ctx, e) }
func (l onCall) OnBlocked(ctx context.Context, rejection *breaker.OpenError) {
	l.blocked(ctx, rejection)
}

// TestG07_AMirrorCallsNobodyUnderTheOthersLock has a listener take the lock under which the other breaker reports.
func TestG07_AMirrorCallsNobodyUnderTheOthersLock(t *testing.T) {
	var other sync.Mutex
	var seen []string
	take := func(what string) {
		other.Lock()
		defer other.Unlock()
		seen = append(seen, what)
	}
	m := mustMirror(t, breaker.Config{}, onCall{
		ListenerFunc: func(e breaker.Event) { take("told of " + e.To.String()) },
		transition:   func(_ context.Context, e breaker.Event) { take("on call " + e.To.String()) },
		blocked:      func(_ context.Context, why *breaker.OpenError) { take("blocked " + why.State.String()) },
	})
	report := func(ctx context.Context, to breaker.State, o breaker.Outcome) {
		other.Lock()
		m.Count(ctx, breaker.Result{Outcome: o, ErrorType: "timeout"})
		after := m.Move(ctx, breaker.Move{To: to})
		again := m.Move(ctx, breaker.Move{To: to})
		other.Unlock()
		after()
		again()
		if err := m.Breaker().Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	report(t.Context(), breaker.Open, breaker.Failure)
	m.Blocked(t.Context())
	report(nil, breaker.HalfOpen, breaker.Ignored)
	report(t.Context(), breaker.Closed, breaker.Success)
	slices.Sort(seen[:2]) // what is told comes on a goroutine of its own
	slices.Sort(seen[len(seen)-2:])
	if want := []string{"on call open", "told of open", "blocked open", "told of half_open", "on call closed",
		"told of closed"}; !slices.Equal(seen, want) {
		t.Errorf("%q, want %q", seen, want)
	}
}

func TestG02_AMirrorsLateResultBearsOnNothing(t *testing.T) {
	m := mustMirror(t, breaker.Config{SlowCallDuration: time.Second})
	expect := func(when string, consecutive int, success, failure, slow uint64) {
		t.Helper()
		if s := m.Breaker().Snapshot(); s.ConsecutiveFailures != consecutive || s.Success != success || s.Failure != failure ||
			s.Slow != slow || s.Ignored != 0 {
			t.Errorf("%s: %+v", when, s)
		}
	}
	failed := breaker.Result{Outcome: breaker.Failure}
	m.Late(t.Context(), failed)
	expect("a late failure", 0, 0, 1, 0)
	m.Count(t.Context(), failed)
	m.Count(t.Context(), failed)
	m.Late(t.Context(), breaker.Result{})
	expect("a late success", 2, 1, 3, 0)
	m.Count(t.Context(), breaker.Result{})
	m.Count(t.Context(), breaker.Result{})
	expect("successes", 0, 3, 3, 0)
	m.Count(t.Context(), breaker.Result{Elapsed: 2 * time.Second})
	m.Late(t.Context(), breaker.Result{Elapsed: 2 * time.Second})
	m.Count(t.Context(), breaker.Result{Elapsed: time.Second})
	expect("slow ones", 0, 6, 3, 2)

	m.Move(t.Context(), breaker.Move{To: breaker.Open})
	m.Move(t.Context(), breaker.Move{To: breaker.HalfOpen})
	m.Late(t.Context(), failed)
	m.Late(t.Context(), breaker.Result{})
	var closed breaker.Event
	m.Subscribe(breaker.ListenerFunc(func(e breaker.Event) { closed = e }))
	m.Move(t.Context(), breaker.Move{To: breaker.Closed})
	if err := m.Breaker().Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if closed.FailureCount != 0 || closed.SuccessCount != 0 {
		t.Errorf("the outage has late results: %+v", closed)
	}
}

// hostile is an error whose methods are not to be trusted.
type hostile struct{ error }

func (hostile) ErrorType() string { panic("no") }

func TestErrorTypeOfNamesWhatEventsDo(t *testing.T) {
	for want, err := range map[string]error{
		"": nil, "timeout": context.DeadlineExceeded, "*errors.errorString": errors.New("secret"),
		"breaker_test.hostile": hostile{errors.New("secret")}, "circuit_open": &breaker.OpenError{},
	} {
		if got := breaker.ErrorTypeOf(err); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}
