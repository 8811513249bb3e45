package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Many goroutines at once leave no order to compare with a model, but what must hold in every order is still a lot.

// crowd is many callers of one breaker, with what they count themselves.
type crowd struct {
	b       *breaker.Breaker
	heard   heard
	pause   func(*rand.Rand)
	started atomic.Uint64
	told    [3]atomic.Uint64 // by outcome
	blocked atomic.Uint64
	stop    atomic.Bool
}

// TestG08_ACrowdIsCountedExactly lets callers, operators and readers loose on one breaker and then adds up.
func TestG08_ACrowdIsCountedExactly(t *testing.T) {
	rounds := int(number(t, schedulesVariable, 10_000) / 400)
	t.Run("virtual time", func(t *testing.T) {
		for seed := range uint64(rounds) {
			synctest.Test(t, func(t *testing.T) {
				runCrowd(t, seed, func(random *rand.Rand) { time.Sleep(pick(pauses[:9], byte(random.Uint32()))) })
			})
		}
	})
	// The clock does not stop while callers are at work here, so timers and leases end in their midst.
	t.Run("real time", func(t *testing.T) {
		for seed := range uint64(rounds) {
			runCrowd(t, seed, func(random *rand.Rand) {
				for range random.IntN(50) {
					runtime.Gosched()
				}
			})
		}
	})
}

// crowdConfig is a configuration under which much happens in little time.
func crowdConfig(random *rand.Rand) breaker.Config {
	c := breaker.Config{FailureThreshold: 1 + random.IntN(4), MaxProbes: 1 + random.IntN(4), SuccessThreshold: 1 + random.IntN(4),
		RecoveryTimeout: pick([]time.Duration{1, 20 * time.Microsecond, time.Millisecond, 1100 * time.Microsecond}, byte(random.Uint32())),
		ProbeTimeout:    pick([]time.Duration{time.Hour, 50 * time.Microsecond, time.Millisecond}, byte(random.Uint32())),
		BackoffFactor:   1.5, MaxRecoveryTimeout: 2 * time.Millisecond, Jitter: 0.5}
	if random.IntN(2) == 0 {
		c.FailureThreshold, c.FailureRate, c.WindowCalls, c.MinCalls = 0, 0.5, 10, 4
	}
	if random.IntN(2) == 0 {
		c.SlowCallRate, c.SlowCallDuration, c.WindowCalls, c.WindowDuration, c.MinCalls = 0.9, time.Millisecond, 0, time.Second, 3
	}
	return c
}

func runCrowd(t *testing.T, seed uint64, pause func(*rand.Rand)) {
	t.Helper()
	config := crowdConfig(rand.New(rand.NewPCG(seed, 0)))
	c := &crowd{pause: pause, heard: heard{started: time.Now()}}
	c.b = mustNew(t, config, &c.heard)
	var callers, others sync.WaitGroup
	for i := range uint64(8) {
		callers.Go(func() { c.call(rand.New(rand.NewPCG(seed, 1+i)), 150) })
	}
	if seed%3 == 0 {
		callers.Go(func() { c.operate(rand.New(rand.NewPCG(seed, 100)), config) })
	}
	others.Go(func() { c.read(t, rand.New(rand.NewPCG(seed, 200)), config) })
	callers.Wait()
	c.stop.Store(true)
	others.Wait()
	c.b.Reset() // so that nothing moves any more
	if err := c.b.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	s := c.b.Snapshot()
	c.checkTotals(t, s)
	checkChain(t, c.heard.raw, s)
	if t.Failed() {
		t.Fatalf("seed %d, %+v", seed, config)
	}
}

// call makes calls, of which up to four are in flight at a time, and ends every one of them.
func (c *crowd) call(random *rand.Rand, calls int) {
	var flying []*breaker.Permit
	for range calls {
		c.started.Add(1)
		o := breaker.Outcome(random.IntN(8) / 3) // 3/8 success, 3/8 failure, 2/8 ignored
		if random.IntN(3) == 0 {
			c.do(random, o)
			continue
		}
		p, err := c.b.Acquire(context.Background())
		if err != nil {
			c.block(err)
			c.pause(random)
			continue
		}
		flying = append(flying, &p)
		if random.IntN(2) == 0 {
			c.pause(random)
		}
		for len(flying) > random.IntN(4) {
			i := random.IntN(len(flying))
			c.done(flying[i], o)
			flying = append(flying[:i], flying[i+1:]...)
		}
	}
	for _, p := range flying {
		c.done(p, breaker.Success)
	}
}

