package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/fleet"
	"github.com/otelbreaker/otelbreaker/fleet/enginetest"
)

// unsteady is a replica's way to the store, on which everything can happen.
type unsteady struct {
	fleet.Engine
	cut  atomic.Pointer[context.CancelFunc]
	away atomic.Bool // nothing gets through, and all says so
	full atomic.Bool // nothing can be written
	hung atomic.Bool // operations end with their context alone; watches tell nothing
}

var errAway = errors.New("the store is away")

func (u *unsteady) trouble(ctx context.Context) error {
	switch {
	case u.hung.Load():
		<-ctx.Done()
		return context.Cause(ctx)
	case u.away.Load(), u.full.Load():
		return errAway
	}
	return nil
}

func (u *unsteady) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := u.trouble(ctx); err != nil {
		return err
	}
	return u.Engine.Put(ctx, key, value, ttl)
}

func (u *unsteady) CompareAndSwap(ctx context.Context, key string, old, value []byte, ttl time.Duration) (bool, error) {
	if err := u.trouble(ctx); err != nil {
		return false, err
	}
	return u.Engine.CompareAndSwap(ctx, key, old, value, ttl)
}

func (u *unsteady) CompareAndDelete(ctx context.Context, key string, old []byte) error {
	if err := u.trouble(ctx); err != nil {
		return err
	}
	return u.Engine.CompareAndDelete(ctx, key, old)
}

func (u *unsteady) Watch(ctx context.Context, prefix string, f func(fleet.Change)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if u.away.Load() {
		return errAway
	}
	end := context.CancelFunc(func() { cancel(errAway) })
	u.cut.Store(&end)
	return u.Engine.Watch(ctx, prefix, func(c fleet.Change) {
		if !u.hung.Load() {
			f(c)
		}
	})
}

// goAway cuts this replica off.
func (u *unsteady) goAway() {
	u.away.Store(true)
	if end := u.cut.Load(); end != nil {
		(*end)()
	}
}

// replica is one process of the fleet.
type replica struct {
	name   string
	b      *breaker.Breaker
	way    *unsteady
	member *fleet.Member

	mu     sync.Mutex
	events []breaker.Event
}

func (r *replica) OnTransition(e breaker.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *replica) told() []breaker.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]breaker.Event(nil), r.events...)
}

// last is what moved it last.
func (r *replica) last() breaker.Event {
	if told := r.told(); len(told) > 0 {
		return told[len(told)-1]
	}
	return breaker.Event{}
}

var errDown = errors.New("the dependency is down")

func (r *replica) fail(times int) {
	for range times {
		_ = r.b.Do(context.Background(), func(context.Context) error { return errDown })
	}
}

// start makes replicas of one fleet, in a bubble, and waits until they are joined.
func start(t *testing.T, m *enginetest.Memory, n int, c breaker.Config, opts ...fleet.Option) []*replica {
	t.Helper()
	all := make([]*replica, n)
	for i := range all {
		all[i] = newReplica(t, m, fmt.Sprintf("r%03d", i), c, opts...)
	}
	time.Sleep(fleet.DefaultHeartbeat)
	synctest.Wait()
	return all
}

func newReplica(t *testing.T, m *enginetest.Memory, name string, c breaker.Config, opts ...fleet.Option) *replica {
	t.Helper()
	r := &replica{name: name, way: &unsteady{Engine: m}}
	var err error
	if r.b, err = breaker.New(c, r); err != nil {
		t.Fatal(err)
	}
	if r.member, err = fleet.Join(r.b, r.way, append([]fleet.Option{fleet.WithReplica(name)}, opts...)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.member.Close(context.Background()) })
	return r
}

// states counts the replicas by state.
func states(all []*replica) (n [3]int) {
	for _, r := range all {
		n[r.b.State()]++
	}
	return n
}

func wantStates(t *testing.T, when string, all []*replica, closed, halfOpen, open int) {
	t.Helper()
	synctest.Wait()
	if got := states(all); got != [3]int{closed, halfOpen, open} {
		t.Errorf("%s: closed, half-open and open are %v, want [%d %d %d]", when, got, closed, halfOpen, open)
	}
}

// upstream is the dependency, and counts what reaches it.
type upstream struct {
	down    atomic.Bool
	took    time.Duration
	calls   atomic.Int64
	flying  atomic.Int64
	most    atomic.Int64 // in flight at once, while down
	counted sync.Mutex
}

func (u *upstream) call(context.Context) error {
	u.calls.Add(1)
	n := u.flying.Add(1)
	defer u.flying.Add(-1)
	if u.down.Load() {
		u.counted.Lock()
		u.most.Store(max(u.most.Load(), n))
		u.counted.Unlock()
	}
	time.Sleep(u.took)
	if u.down.Load() {
		return errDown
	}
	return nil
}

// traffic has every replica call the upstream every so often, until stop.
func traffic(u *upstream, all []*replica, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i, r := range all {
		wg.Go(func() {
			time.Sleep(every * time.Duration(i) / time.Duration(len(all)))
			for ctx.Err() == nil {
				_ = r.b.Do(context.Background(), u.call)
				time.Sleep(every)
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}
