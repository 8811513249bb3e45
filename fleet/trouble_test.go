package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/log/logtest"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/fleet"
	"github.com/otelbreaker/otelbreaker/fleet/enginetest"
)

func TestF01_ACallOfABreakerInAFleetAllocatesNothing(t *testing.T) {
	b, err := breaker.New(breaker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	member, err := fleet.Join(b, enginetest.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = member.Close(t.Context()) }()
	for !member.Connected() {
		time.Sleep(time.Millisecond)
	}
	ctx := context.Background()
	succeed := func(context.Context) error { return nil }
	// The member's own goroutines allocate as well, a little once a second: the smallest of several is the call's.
	least := 1.0
	for range 10 {
		least = min(least, testing.AllocsPerRun(100, func() { _ = b.Do(ctx, succeed) }))
	}
	if least != 0 {
		t.Errorf("a call allocates %v times", least)
	}
}

func BenchmarkCallInAFleet(b *testing.B) {
	for name, joined := range map[string]bool{"alone": false, "in a fleet": true} {
		b.Run(name, func(b *testing.B) {
			cb, err := breaker.New(breaker.Config{})
			if err != nil {
				b.Fatal(err)
			}
			if joined {
				member, err := fleet.Join(cb, enginetest.NewMemory())
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = member.Close(context.Background()) }()
				for !member.Connected() {
					time.Sleep(time.Millisecond)
				}
			}
			ctx := context.Background()
			succeed := func(context.Context) error { return nil }
			b.ReportAllocs()
			for b.Loop() {
				_ = cb.Do(ctx, succeed)
			}
		})
	}
}

// signals are what a member has told.
type signals struct {
	*testing.T
	reader   *sdkmetric.ManualReader
	recorder *logtest.Recorder
}

func newSignals(t *testing.T) (*signals, []fleet.Option) {
	s := &signals{t, sdkmetric.NewManualReader(), logtest.NewRecorder()}
	return s, []fleet.Option{fleet.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.reader))), fleet.WithLoggerProvider(s.recorder)}
}

// values gives the metrics as text, with the attribute that tells them apart.
func (s *signals) values() map[string]int64 {
	s.Helper()
	var data metricdata.ResourceMetrics
	if err := s.reader.Collect(context.Background(), &data); err != nil {
		s.Fatal(err)
	}
	values := map[string]int64{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Gauge[int64]:
				values[m.Name] = d.DataPoints[0].Value
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					op, _ := p.Attributes.Value("operation")
					values[m.Name+" "+op.AsString()] = p.Value
				}
			case metricdata.Histogram[float64]:
				values[m.Name] = int64(d.DataPoints[0].Count)
			}
		}
	}
	return values
}

func (s *signals) records() (all []string) {
	for _, records := range s.recorder.Result() {
		for _, r := range records {
			all = append(all, fmt.Sprint(r.EventName, " ", r.Severity == log.SeverityWarn))
		}
	}
	return all
}

// TestF06_WhateverBefallsTheEngineBreakersCarryOn takes the engine from one replica in each way there is.
func TestF06_WhateverBefallsTheEngineBreakersCarryOn(t *testing.T) {
	for name, befall := range map[string]func(*unsteady){
		"it is away":                  (*unsteady).goAway,
		"it is full":                  func(u *unsteady) { u.full.Store(true) },
		"it answers nothing any more": func(u *unsteady) { u.hung.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := enginetest.NewMemory()
				leader := fleet.WithPolicy(fleet.LeaderOfOne())
				all := start(t, store, 3, five, leader)
				told, options := newSignals(t)
				r := newReplica(t, store, "troubled", five, append(options, leader)...)
				time.Sleep(time.Minute)
				if v := told.values(); v["circuit_breaker.fleet.connected"] != 1 || v["circuit_breaker.fleet.replicas"] != 4 ||
					v["circuit_breaker.fleet.propagation"] < 10 || len(told.records()) != 0 {
					t.Errorf("all being well it tells %v and %q", v, told.records())
				}

				befall(r.way)
				time.Sleep(30 * time.Second)
				v := told.values()
				if v["circuit_breaker.fleet.connected"] != 0 || v["circuit_breaker.fleet.replicas"] != 1 ||
					v["circuit_breaker.fleet.errors put"]+v["circuit_breaker.fleet.errors watch"] == 0 ||
					!slices.Equal(told.records(), []string{"fleet_lost true"}) {
					t.Errorf("in trouble it tells %v and %q", v, told.records())
				}
				all[0].fail(5)
				synctest.Wait()
				if r.b.State() != breaker.Closed {
					t.Error("it follows a fleet that it is not part of")
				}
				r.fail(5)
				begun := time.Now()
				if r.b.State() != breaker.Open {
					t.Error("it does not open by itself")
				}
				for r.b.State() != breaker.HalfOpen {
					time.Sleep(time.Millisecond)
				}
				if took := time.Since(begun); took > five.RecoveryTimeout+time.Millisecond {
					t.Errorf("it went half-open after %v", took)
				}
				if err := r.b.Do(t.Context(), func(context.Context) error { return nil }); err != nil || r.b.State() != breaker.Closed {
					t.Errorf("it did not recover by itself: %v", err)
				}

				r.way.away.Store(false)
				r.way.full.Store(false)
				r.way.hung.Store(false)
				time.Sleep(30 * time.Second)
				if v := told.values(); v["circuit_breaker.fleet.connected"] != 1 || v["circuit_breaker.fleet.replicas"] != 4 ||
					!slices.Equal(told.records(), []string{"fleet_lost true", "fleet_rejoined false"}) {
					t.Errorf("well again it tells %v and %q", v, told.records())
				}
			})
		})
	}
}

