package breaker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
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
