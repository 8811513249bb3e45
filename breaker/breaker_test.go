package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func TestDefaults(t *testing.T) {
	s := mustNew(t, breaker.Config{}).Snapshot()
	want := breaker.Config{Service: "default", Endpoint: "default", FailureThreshold: 5, RecoveryTimeout: 30 * time.Second,
		BackoffFactor: 1, MaxRecoveryTimeout: time.Hour, SuccessThreshold: 1, MaxProbes: 1, ProbeTimeout: time.Minute}
	if !reflect.DeepEqual(s.Config, want) {
		t.Errorf("the zero Config means %+v, want %+v", s.Config, want)
	}
	rated := mustNew(t, breaker.Config{Endpoint: "https://pay.example:8443", FailureRate: 0.5, WindowCalls: 6}).Snapshot().Config
	if rated.Service != "pay.example" || rated.FailureThreshold != 0 || rated.MinCalls != 6 {
		t.Errorf("a Config with a rate means %+v", rated)
	}
}

func TestDoReturnsWhatTheFunctionReturns(t *testing.T) {
	b := mustNew(t, breaker.Config{FailureThreshold: 1})
	if v, err := breaker.Do(t.Context(), b, func(context.Context) (string, error) { return "value", nil }); v != "value" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	if v, err := breaker.Do(t.Context(), b, func(context.Context) (int, error) { return 7, errDown }); v != 7 || err != errDown {
		t.Errorf("got %d, %v", v, err)
	}
	if v, err := breaker.Do(t.Context(), b, func(context.Context) (int, error) { return 7, nil }); v != 0 || !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("blocked: got %d, %v", v, err)
	}
}

func TestNilArgumentsGetAClearError(t *testing.T) {
	b := mustNew(t, breaker.Config{})
	var none context.Context
	for _, c := range []struct {
		err  error
		want string
	}{
		{b.Do(t.Context(), nil), "the function to call is nil"},
		{second(breaker.Do[int](t.Context(), b, nil)), "the function to call is nil"},
		{b.Do(none, succeed), "the context is nil"},
		{second(b.Acquire(none)), "the context is nil"},
		{b.Flush(none), "the context is nil"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("want an error with %q, got %v", c.want, c.err)
		}
	}
	wantCounts(t, b, 0, 0, 0, 0)
	b.Subscribe(nil)()
	var nothing breaker.Permit
	nothing.Done(t.Context(), breaker.Failure)
	nothing.DoneErr(t.Context(), errDown)
	p, err := b.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.DoneErr(none, errDown)
	wantCounts(t, b, 0, 1, 0, 0)
}

func second[T any](_ T, err error) error { return err }

func TestRejectionSaysWhoWhyAndWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, breaker.Config{Service: "payments", Endpoint: "https://pay.example", RecoveryTimeout: time.Minute})
		type key struct{}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "opener"))
		for range 5 {
			_ = b.Do(ctx, fail)
		}
		cancel()
		time.Sleep(15 * time.Second)
		err := b.Do(t.Context(), succeed)
		var e *breaker.OpenError
		if !errors.Is(err, breaker.ErrOpen) || !errors.As(err, &e) {
			t.Fatalf("rejected with %v", err)
		}
		if want := "circuit breaker is open: payments (https://pay.example), retry after 45s"; err.Error() != want {
			t.Errorf("text is %q, want %q", err, want)
		}
		if e.RetryAfter() != 45*time.Second || e.State != breaker.Open || e.OutageID != b.Snapshot().OutageID ||
			e.Reason.Rule != breaker.RuleConsecutiveFailures || e.ErrorType() != "circuit_open" {
			t.Errorf("rejection is %+v", e)
		}
		if opener := e.OpenedBy(); opener.Value(key{}) != "opener" || opener.Err() != nil {
			t.Errorf("opened by %v, %v", opener.Value(key{}), opener.Err())
		}
		if again := b.Do(t.Context(), succeed); again != err {
			t.Error("one open period gives two errors")
		}
		time.Sleep(45 * time.Second)
		synctest.Wait()
		if e.RetryAfter() != 0 {
			t.Errorf("afterwards the old error says %v", e.RetryAfter())
		}
		if _, err := b.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Do(t.Context(), succeed); !errors.As(err, &e) || e.State != breaker.HalfOpen || !e.RetryAt.Equal(time.Now()) {
			t.Errorf("with the probe in flight: %v, until %v", err, e.RetryAt)
		}
	})
}

func TestEventsTellTheOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(recorder)
		b := mustNew(t, breaker.Config{Service: "s", Endpoint: "e", RecoveryTimeout: 10 * time.Second}, r)
		type key struct{}
		as := func(who string) context.Context { return context.WithValue(context.Background(), key{}, who) }
		for range 4 {
			_ = b.Do(as("early"), fail)
		}
		_ = b.Do(as("opener"), fail)
		for range 3 {
			_ = b.Do(as("blocked"), succeed)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		_ = b.Do(as("prober"), fail)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		_ = b.Do(as("closer"), succeed)
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		type row struct {
			text, by, opener, errorType  string
			failures, successes, blocked uint64
			recovery                     time.Duration
		}
		want := []row{
			{"closed>open consecutive_failures 5/5", "opener", "opener", "*errors.errorString", 5, 0, 0, 0},
			{"open>half_open delay_elapsed 10/10", "opener", "opener", "", 0, 0, 3, 0},
			{"half_open>open probe_failed 1/1", "prober", "opener", "*errors.errorString", 1, 0, 3, 0},
			{"open>half_open delay_elapsed 10/10", "opener", "opener", "", 1, 0, 3, 0},
			{"half_open>closed probes_succeeded 1/1", "closer", "opener", "", 1, 1, 3, 20 * time.Second},
		}
		events := r.all()
		var got []row
		for _, e := range events {
			got = append(got, row{
				fmt.Sprintf("%v>%v %s %v/%v", e.From, e.To, e.Reason.Rule, e.Reason.Observed, e.Reason.Threshold),
				e.Context.Value(key{}).(string), e.OpenedBy.Value(key{}).(string), e.ErrorType,
				e.FailureCount, e.SuccessCount, e.BlockedCount, e.RecoveryDuration,
			})
			if e.Service != "s" || e.Endpoint != "e" || e.OutageID == "" || e.OutageID != events[0].OutageID {
				t.Errorf("event of %q %q in outage %q", e.Service, e.Endpoint, e.OutageID)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("events:\n got  %+v\n want %+v", got, want)
		}
		trip(t, b)
		_ = b.Flush(t.Context())
		if next := r.all()[5]; next.OutageID == events[0].OutageID {
			t.Error("two outages have one id")
		}
	})
}

func TestErrorTypeIsNeverTheText(t *testing.T) {
	for want, err := range map[string]error{
		"timeout":                     fmt.Errorf("secret: %w", context.DeadlineExceeded),
		"*errors.errorString":         fmt.Errorf("secret: %w", errors.New("secret")),
		"*exec.Error":                 &exec.Error{Name: "secret", Err: errors.New("secret")},
		"*net.AddrError":              errors.Join(fmt.Errorf("secret: %w", &net.AddrError{Err: "secret"}), errors.New("secret")),
		"*net.ParseError":             fmt.Errorf("secret: %w, %w", &net.ParseError{Text: "secret"}, errors.New("secret")),
		"503":                         fmt.Errorf("secret: %w", typed("503")),
		strings.Repeat("x", 128):      typed(strings.Repeat("x", 1000)),
		"x" + strings.Repeat("ä", 63): typed("x" + strings.Repeat("ä", 100)), // not half a letter
	} {
		r := new(recorder)
		b := mustNew(t, breaker.Config{FailureThreshold: 1}, r)
		_ = b.Do(t.Context(), func(context.Context) error { return err })
		_ = b.Flush(t.Context())
		if got := r.all()[0].ErrorType; got != want {
			t.Errorf("%T is named %q, want %q", err, got, want)
		}
	}
}

type typed string

func (typed) Error() string       { return "secret" }
func (e typed) ErrorType() string { return string(e) }

func TestEveryErrorThatTimedOutIsATimeout(t *testing.T) {
	for _, err := range []error{
		context.DeadlineExceeded,
		&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded},        // says so itself
		&net.OpError{Op: "read", Err: deadlined{errors.New("down")}}, // denies it, but is a deadline's
	} {
		r := new(recorder)
		b := mustNew(t, breaker.Config{FailureThreshold: 1}, r)
		_ = b.Do(t.Context(), func(context.Context) error { return err })
		_ = b.Flush(t.Context())
		if got := r.all()[0].ErrorType; got != "timeout" {
			t.Errorf("%T of %v is named %q", err, err, got)
		}
	}
}

type deadlined struct{ error }

func (deadlined) Is(target error) bool { return target == context.DeadlineExceeded }