// A breaker that waits for its turn when the engine goes is let go, and not all at the same moment.
func TestF06_WhoWaitsForATurnIsLetGoInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := start(t, enginetest.NewMemory(), 50, five, fleet.WithPolicy(fleet.LeaderOfOne()))
		all[0].fail(5)
		time.Sleep(five.RecoveryTimeout + time.Second)
		wantStates(t, "no call has come, so all wait", all, 0, 0, 50)
		for _, r := range all {
			r.way.goAway()
		}
		moments := map[int64]int{}
		gone := time.Now()
		for states(all)[breaker.HalfOpen] < 50 && time.Since(gone) < time.Minute {
			time.Sleep(10 * time.Millisecond)
			moments[int64(time.Since(gone)/(10*time.Millisecond))] = states(all)[breaker.HalfOpen]
		}
		if took := time.Since(gone); took > fleet.DefaultReleaseJitter+20*time.Millisecond {
			t.Errorf("they were let go after %v", took)
		}
		before := 0
		for i := range int64(200) {
			if n, there := moments[i]; there {
				if n-before > 10 {
					t.Errorf("%d were let go in ten milliseconds", n-before)
				}
				before = n
			}
		}
	})
}

// TestF06_RejoiningIsNoStorm counts the operations when the store comes back for all at once.
func TestF06_RejoiningIsNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := start(t, enginetest.NewMemory(), 50, five)
		for _, r := range all {
			r.way.goAway()
		}
		time.Sleep(time.Minute)
		at := map[time.Time]int{}
		for _, r := range all {
			r.way.away.Store(false)
		}
		back := time.Now()
		joined := 0
		for joined < 50 && time.Since(back) < time.Minute {
			time.Sleep(10 * time.Millisecond)
			before := joined
			joined = 0
			for _, r := range all {
				if r.member.Connected() {
					joined++
				}
			}
			at[time.Now()] = joined - before
		}
		for _, n := range at {
			if n > 10 {
				t.Errorf("%d came within ten milliseconds", n)
			}
		}
		if took := time.Since(back); took > 3*fleet.DefaultHeartbeat {
			t.Errorf("all were back after %v", took)
		}
	})
}

func TestG18_BadOptionsAreRefusedByName(t *testing.T) {
	b, err := breaker.New(breaker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	store := enginetest.NewMemory()
	for _, c := range []struct {
		option fleet.Option
		want   string
	}{
		{fleet.WithName("A"), `WithName is "A": allowed is 1 to 64 lower-case letters`},
		{fleet.WithReplica(""), `WithReplica is ""`},
		{fleet.WithPolicy(fleet.Quorum(0)), "the share of Quorum is 0: allowed is"},
		{fleet.WithPolicy(fleet.Quorum(1.5)), "the share of Quorum is 1.5: allowed is a number above 0 and up to 1"},
		{fleet.WithPolicy(fleet.Advisory(1)), "the share of Advisory is 1"},
		{fleet.WithHeartbeat(time.Millisecond), "WithHeartbeat is 1ms: allowed is 1s to 1h0m0s"},
		{fleet.WithProbeLease(0), "WithProbeLease is 0s"},
		{fleet.WithHoldBound(-1), "WithHoldBound is -1ns"},
		{fleet.WithReleaseJitter(2 * time.Hour), "WithReleaseJitter is 2h0m0s"},
		{fleet.WithTimeout(time.Hour), "WithTimeout is 1h0m0s"},
		{fleet.WithMaxReplicas(0), "WithMaxReplicas is 0: allowed is 1 to 10000"},
		{nil, "option 0 is nil"},
	} {
		if _, err := fleet.Join(b, store, c.option); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("the error is %v, want %q", err, c.want)
		}
	}
	var none *breaker.Group
	if _, err := fleet.Join(none, store); err == nil || !strings.Contains(err.Error(), "source is nil (*breaker.Group)") {
		t.Errorf("with a nil group the error is %v", err)
	}
	if _, err := fleet.Join(nil, nil); err == nil || !strings.Contains(err.Error(), "source is nil") || !strings.Contains(err.Error(), "engine is nil") {
		t.Errorf("without anything the error is %v", err)
	}
	first, err := fleet.Join(b, store)
	if err != nil {
		t.Fatalf("after all that it cannot join: %v", err)
	}
	if _, err := fleet.Join(b, store); err == nil || !strings.Contains(err.Error(), "gate") {
		t.Errorf("a second fleet takes the breaker: %v", err)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Error(err)
	}
	again, err := fleet.Join(b, store)
	if err != nil {
		t.Fatalf("once the first has left: %v", err)
	}
	_ = again.Close(t.Context())
}

