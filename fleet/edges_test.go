package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/log/embedded"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/fleet"
	"github.com/otelbreaker/otelbreaker/fleet/enginetest"
)

// under gives what the store holds of a part of the fleet's keys.
func under(store *enginetest.Memory, part string) (values []string) {
	entries := store.Entries()
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		if strings.HasPrefix(key, "v1.default."+part) {
			values = append(values, string(entries[key]))
		}
	}
	return values
}

// blocked makes a call that is refused, so that the replica has one for a probe.
func (r *replica) blocked(t *testing.T) {
	t.Helper()
	if err := r.b.Do(t.Context(), func(context.Context) error { return nil }); err == nil {
		t.Errorf("%s lets a call through", r.name)
	}
}

// hushed writes a turn, and is cut off before it hears that it has.
type hushed struct {
	fleet.Engine
	on atomic.Bool
}

func (h *hushed) CompareAndSwap(ctx context.Context, key string, old, value []byte, ttl time.Duration) (bool, error) {
	swapped, err := h.Engine.CompareAndSwap(ctx, key, old, value, ttl)
	if h.on.Load() {
		<-ctx.Done()
		return false, context.Cause(ctx)
	}
	return swapped, err
}

func TestF05_WhoLeavesWithTheProbeFreesIt(t *testing.T) {
	for name, hush := range map[string]bool{"it probes": false, "it has just asked for the turn": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := enginetest.NewMemory()
				all := start(t, store, 1, five, fleet.WithProbeLease(time.Minute))
				way := &hushed{Engine: store}
				way.on.Store(hush)
				all[0].way.Engine = way
				all[0].fail(5)
				all[0].blocked(t)
				time.Sleep(five.RecoveryTimeout + time.Second)
				synctest.Wait()
				if got := under(store, "breaker."); len(got) != 1 || !strings.Contains(got[0], "probing") {
					t.Fatalf("the turn is %q", got)
				}
				_ = all[0].member.Close(t.Context())
				if got := under(store, ""); len(got) != 0 {
					t.Errorf("after it has left there is %q", got)
				}
			})
		})
	}
}

func TestG18_CloseWantsAContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, enginetest.NewMemory(), 1, five)[0]
		var none context.Context
		if err := r.member.Close(none); err == nil || !strings.Contains(err.Error(), "context of Close is nil") {
			t.Errorf("Close without a context: %v", err)
		}
		if !r.member.Connected() {
			t.Error("it has left all the same")
		}
	})
}

// busySource holds the member up when it looks for new breakers.
type busySource struct {
	*breaker.Breaker
	gate atomic.Pointer[chan struct{}]
}

func (s *busySource) All() iter.Seq[*breaker.Breaker] {
	if gate := s.gate.Load(); gate != nil {
		<-*gate
	}
	return s.Breaker.All()
}

func TestF02_AHoldThatTheLeavingFleetDidNotSeeIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := breaker.New(five)
		if err != nil {
			t.Fatal(err)
		}
		source := &busySource{Breaker: b}
		m, err := fleet.Join(source, enginetest.NewMemory())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		for range 5 {
			_ = b.Do(t.Context(), func(context.Context) error { return errDown })
		}
		gate := make(chan struct{})
		source.gate.Store(&gate)
		time.Sleep(five.RecoveryTimeout + time.Second)
		if s := b.Snapshot(); !s.Held {
			t.Fatalf("it is not held, but %v", s.State)
		}
		go close(gate)
		if err := m.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if s := b.State(); s != breaker.HalfOpen {
			t.Errorf("once the fleet is left it is %v", s)
		}
	})
}

func TestF05_AProbeThatFailsAfterItsLeaseIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := enginetest.NewMemory()
		all := start(t, store, 2, five, fleet.WithPolicy(fleet.LeaderOfOne()))
		all[0].fail(5)
		all[0].blocked(t) // and no call of the other's, which leaves the turn to this one
		time.Sleep(five.RecoveryTimeout + time.Second)
		wantStates(t, "one has the turn", all, 0, 1, 1)
		time.Sleep(fleet.DefaultProbeLease)
		if got := under(store, "breaker."); len(got) != 0 {
			t.Fatalf("the lease has not run out: %q", got)
		}
		all[0].fail(1)
		synctest.Wait()
		if got := under(store, "breaker."); len(got) != 1 || !strings.Contains(got[0], `"failed"`) {
			t.Errorf("of the failed probe the others hear %q", got)
		}
	})
}

// hangs is a listener that stops the delivery of a breaker's events at its closing.
type hangs chan struct{}

func (h hangs) OnTransition(e breaker.Event) {
	if e.To == breaker.Closed {
		<-h
	}
}

func TestF04_AVoteEndsWithTheOpeningThoughAListenerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := enginetest.NewMemory()
		until := make(hangs)
		defer close(until)
		b, err := breaker.New(five, until)
		if err != nil {
			t.Fatal(err)
		}
		m, err := fleet.Join(b, store)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close(t.Context()) }()
		time.Sleep(10 * time.Second)
		r := &replica{b: b}
		r.fail(5)
		time.Sleep(time.Second)
		votes := func() int {
			var beat struct{ Votes map[string]string }
			for _, value := range under(store, "replica.") {
				if err := json.Unmarshal([]byte(value), &beat); err != nil {
					t.Fatal(err)
				}
			}
			return len(beat.Votes)
		}
		if votes() != 1 {
			t.Fatalf("it has %d votes", votes())
		}
		r.blocked(t)
		time.Sleep(five.RecoveryTimeout)
		if err := b.Do(t.Context(), func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if votes() != 0 {
			t.Error("closed, it still votes")
		}
	})
}

