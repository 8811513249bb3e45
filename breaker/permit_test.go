package breaker

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"
)

func TestAMovedPermitCountsOnce(t *testing.T) {
	b, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	here, err := b.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	there := here.Move()
	here.Done(ctx, Failure)
	again := here.Move()
	again.Done(ctx, Failure)
	if s := b.Snapshot(); s.Failure != 0 {
		t.Errorf("the place it was moved from still counts: %d failures", s.Failure)
	}
	there.Done(ctx, Success)
	there.Done(ctx, Success)
	if s := b.Snapshot(); s.Success != 1 || s.Failure != 0 {
		t.Errorf("success %d, failure %d: want 1 and 0", s.Success, s.Failure)
	}
	none := new(Permit).Move()
	none.Done(ctx, Failure) // does nothing, above all no panic
}

func TestAProbeThatEndedHoldsNothingOfItsCall(t *testing.T) {
	b, err := New(Config{FailureThreshold: 1, RecoveryTimeout: 1, SuccessThreshold: 2})
	if err != nil {
		t.Fatal(err)
	}
	_ = b.Do(context.Background(), func(context.Context) error { return errors.New("down") })
	type key struct{}
	probe := func() weak.Pointer[[1024]byte] {
		value := new([1024]byte)
		ctx := context.WithValue(context.Background(), key{}, value)
		p, err := b.Acquire(ctx)
		for err != nil { // a nanosecond later it is half-open
			p, err = b.Acquire(ctx)
		}
		p.Done(ctx, Success)
		return weak.Make(value)
	}()
	runtime.GC()
	if probe.Value() != nil {
		t.Error("what the probe's context holds is still there")
	}
	if got := b.State(); got != HalfOpen {
		t.Errorf("state is %v", got)
	}
}

func TestAClosedBreakerHoldsNothingOfItsOutage(t *testing.T) {
	down := func(context.Context) error { return errors.New("down") }
	for name, c := range map[string]struct {
		recovery time.Duration
		end      func(*Breaker)
	}{
		"Reset": {time.Hour, (*Breaker).Reset},
		"a probe": {1, func(b *Breaker) {
			for b.Do(context.Background(), func(context.Context) error { return nil }) != nil {
				runtime.Gosched()
			}
		}},
		"Disable": {time.Hour, func(b *Breaker) { b.Disable("") }},
		"Reset, disabled, where it would be open": {time.Hour, func(b *Breaker) {
			b.Disable("")
			_ = b.Do(context.Background(), down)
			b.Reset()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := New(Config{FailureThreshold: 1, RecoveryTimeout: c.recovery})
			if err != nil {
				t.Fatal(err)
			}
			type key struct{}
			opener := func() weak.Pointer[[1024]byte] {
				value := new([1024]byte)
				ctx := context.WithValue(context.Background(), key{}, value)
				_ = b.Do(ctx, down)
				return weak.Make(value)
			}()
			c.end(b)
			runtime.GC()
			if opener.Value() != nil {
				t.Error("what the context of the call that opened it holds is still there")
			}
			if got := b.State(); got != Closed {
				t.Errorf("state is %v", got)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.wake != 0 {
				t.Error("its timer still runs")
			}
		})
	}
}

func TestWhatIsNoOutcomeIsAFailure(t *testing.T) {
	ctx := context.Background()
	b, err := New(Config{Classify: func(error) Outcome { return Ignored + 1 }})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p.Done(ctx, Ignored+1)
	_ = b.Do(ctx, func(context.Context) error { return nil })
	if s := b.Snapshot(); s.Failure != 2 || s.ConsecutiveFailures != 2 || s.Success != 0 || s.Ignored != 0 {
		t.Errorf("failure %d, success %d, ignored %d: want 2, 0 and 0", s.Failure, s.Success, s.Ignored)
	}
}

func TestAResultWithoutAContextCounts(t *testing.T) {
	var l contextListener
	b, err := New(Config{FailureThreshold: 1}, &l)
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var none context.Context
	p.Done(none, Failure)
	if err := b.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if l.told.To != Open || l.told.Context == nil || l.told.OpenedBy == nil || l.call == nil {
		t.Errorf("the listener was told %+v on the call of %v", l.told, l.call)
	}
	b.Reset() // stops the timer
}

// contextListener remembers the newest event and the context of the call that caused one or was blocked.
type contextListener struct {
	told Event
	call context.Context
}

func (l *contextListener) OnTransition(e Event)                          { l.told = e }
func (l *contextListener) OnCallTransition(ctx context.Context, _ Event) { l.call = ctx }
func (l *contextListener) OnBlocked(ctx context.Context, _ *OpenError)   { l.call = ctx }

func TestAPermitTellsItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := New(Config{FailureThreshold: 1, RecoveryTimeout: time.Second, ProbeTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		ordinary, err := b.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if left, probe := ordinary.Lease(); probe || left != 0 {
			t.Errorf("a call admitted while closed: lease %v, probe %v", left, probe)
		}
		if left, probe := new(Permit).Lease(); probe || left != 0 {
			t.Errorf("the zero permit: lease %v, probe %v", left, probe)
		}
		ordinary.DoneErr(ctx, errors.New("down"))
		time.Sleep(time.Second)

		p, err := b.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if left, probe := p.Lease(); !probe || left != 40*time.Second {
			t.Errorf("20 s into a lease of a minute: %v, probe %v", left, probe)
		}
		moved := p.Move()
		if left, probe := moved.Lease(); !probe || left != 40*time.Second {
			t.Errorf("moved: %v, probe %v", left, probe)
		}
		time.Sleep(time.Minute)
		if left, probe := moved.Lease(); !probe || left != 0 {
			t.Errorf("after its end: %v, probe %v", left, probe)
		}
		b.ForceOpen("test over") // stops the timer
	})
}

func TestElapsedIsLookedAtWhereARuleAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			config Config
			want   time.Duration
		}{
			{Config{}, 0},
			{Config{FailureRate: 0.5, WindowDuration: time.Minute}, 0},
			{Config{SlowCallRate: 0.5, SlowCallDuration: time.Second}, 3 * time.Second},
		} {
			b, err := New(c.config)
			if err != nil {
				t.Fatal(err)
			}
			p, err := b.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if at := p.Elapsed(); at != min(c.want, 1) {
				t.Errorf("%+v: at once %v", c.config, at)
			}
			time.Sleep(3 * time.Second)
			if got := p.Elapsed(); got != c.want {
				t.Errorf("%+v: %v, want %v", c.config, got, c.want)
			}
			p.Done(t.Context(), Success)
		}
		if got := new(Permit).Elapsed(); got != 0 {
			t.Errorf("the zero Permit: %v", got)
		}
	})
}