func TestAnErrorThatPanicsLeavesTheGivenTypeAsItIs(t *testing.T) {
	r := new(recorder)
	b := mustNew(t, breaker.Config{FailureThreshold: 1}, r)
	p, err := b.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var none *hostileError
	p.DoneWith(t.Context(), breaker.Result{Outcome: breaker.Failure, Err: none, ErrorType: "503"})
	_ = b.Flush(t.Context())
	if got := r.all(); len(got) != 1 || got[0].ErrorType != "503" {
		t.Errorf("events %+v, want one with the error type 503", got)
	}
}

func TestEveryNumberHasAName(t *testing.T) {
	for _, c := range []struct {
		got  fmt.Stringer
		want string
	}{
		{breaker.Closed, "closed"}, {breaker.HalfOpen, "half_open"}, {breaker.Open, "open"}, {breaker.State(3), "unknown"},
		{breaker.Success, "success"}, {breaker.Failure, "failure"}, {breaker.Ignored, "ignored"}, {breaker.Outcome(3), "unknown"},
		{breaker.Automatic, "automatic"}, {breaker.ForcedOpen, "forced_open"}, {breaker.Disabled, "disabled"},
		{breaker.Override(255), "unknown"},
	} {
		if got := c.got.String(); got != c.want {
			t.Errorf("%T %d is called %q, want %q", c.got, c.got, got, c.want)
		}
	}
}

func TestForceOpenAndReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(noticer)
		b := mustNew(t, breaker.Config{}, r)
		flight, err := b.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.ForceOpen("maintenance")
		wantState(t, b, breaker.Open)
		flight.Done(t.Context(), breaker.Success)
		time.Sleep(1000 * time.Hour)
		synctest.Wait()
		wantState(t, b, breaker.Open)
		s := b.Snapshot()
		if s.Override != breaker.ForcedOpen || s.OverrideNote != "maintenance" || s.RetryAfter != 0 || !s.RetryAt.IsZero() {
			t.Errorf("forced open: %+v", s)
		}
		var e *breaker.OpenError
		if err := b.Do(t.Context(), succeed); !errors.As(err, &e) || e.Reason.Note != "maintenance" || e.RetryAfter() != 0 {
			t.Errorf("forced open, a call gets %+v", e)
		}
		if want := "circuit breaker is open: default (default) was forced open"; e.Error() != want {
			t.Errorf("text is %q, want %q", e, want)
		}
		b.ForceOpen("still")
		b.Reset()
		wantState(t, b, breaker.Closed)
		if s := b.Snapshot(); s.Override != breaker.Automatic || s.OverrideNote != "" || s.OpenTime != 1000*time.Hour {
			t.Errorf("after Reset: %+v", s)
		}
		b.Reset()
		wantStory(t, b, &r.recorder, "closed>open forced", "open>closed reset")
		if len(r.notices) != 0 {
			t.Errorf("notices: %+v", r.notices)
		}
		wantCounts(t, b, 1, 0, 0, 1)
	})
}

// noticer also remembers notices.
type noticer struct {
	recorder
	notices []breaker.Event
}

func (n *noticer) OnNotice(e breaker.Event) { n.notices = append(n.notices, e) }

func TestForceOpenDuringAnOutageKeepsItOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(noticer)
		b := mustNew(t, breaker.Config{}, r)
		trip(t, b)
		b.ForceOpen("wait for the fix")
		time.Sleep(time.Hour)
		synctest.Wait()
		wantState(t, b, breaker.Open)
		wantStory(t, b, &r.recorder, "closed>open consecutive_failures")
		if len(r.notices) != 1 || r.notices[0].Reason.Note != "wait for the fix" || r.notices[0].From != breaker.Open ||
			r.notices[0].To != breaker.Open || r.notices[0].OutageID == "" {
			t.Errorf("notices: %+v", r.notices)
		}
		b.Reset()
		_ = b.Flush(t.Context())
		if e := r.all()[1]; e.To != breaker.Closed || e.RecoveryDuration != time.Hour || e.OutageID != r.all()[0].OutageID {
			t.Errorf("closed by %+v", e)
		}
	})
}

func TestForceOpenVoidsProbesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, breaker.Config{})
		halfOpen(t, b)
		p, err := b.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.ForceOpen("")
		p.Done(t.Context(), breaker.Success)
		wantState(t, b, breaker.Open)
		time.Sleep(time.Hour) // no lease of the probe's is left to fire
		synctest.Wait()
		wantCounts(t, b, 1, 5, 0, 0)
	})
}

