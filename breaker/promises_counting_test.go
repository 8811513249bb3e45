package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

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

func TestG09_ACancelledCallThatDidNotFailIsWhatTheUserSays(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	// The user takes every error for an answer, and no error for a failure.
	b := mustNew(t, breaker.Config{Classify: func(err error) breaker.Outcome {
		if err != nil {
			return breaker.Success
		}
		return breaker.Failure
	}})
	_ = b.Do(cancelled, fail)
	wantCounts(t, b, 1, 0, 0, 0)
	_ = b.Do(cancelled, succeed)
	wantCounts(t, b, 1, 1, 0, 0)
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

func TestG18_ARefusalTellsTheBounds(t *testing.T) {
	for allowed, c := range map[string]breaker.Config{
		"MaxProbes is 10001: allowed is 1 to 10000, or 0 for the default":      {MaxProbes: 10_001},
		"WindowCalls is -1: allowed is 1 to 1000000, or 0 for the default":     {WindowCalls: -1},
		"SuccessThreshold is -1: allowed is 1 or more, or 0 for the default":   {SuccessThreshold: -1},
		"FailureRate is 1.5: allowed is a share from 0 to 1":                   {FailureRate: 1.5},
		"MinCalls is 7: allowed is at most the 6 calls of the window":          {FailureRate: 1, WindowCalls: 6, MinCalls: 7},
		"MinCalls is 101: allowed is at most the 100 calls of the window":      {FailureRate: 1, MinCalls: 101},
		"MaxRecoveryTimeout is 1s: allowed is at least RecoveryTimeout (30s)":  {MaxRecoveryTimeout: time.Second},
		"WindowDuration is 999.999µs: allowed is 1ms or more, or 0 for none":   {FailureRate: 1, WindowDuration: time.Millisecond - 1},
		"RecoveryTimeout is -1s: allowed is a positive duration, or 0 for the": {RecoveryTimeout: -time.Second},
	} {
		if _, err := breaker.New(c); err == nil || !strings.Contains(err.Error(), "Config."+allowed) {
			t.Errorf("want %q, got %v", allowed, err)
		}
	}
	for _, c := range []breaker.Config{
		{MaxProbes: 10_000},
		{FailureRate: 1, WindowCalls: 1_000_000, MinCalls: 1_000_000},
		{FailureRate: 1, MinCalls: 100},
		{FailureRate: 1, WindowDuration: time.Millisecond, MinCalls: 1000},
		{SlowCallRate: 1, SlowCallDuration: 1},
		{MaxRecoveryTimeout: 30 * time.Second, BackoffFactor: 1, Jitter: 1},
		{BackoffFactor: math.MaxFloat64},
	} {
		if _, err := breaker.New(c); err != nil {
			t.Errorf("a value on its bound is refused: %v", err)
		}
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