// A bubble ends only when all goroutines in it have: nothing is left running.
func TestG19_CloseLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := enginetest.NewMemory()
		all := start(t, store, 3, five, fleet.WithPolicy(fleet.LeaderOfOne()))
		all[0].fail(5)
		time.Sleep(five.RecoveryTimeout + time.Second)
		wantStates(t, "all wait", all, 0, 0, 3)
		all[1].way.hung.Store(true)
		begun := time.Now()
		for i, r := range all {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := r.member.Close(ctx); (err != nil) != (i == 1) {
				t.Errorf("Close of %d: %v", i, err)
			}
			cancel()
			if err := r.member.Close(t.Context()); err != nil {
				t.Errorf("a second Close: %v", err)
			}
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("closing took %v", took)
		}
		wantStates(t, "those that waited are let go", all, 0, 3, 0)
		if s := all[0].b.Snapshot(); s.Advice != 1 {
			t.Error("its advice is left")
		}
		time.Sleep(time.Minute)
		if left := store.Entries(); len(left) != 0 {
			t.Errorf("left in the store: %q", left)
		}
	})
}

// stuck is an engine that breaks its word.
type stuck struct {
	fleet.Engine
	until chan struct{}
}

func (s stuck) Put(context.Context, string, []byte, time.Duration) error {
	<-s.until
	return errAway
}

func TestF02_AnEngineThatDoesNotEndHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := breaker.New(five)
		if err != nil {
			t.Fatal(err)
		}
		e := stuck{enginetest.NewMemory(), make(chan struct{})}
		m, err := fleet.Join(b, e)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for range 5 {
			_ = b.Do(t.Context(), func(context.Context) error { return errDown })
		}
		time.Sleep(five.RecoveryTimeout)
		synctest.Wait()
		if s := b.State(); s != breaker.HalfOpen {
			t.Errorf("at the end of its delay it is %v", s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		close(e.until)
	})
}

// Breakers of a group take part from when they are made, and until they are dropped.
func TestF04_AGroupsBreakersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := enginetest.NewMemory()
		var groups []*breaker.Group
		for i := range 2 {
			g, err := breaker.NewGroup(five, breaker.WithMaxEndpoints(2))
			if err != nil {
				t.Fatal(err)
			}
			m, err := fleet.Join(g, store, fleet.WithPolicy(fleet.LeaderOfOne()), fleet.WithReplica(fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = m.Close(t.Context()) }()
			groups = append(groups, g)
		}
		time.Sleep(10 * time.Second)
		fail := func(g *breaker.Group, endpoint string) {
			for range 5 {
				_ = g.Get(endpoint).Do(t.Context(), func(context.Context) error { return errDown })
			}
		}
		fail(groups[0], "a")
		other := groups[1].Get("a") // made after the opening
		time.Sleep(2 * time.Second)
		if s := other.State(); s != breaker.Open {
			t.Errorf("one that was made later is %v", s)
		}
		for i := range 20 { // b is dropped for c and so on; a is open, and stays
			groups[1].Get(fmt.Sprint(i))
			time.Sleep(2 * time.Second)
		}
		fail(groups[0], "20")
		groups[1].Get("20")
		time.Sleep(2 * time.Second)
		if s := groups[1].Get("20").State(); s != breaker.Open {
			t.Errorf("after some were dropped a new one is %v", s)
		}
	})
}