func TestDisableLetsAllThroughAndTellsWhatWouldHaveHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(noticer)
		b := mustNew(t, breaker.Config{RecoveryTimeout: 10 * time.Second}, r)
		b.Disable("trying thresholds")
		for range 8 { // it would have opened on the fifth
			if err := b.Do(t.Context(), fail); err != errDown {
				t.Fatalf("a disabled breaker gave %v", err)
			}
		}
		wantState(t, b, breaker.Closed)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if err := b.Do(t.Context(), succeed); err != nil { // it would have been the probe
			t.Fatal(err)
		}
		s := b.Snapshot()
		if s.WouldOpen != 1 || s.WouldBlock != 3 || s.Override != breaker.Disabled || s.Transitions != 0 || s.OpenTime != 0 {
			t.Errorf("snapshot is %+v", s)
		}
		wantCounts(t, b, 1, 8, 0, 0)
		wantStory(t, b, &r.recorder)
		var shadow []string
		for _, e := range r.notices {
			shadow = append(shadow, fmt.Sprintf("%v>%v %s %v", e.From, e.To, e.Reason.Rule, e.Shadow))
		}
		if want := []string{"closed>closed disabled false", "closed>open consecutive_failures true",
			"open>half_open delay_elapsed true", "half_open>closed probes_succeeded true"}; !slices.Equal(shadow, want) {
			t.Errorf("notices:\n got  %v\n want %v", shadow, want)
		}

		for range 5 {
			_ = b.Do(t.Context(), fail)
		}
		b.Reset() // in the middle of what would have been an outage
		wantState(t, b, breaker.Closed)
		if err := b.Do(t.Context(), succeed); err != nil {
			t.Errorf("after Reset: %v", err)
		}
		trip(t, b) // and now for real
		wantStory(t, b, &r.recorder, "closed>open consecutive_failures")
	})
}

func TestDisablingTwiceIsDisablingOnce(t *testing.T) {
	r := new(noticer)
	b := mustNew(t, breaker.Config{}, r)
	b.Disable("first")
	for range 5 {
		_ = b.Do(t.Context(), fail)
	}
	b.Disable("second")
	if s := b.Snapshot(); s.OverrideNote != "second" || s.WouldOpen != 1 {
		t.Errorf("snapshot is %+v", s)
	}
	wantStory(t, b, &r.recorder)
}

func TestDisableEndsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(recorder)
		b := mustNew(t, breaker.Config{}, r)
		trip(t, b)
		b.Disable("let them through")
		if err := b.Do(t.Context(), succeed); err != nil {
			t.Errorf("disabled, a call gets %v", err)
		}
		b.ForceOpen("no, do not")
		if err := b.Do(t.Context(), succeed); !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("forced open, a call gets %v", err)
		}
		wantStory(t, b, r, "closed>open consecutive_failures", "open>closed disabled", "closed>open forced")
	})
}

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

func TestNestedCallsOfOneBreaker(t *testing.T) {
	b := mustNew(t, breaker.Config{})
	err := b.Do(t.Context(), func(ctx context.Context) error { return b.Do(ctx, succeed) })
	if err != nil {
		t.Fatal(err)
	}
	wantCounts(t, b, 2, 0, 0, 0)
}

func TestThePackageImportsTheStandardLibraryOnly(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range strings.Fields(string(out)) {
		if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") && path != reflect.TypeFor[breaker.Breaker]().PkgPath() {
			t.Errorf("imports %s", path)
		}
	}
}

func TestCallsAllocateNothing(t *testing.T) {
	ctx := context.Background()
	closed := mustNew(t, breaker.Config{})
	rated := mustNew(t, breaker.Config{FailureRate: 0.5, SlowCallRate: 0.5, SlowCallDuration: time.Minute, WindowDuration: time.Minute})
	failing := mustNew(t, breaker.Config{FailureThreshold: 1 << 60})
	open := mustNew(t, breaker.Config{})
	open.ForceOpen("")
	probed := mustNew(t, breaker.Config{RecoveryTimeout: time.Microsecond, SuccessThreshold: 1 << 60, FailureThreshold: 1})
	_ = probed.Do(ctx, fail)
	for probed.State() != breaker.HalfOpen {
	}
	for name, call := range map[string]func(){
		"closed":            func() { _ = closed.Do(ctx, succeed) },
		"closed, permit":    func() { p, _ := closed.Acquire(ctx); p.Done(ctx, breaker.Success) },
		"closed, a value":   func() { _, _ = breaker.Do(ctx, closed, func(context.Context) (int, error) { return 1, nil }) },
		"closed, rates":     func() { _ = rated.Do(ctx, succeed) },
		"closed, failing":   func() { _ = failing.Do(ctx, fail) },
		"open":              func() { _ = open.Do(ctx, succeed) },
		"half-open, probes": func() { _ = probed.Do(ctx, succeed) },
	} {
		if n := testing.AllocsPerRun(100, call); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
