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
			t.Fatalf("blocked with %v", err)
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
