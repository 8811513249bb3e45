package enginetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/fleet"
)

// Figures are what [Fleet] has measured.
type Figures struct {
	Replicas int

	OpeningMedian, OpeningWorst time.Duration // from the failure that opened one breaker until another, or the last one, was open

	// Probes that reached the dependency: in a recovery period of the outage, from its end until all were closed, and the
	// most at a time. Alone is without a fleet.
	ProbesInOutage, ProbesInRecovery, ProbesAtOnce                float64
	ProbesInOutageAlone, ProbesInRecoveryAlone, ProbesAtOnceAlone float64

	Takeover  time.Duration // from the death of a replica that held the probe until another probed
	Healed    time.Duration // from the end of a partition until all who were cut off had learned of an opening
	Rejoined  time.Duration // from the store's return until all shared again; 0 where it cannot be taken away
	Reopening time.Duration // after that: from an opening until all were open
}

const (
	recovery = 2 * time.Second
	lease    = 3 * time.Second
	every    = 50 * time.Millisecond // a replica makes a call so often
)

// Fleet runs a fleet of so many replicas on the store, in real time and within this process, each with an engine and
// a breaker of its own: openings, an outage with traffic and the same without a fleet, a replica that dies with the
// probe, a partition, and the store's going away. It fails the test where something is wedged, is not seen within
// a second, or is left running. It takes about a minute.
func Fleet(t *testing.T, s Store, replicas int) Figures {
	f := Figures{Replicas: replicas}
	t.Run("fleet", func(t *testing.T) { // so that all is closed when it has returned
		all := newReplicas(t, s, replicas)
		all.openings(&f)
		all.outage(&f)
		all.death(&f)
		all.partition(&f)
		if s.Away != nil && s.Back != nil {
			all.restart(s, &f)
		}
		for _, r := range all.each {
			if err := r.member.Close(context.Background()); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	t.Run("alone", func(t *testing.T) { newReplicas(t, Store{}, replicas).outage(&f) })
	deadline := time.Now().Add(patience)
	for running() > 0 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	if n := running(); n > 0 {
		t.Errorf("%d goroutines of members are left", n)
	}
	return f
}

// running counts the goroutines that members have begun.
func running() int {
	stacks := make([]byte, 8<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return strings.Count(string(stacks), "created by github.com/otelbreaker/otelbreaker/fleet.")
}

// replicas are all of a fleet, or, without engines, as many that know nothing of each other.
type replicas struct {
	*testing.T
	each  []*replica
	alone bool

	down           atomic.Bool // the dependency
	probes         atomic.Int64
	flying         atomic.Int64
	most           atomic.Int64
	mu             sync.Mutex
	dying, blocked atomic.Pointer[replica] // its next probe hangs; its probe that hangs
}

type replica struct {
	b      *breaker.Breaker
	member *fleet.Member
	way    *way
	opened atomic.Int64 // Unix nanoseconds of the newest opening
	why    atomic.Pointer[breaker.Reason]
}

func (r *replica) OnTransition(e breaker.Event) {
	r.why.Store(&e.Reason)
	if e.To == breaker.Open && e.From == breaker.Closed {
		r.opened.Store(e.At.UnixNano())
	}
}

func newReplicas(t *testing.T, s Store, n int) *replicas {
	all := &replicas{T: t, alone: s.Open == nil}
	name := fmt.Sprintf("fleet-%d", time.Now().UnixNano())
	for range n {
		r := &replica{}
		var err error
		r.b, err = breaker.New(breaker.Config{Service: "payments", FailureThreshold: 3, RecoveryTimeout: recovery, ProbeTimeout: time.Minute}, r)
		if err != nil {
			t.Fatal(err)
		}
		all.each = append(all.each, r)
		if all.alone {
			continue
		}
		r.way = &way{Engine: s.Open(t)}
		r.member, err = fleet.Join(r.b, r.way, fleet.WithName(name), fleet.WithPolicy(fleet.LeaderOfOne()),
			fleet.WithHeartbeat(2*time.Second), fleet.WithProbeLease(lease), fleet.WithMaxReplicas(n+1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.member.Close(context.Background()) })
	}
	if !all.alone {
		all.await("all to know of all", all.each, func(r *replica) bool { return r.member.Connected() && r.member.Replicas() == n })
	}
	return all
}

// await waits until all these replicas are so.
func (all *replicas) await(what string, of []*replica, is func(*replica) bool) {
	all.Helper()
	deadline := time.Now().Add(2 * patience)
	for {
		left := slices.IndexFunc(of, func(r *replica) bool { return !is(r) })
		if left < 0 {
			return
		}
		if time.Now().After(deadline) {
			all.Fatalf("waited %v for %s; replica %d is %v by %+v", 2*patience, what, left, of[left].b.State(), of[left].why.Load())
		}
		time.Sleep(time.Millisecond)
	}
}

func isClosed(r *replica) bool { return r.b.State() == breaker.Closed }

var errDown = errors.New("the dependency is down")

func (r *replica) fail() time.Time {
	for range 2 {
		_ = r.b.Do(context.Background(), func(context.Context) error { return errDown })
	}
	at := time.Now()
	_ = r.b.Do(context.Background(), func(context.Context) error { return errDown })
	return at
}

// open opens one and gives how long the others took to follow.
func (all *replicas) open(first *replica, others []*replica) []time.Duration {
	at := first.fail()
	all.await("all to open", others, func(r *replica) bool { return r.opened.Load() >= at.UnixNano() && r.b.State() != breaker.Closed })
	var took []time.Duration
	for _, r := range others {
		took = append(took, time.Duration(r.opened.Load()-at.UnixNano()))
	}
	return took
}

// reset closes all, and waits until no vote is left that could open one again.
func (all *replicas) reset() {
	for _, r := range all.each {
		r.b.Reset()
	}
	time.Sleep(300 * time.Millisecond)
	for _, r := range all.each { // those whom a vote that was on its way has reached
		r.b.Reset()
	}
	all.await("all to be closed", all.each, isClosed)
}

func (all *replicas) openings(f *Figures) {
	var took, worst []time.Duration
	for round := range 10 {
		these := all.open(all.each[round*len(all.each)/10], all.each)
		took, worst = append(took, these...), append(worst, slices.Max(these))
		all.reset()
	}
	slices.Sort(took)
	slices.Sort(worst)
	f.OpeningMedian, f.OpeningWorst = took[len(took)/2], took[len(took)-1]
	if most := worst[len(worst)/2]; most >= time.Second { // the median, for this machine may have other things to do
		all.Errorf("an opening was seen by all after %v, want under a second; in each round: %v", most, worst)
	}
}

// call is a call of the dependency.
func (all *replicas) call(r *replica) {
	_ = r.b.Do(context.Background(), func(context.Context) error {
		if r.b.State() == breaker.HalfOpen {
			all.probes.Add(1)
			n := all.flying.Add(1)
			defer all.flying.Add(-1)
			all.mu.Lock()
			all.most.Store(max(all.most.Load(), n))
			all.mu.Unlock()
			if all.dying.CompareAndSwap(r, nil) {
				r.way.cut()
				all.blocked.Store(r)
				time.Sleep(2 * lease)
			}
		}
		time.Sleep(every / 2)
		if all.down.Load() {
			return errDown
		}
		return nil
	})
}

// traffic has all of them call, until stop.
func (all *replicas) traffic() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, r := range all.each {
		wg.Go(func() {
			for ctx.Err() == nil {
				all.call(r)
				time.Sleep(every)
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// outage lets the dependency fail under traffic for some recovery periods, and come back.
func (all *replicas) outage(f *Figures) {
	defer all.traffic()()
	all.down.Store(true)
	all.await("all to open", all.each, func(r *replica) bool { return r.b.State() != breaker.Closed })
	all.probes.Store(0)
	all.most.Store(0)
	const periods = 3
	time.Sleep(periods*recovery + recovery/4) // with the delays, in which a period is a little longer
	inOutage := float64(all.probes.Swap(0)) / periods
	all.down.Store(false)
	all.await("all to close", all.each, isClosed)
	inRecovery, most := float64(all.probes.Load()), float64(all.most.Load())
	if all.alone {
		f.ProbesInOutageAlone, f.ProbesInRecoveryAlone, f.ProbesAtOnceAlone = inOutage, inRecovery, most
		return
	}
	f.ProbesInOutage, f.ProbesInRecovery, f.ProbesAtOnce = inOutage, inRecovery, most
	if n := float64(len(all.each)); inOutage > max(2, n/20) || inRecovery > max(2, n/20) {
		all.Errorf("%v probes a period in the outage and %v in the recovery reached the dependency, of %v replicas", inOutage, inRecovery, n)
	}
}

// death has a replica die that holds the probe.
func (all *replicas) death(f *Figures) {
	defer all.traffic()()
	all.down.Store(true)
	all.await("all to open", all.each, func(r *replica) bool { return r.b.State() != breaker.Closed })
	for all.blocked.Load() == nil { // whoever probes next
		for _, r := range all.each {
			if r.b.State() == breaker.HalfOpen {
				all.dying.Store(r)
			}
		}
		time.Sleep(time.Millisecond)
	}
	died, dead := time.Now(), all.blocked.Load()
	all.down.Store(false)
	living := slices.DeleteFunc(slices.Clone(all.each), func(r *replica) bool { return r == dead })
	all.await("the living to close", living, isClosed)
	f.Takeover = time.Since(died)
	if f.Takeover < lease/2 {
		all.Errorf("the lease of one that died was taken over after %v", f.Takeover)
	}
	dead.way.mend()
	all.await("all to be connected", all.each, func(r *replica) bool { return r.member.Connected() })
	all.await("all to close", all.each, isClosed)
}

// partition cuts a third off, which learns nothing until it is healed, and then all.
func (all *replicas) partition(f *Figures) {
	cut, rest := all.each[:len(all.each)/3], all.each[len(all.each)/3:]
	for _, r := range cut {
		r.way.cut()
	}
	all.await("those cut off to notice", cut, func(r *replica) bool { return !r.member.Connected() })
	all.open(rest[0], rest)
	for _, r := range cut {
		if r.b.State() != breaker.Closed {
			all.Errorf("one that is cut off was opened by %+v", r.why.Load())
		}
	}
	all.open(cut[0], cut[:1]) // which carry on by themselves
	healed := time.Now()
	for _, r := range cut {
		r.way.mend()
	}
	all.await("all to learn of the opening", all.each, func(r *replica) bool { return r.b.State() != breaker.Closed })
	f.Healed = time.Since(healed)
	all.await("all to be connected", all.each, func(r *replica) bool { return r.member.Connected() && r.member.Replicas() == len(all.each) })
	stop := all.traffic()
	all.await("all to recover", all.each, isClosed)
	stop()
	all.reset()
}

// restart takes the store away and brings it back.
func (all *replicas) restart(s Store, f *Figures) {
	s.Away(all.T)
	all.await("all to notice", all.each, func(r *replica) bool { return !r.member.Connected() })
	all.open(all.each[0], all.each[:1])
	stop := all.traffic()
	all.await("one to open and recover without a store", all.each[:1], isClosed)
	stop()
	s.Back(all.T)
	back := time.Now()
	all.await("all to share again", all.each, func(r *replica) bool { return r.member.Connected() && r.member.Replicas() == len(all.each) })
	f.Rejoined = time.Since(back)
	all.reset() // of a vote that was being written as the store came back
	took := all.open(all.each[1], all.each)
	f.Reopening = slices.Max(took)
	stop = all.traffic()
	all.await("all to recover", all.each, isClosed)
	stop()
}

// way is a replica's way to the store, which can be cut.
type way struct {
	fleet.Engine
	away atomic.Bool
	mu   sync.Mutex
	ends map[int]context.CancelCauseFunc // watches
	next int
}

var errCutOff = errors.New("enginetest: this replica is cut off")

func (w *way) cut() {
	w.away.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, end := range w.ends {
		end(errCutOff)
	}
}

func (w *way) mend() { w.away.Store(false) }

func (w *way) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if w.away.Load() {
		return errCutOff
	}
	return w.Engine.Put(ctx, key, value, ttl)
}

func (w *way) CompareAndSwap(ctx context.Context, key string, old, value []byte, ttl time.Duration) (bool, error) {
	if w.away.Load() {
		return false, errCutOff
	}
	return w.Engine.CompareAndSwap(ctx, key, old, value, ttl)
}

func (w *way) CompareAndDelete(ctx context.Context, key string, old []byte) error {
	if w.away.Load() {
		return errCutOff
	}
	return w.Engine.CompareAndDelete(ctx, key, old)
}

func (w *way) Watch(ctx context.Context, prefix string, f func(fleet.Change)) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	w.mu.Lock()
	if w.ends == nil {
		w.ends = map[int]context.CancelCauseFunc{}
	}
	n := w.next
	w.next++
	w.ends[n] = end
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.ends, n)
	}()
	if w.away.Load() {
		return errCutOff
	}
	return w.Engine.Watch(ctx, prefix, f)
}