// done ends a call, twice at once, of which one must count.
func (c *crowd) done(p *breaker.Permit, o breaker.Outcome) {
	var both sync.WaitGroup
	both.Go(func() { p.Done(context.Background(), o) })
	p.Done(context.Background(), o)
	both.Wait()
	c.told[o].Add(1)
}

func (c *crowd) do(random *rand.Rand, o breaker.Outcome) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	called := false
	err := c.b.Do(ctx, func(context.Context) error {
		called = true
		c.pause(random)
		switch o {
		case breaker.Success:
			return nil
		case breaker.Ignored:
			cancel()
		}
		return errors.New("a failure")
	})
	if !called {
		c.block(err)
		return
	}
	c.told[o].Add(1)
}

func (c *crowd) block(err error) {
	if errors.Is(err, breaker.ErrOpen) {
		c.blocked.Add(1)
	}
}

func (c *crowd) operate(random *rand.Rand, config breaker.Config) {
	for range 40 {
		c.pause(random)
		switch random.IntN(5) {
		case 0:
			c.b.ForceOpen("")
		case 1:
			c.b.Disable("")
		case 2, 3:
			c.b.Reset()
		default:
			config.FailureThreshold = 1 + random.IntN(5)
			if err := c.b.Reconfigure(config); err != nil {
				panic(err)
			}
		}
	}
}

// read looks at the breaker until it is told to stop: what it sees only grows, and never exceeds what is allowed.
func (c *crowd) read(t *testing.T, random *rand.Rand, config breaker.Config) {
	var before breaker.Snapshot
	for !c.stop.Load() {
		c.pause(random)
		s := c.b.Snapshot()
		if s.Success < before.Success || s.Failure < before.Failure || s.Ignored < before.Ignored ||
			s.Blocked < before.Blocked || s.Slow < before.Slow || s.Transitions < before.Transitions ||
			s.Generation < before.Generation || s.OpenTime < before.OpenTime {
			t.Errorf("a total fell: %+v, then %+v", before, s)
		}
		if total := sumOf(s); total > c.started.Load() {
			t.Errorf("%d calls counted, %d were begun", total, c.started.Load())
		}
		if s.ProbesInFlight > config.MaxProbes || s.State != breaker.HalfOpen && s.Override != breaker.Disabled && s.ProbesInFlight > 0 {
			t.Errorf("%d probes in flight of at most %d while %v", s.ProbesInFlight, config.MaxProbes, s.State)
		}
		before = s
	}
}

func sumOf(s breaker.Snapshot) uint64 { return s.Success + s.Failure + s.Ignored + s.Blocked }

// checkTotals compares what the breaker counted with what the callers did.
func (c *crowd) checkTotals(t *testing.T, s breaker.Snapshot) {
	t.Helper()
	if got, want := sumOf(s), c.started.Load(); got != want {
		t.Errorf("%d calls counted, %d made", got, want)
	}
	if got, want := s.Blocked, c.blocked.Load(); got != want || uint64(c.heard.blocked) != want {
		t.Errorf("%d calls blocked (and %d told), %d were", got, c.heard.blocked, want)
	}
	// A probe that outlives its lease is a failure, whatever it says later.
	success, failure, ignored := c.told[breaker.Success].Load(), c.told[breaker.Failure].Load(), c.told[breaker.Ignored].Load()
	if s.Success > success || s.Ignored > ignored || s.Failure < failure {
		t.Errorf("%d successes, %d failures, %d ignored counted; %d, %d, %d reported",
			s.Success, s.Failure, s.Ignored, success, failure, ignored)
	}
	if s.Config.ProbeTimeout == time.Hour && (s.Success != success || s.Ignored != ignored) {
		t.Errorf("%d successes and %d ignored counted; %d and %d reported", s.Success, s.Ignored, success, ignored)
	}
}