// A replica whose calls come to nothing that counts must not keep the turn from the others.
func TestF02_AProberThatDecidesNothingLosesItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := five
		c.ProbeTimeout = 10 * time.Second
		all := start(t, enginetest.NewMemory(), 2, c, fleet.WithPolicy(fleet.LeaderOfOne()))
		all[0].fail(5)
		all[0].blocked(t)
		time.Sleep(c.RecoveryTimeout + time.Second)
		wantStates(t, "one has the turn", all, 0, 1, 1)
		all[1].blocked(t)
		ignored, cancel := context.WithCancel(t.Context())
		cancel()
		begun := time.Now()
		for all[1].b.State() != breaker.HalfOpen && time.Since(begun) < 10*time.Minute {
			_ = all[0].b.Do(ignored, func(ctx context.Context) error { return ctx.Err() })
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("the other's turn came after %v", took)
		}
	})
}

// fickle ends each watch as soon as it has told all.
type fickle struct {
	fleet.Engine
	watches atomic.Int64
}

func (f *fickle) Watch(ctx context.Context, prefix string, tell func(fleet.Change)) error {
	f.watches.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return f.Engine.Watch(ctx, prefix, func(c fleet.Change) {
		tell(c)
		if c.Kind == fleet.Synced {
			cancel(errAway)
		}
	})
}

func TestF06_WatchesThatEndAtOnceAreNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := breaker.New(five)
		if err != nil {
			t.Fatal(err)
		}
		e := &fickle{Engine: enginetest.NewMemory()}
		m, err := fleet.Join(b, e)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close(t.Context()) }()
		time.Sleep(5 * time.Minute)
		if n := e.watches.Load(); n > 150 {
			t.Errorf("%d watches in five minutes", n)
		}
	})
}

// wall gives loggers that take a record and do not come back.
type wall struct {
	embedded.LoggerProvider
	until chan struct{}
}

func (w wall) Logger(string, ...log.LoggerOption) log.Logger { return wallLogger{until: w.until} }

type wallLogger struct {
	embedded.Logger
	until chan struct{}
}

func (w wallLogger) Emit(context.Context, log.Record)                  { <-w.until }
func (wallLogger) Enabled(context.Context, log.EnabledParameters) bool { return true }

func TestF02_ALoggerThatBlocksHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := make(chan struct{})
		defer close(until)
		r := start(t, enginetest.NewMemory(), 1, five, fleet.WithLoggerProvider(wall{until: until}))[0]
		r.fail(5)
		time.Sleep(five.RecoveryTimeout + time.Second)
		if !r.b.Snapshot().Held {
			t.Fatal("it does not wait")
		}
		r.way.goAway()
		time.Sleep(fleet.DefaultReleaseJitter + 100*time.Millisecond)
		if s := r.b.State(); s != breaker.HalfOpen {
			t.Errorf("without its fleet it is %v", s)
		}
		_ = r.member.Close(t.Context())
	})
}

func TestF04_OfTooManyVotesTheSameAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := five
		c.FailureThreshold, c.RecoveryTimeout, c.MaxRecoveryTimeout = 1, time.Hour, time.Hour
		g, err := breaker.NewGroup(c, breaker.WithMaxEndpoints(500))
		if err != nil {
			t.Fatal(err)
		}
		store := enginetest.NewMemory()
		m, err := fleet.Join(g, store)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close(t.Context()) }()
		for i := range 450 {
			_ = g.Get(fmt.Sprint(i)).Do(t.Context(), func(context.Context) error { return errDown })
		}
		var before map[string]string
		for range 5 {
			time.Sleep(2 * fleet.DefaultHeartbeat)
			var beat struct{ Votes map[string]string }
			if err := json.Unmarshal([]byte(under(store, "replica.")[0]), &beat); err != nil {
				t.Fatal(err)
			}
			if len(beat.Votes) != 400 || before != nil && !maps.Equal(before, beat.Votes) {
				t.Fatalf("%d votes, and not those of before", len(beat.Votes))
			}
			before = beat.Votes
		}
	})
}

// What stood before a replica was cut off is no news when it comes back.
func TestF03_WhatWasSeenBeforeACutDoesNotOpenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := five
		all := start(t, enginetest.NewMemory(), 2, c, fleet.WithPolicy(fleet.LeaderOfOne()))
		if err := all[0].b.Reconfigure(breaker.Config{FailureThreshold: 5, RecoveryTimeout: time.Hour}); err != nil {
			t.Fatal(err)
		}
		all[0].fail(5)
		time.Sleep(time.Second)
		wantStates(t, "one has opened", all, 0, 0, 2)
		all[1].way.goAway()
		time.Sleep(time.Minute)
		all[1].b.Reset()
		all[1].way.away.Store(false)
		time.Sleep(time.Minute)
		if !all[1].member.Connected() {
			t.Fatal("it is not back")
		}
		wantStates(t, "what stood before opens nothing", all, 1, 0, 1)
	})
}
