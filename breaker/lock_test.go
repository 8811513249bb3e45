package breaker

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// unlocked runs f while the lock is held elsewhere.
func unlocked(t *testing.T, mu *sync.Mutex, f func()) {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("waits for the lock")
	}
}

func TestAHealthyCallTakesNoLock(t *testing.T) {
	ctx, healthy := context.Background(), func(context.Context) error { return nil }
	const day = 24 * time.Hour
	for name, c := range map[string]Config{
		"consecutive failures": {},
		"slow calls counted":   {SlowCallDuration: time.Hour},
		"a window of time":     {FailureRate: 0.9, WindowDuration: day, MinCalls: 3},
		"slow calls judged":    {SlowCallRate: 0.9, SlowCallDuration: time.Hour, WindowDuration: day, MinCalls: 3},
		"a classifier": {Classify: func(err error) Outcome {
			if err != nil {
				return Failure
			}
			return Success
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			// The first result of a tenth of the window needs the lock, and so does the success that ends a run of failures.
			// The three of them are enough to judge by, so that later successes can only lower the rate.
			_ = b.Do(ctx, healthy)
			_ = b.Do(ctx, func(context.Context) error { return errors.New("down") })
			_ = b.Do(ctx, healthy)
			lasting, err := b.Acquire(ctx)
			if err != nil {
				t.Fatal(err)
			}
			unlocked(t, &b.mu, func() {
				_ = b.Do(ctx, healthy)
				p, _ := b.Acquire(ctx)
				p.Done(ctx, Success)
				p, _ = b.Acquire(ctx)
				p.Done(ctx, Ignored)
				lasting.DoneWith(ctx, Result{Elapsed: time.Hour}) // just not slow
				if got := b.State(); got != Closed {
					t.Errorf("state is %v", got)
				}
			})
			if s := b.Snapshot(); s.Success != 5 || s.Ignored != 1 || s.Failure != 1 || s.Slow != 0 {
				t.Errorf("success %d, ignored %d, failure %d, slow %d: want 5, 1, 1 and 0", s.Success, s.Ignored, s.Failure, s.Slow)
			}
		})
	}
}

func TestABlockedCallTakesNoLock(t *testing.T) {
	ctx, never := context.Background(), func(context.Context) error { panic("called") }
	forced, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	forced.ForceOpen("")
	tripped, err := New(Config{FailureThreshold: 1, RecoveryTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	_ = tripped.Do(ctx, func(context.Context) error { return errors.New("down") })
	probed, err := New(Config{FailureThreshold: 1, RecoveryTimeout: 1, ProbeTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	_ = probed.Do(ctx, func(context.Context) error { return errors.New("down") })
	probe, err := probed.Acquire(ctx)
	for err != nil { // a nanosecond later it is half-open
		probe, err = probed.Acquire(ctx)
	}
	for name, b := range map[string]*Breaker{"forced open": forced, "open": tripped, "half-open, no probe left": probed} {
		unlocked(t, &b.mu, func() {
			if err := b.Do(ctx, never); !errors.Is(err, ErrOpen) {
				t.Errorf("%s: a call gets %v", name, err)
			}
			if b != probed && b.State() != Open {
				t.Errorf("%s: state is %v", name, b.State())
			}
		})
	}
	probe.Done(ctx, Success)
	tripped.Reset() // stops its timer
}

func TestAGroupTakesNoLockForAnEndpointItHas(t *testing.T) {
	g, err := NewGroup(Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	b := g.Get("https://a.example")
	unlocked(t, &g.mu, func() {
		if g.Get("https://a.example") != b {
			t.Error("another breaker")
		}
		p, err := g.Acquire(ctx, "https://a.example")
		if err != nil {
			t.Error(err)
		}
		p.Done(ctx, Success)
	})
}
