package fleet_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/fleet"
	"github.com/otelbreaker/otelbreaker/fleet/enginetest"
)

// Events that come seconds late, behind a listener that is slow, wedge nothing, and leave no vote behind.
func TestF02_SlowListenersWedgeNothing(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 3))
			store := enginetest.NewMemory()
			u := &upstream{took: 20 * time.Millisecond}
			all := make([]*replica, 4)
			for i := range all {
				r := &replica{name: fmt.Sprint(i), way: &unsteady{Engine: store}}
				late := time.Duration(random.IntN(8000)) * time.Millisecond
				var err error
				r.b, err = breaker.New(breaker.Config{FailureThreshold: 2, RecoveryTimeout: 2 * time.Second},
					breaker.ListenerFunc(func(breaker.Event) { time.Sleep(late) }))
				if err != nil {
					t.Fatal(err)
				}
				if r.member, err = fleet.Join(r.b, r.way, fleet.WithPolicy(fleet.LeaderOfOne())); err != nil {
					t.Fatal(err)
				}
				all[i] = r
			}
			stop := traffic(u, all, 200*time.Millisecond)
			for range 30 {
				time.Sleep(time.Duration(random.IntN(20_000)) * time.Millisecond)
				u.down.Store(!u.down.Load())
				if random.IntN(4) == 0 {
					all[random.IntN(len(all))].b.Reset()
				}
			}
			u.down.Store(false)
			time.Sleep(5 * time.Minute)
			wantStates(t, fmt.Sprintf("seed %d, five minutes after", seed), all, len(all), 0, 0)
			for _, value := range under(store, "replica.") {
				if !strings.Contains(value, `"votes":{}`) {
					t.Errorf("seed %d: of closed breakers there is %s", seed, value)
				}
			}
			stop()
			for _, r := range all {
				_ = r.member.Close(t.Context())
			}
			time.Sleep(time.Hour) // for the events that are left
		})
	}
}

// What a fleet has opened is no evidence either where its replica leaves and joins again.
func TestF04_WhoJoinsAgainDoesNotVoteForWhatTheFleetHasOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := enginetest.NewMemory()
		leader := fleet.WithPolicy(fleet.LeaderOfOne())
		all := start(t, store, 2, five, leader)
		all[0].fail(5)
		synctest.Wait()
		wantStates(t, "one has opened", all, 0, 0, 2)
		if err := all[1].member.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		again, err := fleet.Join(all[1].b, all[1].way, leader)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = again.Close(t.Context()) }()
		time.Sleep(time.Second)
		all[0].b.Reset()
		time.Sleep(3 * time.Second)
		wantStates(t, "the first is reset", all, 1, 0, 1)
		for _, value := range under(store, "replica.") {
			if !strings.Contains(value, `"votes":{}`) {
				t.Errorf("a vote is left: %s", value)
			}
		}
	})
}

// stalled keeps those waiting who ask for a turn, while it is stalled.
type stalled struct {
	fleet.Engine
	on      atomic.Bool
	waiting atomic.Int64
	until   chan struct{}
}

func (s *stalled) CompareAndSwap(ctx context.Context, key string, old, value []byte, ttl time.Duration) (bool, error) {
	if s.on.Load() {
		s.waiting.Add(1)
		select {
		case <-s.until:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	return s.Engine.CompareAndSwap(ctx, key, old, value, ttl)
}

// News of a recovery that waits for a slow engine is not told when the breaker has opened again meanwhile.
func TestF05_ARecoveryThatIsOverIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := enginetest.NewMemory()
		way := &stalled{Engine: store, until: make(chan struct{})}
		group := func(e fleet.Engine, c breaker.Config) *breaker.Group {
			g, err := breaker.NewGroup(c)
			if err != nil {
				t.Fatal(err)
			}
			m, err := fleet.Join(g, e, fleet.WithPolicy(fleet.Advisory(0.9)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = m.Close(context.Background()) })
			return g
		}
		fails := func(b *breaker.Breaker) {
			for range 5 {
				_ = b.Do(t.Context(), func(context.Context) error { return errDown })
			}
			synctest.Wait()
			if err := b.Do(t.Context(), func(context.Context) error { return nil }); err == nil {
				t.Error("a call goes through")
			}
		}
		g := group(way, five)
		patient := five
		patient.RecoveryTimeout, patient.MaxRecoveryTimeout = time.Hour, time.Hour
		sibling := group(store, patient).Get("e")
		time.Sleep(10 * time.Second)
		fails(sibling)
		e := g.Get("e")
		fails(e)
		time.Sleep(five.RecoveryTimeout / 2)
		for i := range 4 { // as many as wait for the engine at a time
			fails(g.Get(fmt.Sprint(i)))
		}
		for e.State() != breaker.HalfOpen {
			time.Sleep(10 * time.Millisecond)
		}
		way.on.Store(true)
		for begun := time.Now(); way.waiting.Load() < 4; time.Sleep(10 * time.Millisecond) {
			if time.Since(begun) > time.Minute {
				t.Fatal("they do not ask for their turns")
			}
		}
		if err := e.Do(t.Context(), func(context.Context) error { return nil }); err != nil || e.State() != breaker.Closed {
			t.Fatalf("its probe: %v", err)
		}
		synctest.Wait()
		fails(e)
		synctest.Wait()
		way.on.Store(false)
		close(way.until)
		time.Sleep(3 * time.Second)
		if e.State() != breaker.Open || sibling.State() != breaker.Open {
			t.Errorf("open again, it has its sibling %v", sibling.State())
		}
	})
}