// checkChain holds the events against each other and against the snapshot that was taken after them.
func checkChain(t *testing.T, events []breaker.Event, s breaker.Snapshot) {
	t.Helper()
	legal := map[string]bool{}
	for _, edge := range []string{"closed>open", "open>half_open", "half_open>open", "half_open>closed", "open>closed"} {
		legal[edge] = true
	}
	var edges [3][3]uint64
	var last, opening breaker.Event // opening: of the outage that is going on
	outages := map[string]bool{}
	for i, e := range events {
		if e.Shadow || e.From == e.To {
			continue
		}
		fault := func(what string) { t.Errorf("event %d: %s: %+v after %+v", i, what, e, last) }
		edges[e.From][e.To]++
		switch edge := fmt.Sprintf("%v>%v", e.From, e.To); {
		case e.From != last.To:
			fault("does not follow")
		case !legal[edge]:
			fault("is no legal edge")
		case e.At.Before(last.At):
			fault("goes back in time")
		case e.OpenedBy == nil || e.Context == nil:
			fault("lacks a context")
		case e.From == breaker.Closed && (outages[e.OutageID] || e.BlockedCount != 0):
			fault("does not begin an outage")
		case e.From != breaker.Closed && e.OutageID != opening.OutageID:
			fault("changes the outage")
		case e.From != breaker.Closed && e.BlockedCount < last.BlockedCount:
			fault("has lost blocked calls")
		case e.To == breaker.Closed && e.RecoveryDuration != e.At.Sub(opening.At):
			fault("has a wrong recovery duration")
		case e.To == breaker.Open && !holds(e):
			fault("has a reason that does not hold")
		}
		if e.From == breaker.Closed {
			opening, outages[e.OutageID] = e, true
		}
		last = e
	}
	if s.EventsDropped == 0 && edges != s.Edges {
		t.Errorf("edges told %v, counted %v", edges, s.Edges)
	}
	if s.Override != breaker.Disabled && last.To != s.State {
		t.Errorf("the last event leads to %v, the state is %v", last.To, s.State)
	}
}

// holds tells whether an opening's numbers justify it.
func holds(e breaker.Event) bool {
	calls := e.FailureCount + e.SuccessCount
	switch r := e.Reason; r.Rule {
	case breaker.RuleConsecutiveFailures:
		return r.Observed >= r.Threshold && e.SuccessCount == 0 && float64(e.FailureCount) == r.Observed
	case breaker.RuleFailureRate:
		return r.Observed >= r.Threshold && float64(e.FailureCount)/float64(calls) == r.Observed
	case breaker.RuleSlowCallRate:
		return r.Observed >= r.Threshold && r.Observed <= 1 && calls > 0
	case breaker.RuleProbeFailed, breaker.RuleProbeTimeout:
		return r.Observed >= r.Threshold && float64(e.FailureCount) >= r.Observed
	case breaker.RuleForced:
		return true
	}
	return false
}

// TestG01_AHerdNeverExceedsTheProbes counts, in the guarded function itself, how many calls are in it while the
// breaker is half-open and calls of an earlier time come to their ends.
func TestG01_AHerdNeverExceedsTheProbes(t *testing.T) {
	for _, most := range []int{1, 2, 3, 7} {
		synctest.Test(t, func(t *testing.T) {
			const callers, each = 32, 40
			b := mustNew(t, breaker.Config{FailureThreshold: 1, MaxProbes: most, SuccessThreshold: 1 << 30, RecoveryTimeout: time.Second})
			late := make([]breaker.Permit, callers)
			for i := range late {
				late[i], _ = b.Acquire(t.Context())
			}
			if err := b.Do(t.Context(), fail); !errors.Is(err, errDown) {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			var inside, highest, made atomic.Int64
			var herd sync.WaitGroup
			for i := range callers {
				herd.Go(func() {
					random := rand.New(rand.NewPCG(uint64(i), 0))
					for n := range each {
						err := b.Do(t.Context(), func(context.Context) error {
							made.Add(1)
							now := inside.Add(1)
							defer inside.Add(-1)
							for have := highest.Load(); now > have && !highest.CompareAndSwap(have, now); {
								have = highest.Load()
							}
							time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
							return nil
						})
						if err != nil {
							time.Sleep(time.Millisecond)
						}
						if n == each/2 {
							late[i].Done(t.Context(), breaker.Outcome(i%3))
						}
					}
				})
			}
			herd.Wait()
			if got := highest.Load(); got != int64(most) {
				t.Errorf("at most %d probes were in flight at once, want exactly %d", got, most)
			}
			if s := b.Snapshot(); s.State != breaker.HalfOpen || sumOf(s) != 1+callers+callers*each || s.Blocked != callers*each-uint64(made.Load()) {
				t.Errorf("%d calls went through, snapshot %+v", made.Load(), s)
			}
		})
	}
}
