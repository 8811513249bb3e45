package fleet_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/fleet"
	"github.com/otelbreaker/otelbreaker/fleet/enginetest"
)

// model is a fleet in the plainest form there is, to compare the real one with. In it every replica knows at once what
// any does. No delay ever elapses, so it is about who is open, and why.
type model struct {
	threshold int
	policy    string
	share     float64
	all       []*modelReplica
	votes     int // so many were cast, which numbers them
}

type modelReplica struct {
	override breaker.Override
	open     bool
	rule     string // that opened it
	run      int    // of failures
	vote     int    // its number; 0: none
	void     map[int]bool
}

// against counts the votes of others that bear on a replica.
func (m *model) against(r *modelReplica) (votes int) {
	for _, other := range m.all {
		if other != r && other.vote != 0 && !r.void[other.vote] {
			votes++
		}
	}
	return votes
}

func (m *model) fail(r *modelReplica) {
	if r.override != breaker.Automatic || r.open {
		return
	}
	enough := m.threshold
	if m.policy == "advisory" && m.against(r) > 0 {
		enough = int(float64(m.threshold)*m.share + 0.9999)
	}
	if r.run++; r.run < enough {
		return
	}
	m.votes++
	r.open, r.rule, r.vote = true, breaker.RuleConsecutiveFailures, m.votes
	for _, other := range m.all {
		votes := m.against(other)
		if other.open || other.override != breaker.Automatic || votes == 0 {
			continue
		}
		switch {
		case m.policy == "leader":
			other.open, other.rule = true, breaker.RuleFleetLeader
		case m.policy == "quorum" && float64(votes)/float64(len(m.all)) >= m.share:
			other.open, other.rule = true, breaker.RuleFleetQuorum
		}
	}
}

func (m *model) succeed(r *modelReplica) {
	if !r.open {
		r.run = 0
	}
}

func (m *model) operate(r *modelReplica, o breaker.Override) {
	wasOpen := r.open
	if o == r.override && o != breaker.Automatic {
		return // only the reason is another
	}
	if o == breaker.Automatic && r.override == o && !wasOpen {
		r.run = 0 // which nobody is told of
		return
	}
	r.override, r.open, r.vote = o, o == breaker.ForcedOpen, 0
	switch o {
	case breaker.ForcedOpen:
		r.rule = breaker.RuleForced
		if !wasOpen {
			return // it was closed, and what it knew then stays as it was
		}
	case breaker.Automatic:
		r.run = 0
	}
	if o == breaker.Disabled && !wasOpen {
		r.run = 0 // what follows in the shadow moves nothing, and is forgotten by the Reset that ends it
	}
	r.void = map[int]bool{}
	for _, other := range m.all {
		r.void[other.vote] = true
	}
}

// schedules is how many are run: by default so many, a share of those that the environment asks of the core's model.
func schedules(t *testing.T, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv("OTELBREAKER_SCHEDULES")
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return max(1, n*otherwise/10_000)
}

// TestF08_SchedulesMatchTheModel runs random schedules against the model, for each policy.
func TestF08_SchedulesMatchTheModel(t *testing.T) {
	for seed := range schedules(t, 300) {
		synctest.Test(t, func(t *testing.T) {
			trace := runSchedule(t, rand.New(rand.NewPCG(seed, 1)))
			if t.Failed() {
				t.Logf("seed %d\n%s", seed, strings.Join(trace, "\n"))
			}
		})
	}
}

func runSchedule(t *testing.T, random *rand.Rand) (trace []string) {
	m := &model{threshold: 1 + random.IntN(5), share: []float64{0.3, 0.5, 0.75, 0.9}[random.IntN(4)]}
	var policy fleet.Policy
	switch random.IntN(3) {
	case 0:
		m.policy, policy = "leader", fleet.LeaderOfOne()
	case 1:
		m.policy, policy = "quorum", fleet.Quorum(m.share)
	default:
		m.policy, policy = "advisory", fleet.Advisory(m.share)
	}
	n := 2 + random.IntN(5)
	real := start(t, enginetest.NewMemory(), n, breaker.Config{FailureThreshold: m.threshold, RecoveryTimeout: time.Hour * 24 * 365,
		MaxRecoveryTimeout: time.Hour * 24 * 365}, fleet.WithPolicy(policy))
	for range n {
		m.all = append(m.all, &modelReplica{})
	}
	say := func(format string, args ...any) { trace = append(trace, fmt.Sprintf(format, args...)) }
	say("%s, %d replicas, threshold %d, share %v", m.policy, n, m.threshold, m.share)
	for range 60 {
		i := random.IntN(n)
		r, b := m.all[i], real[i].b
		switch random.IntN(12) {
		case 0:
			say("reset %d", i)
			b.Reset()
			m.operate(r, breaker.Automatic)
		case 1:
			say("force %d open", i)
			b.ForceOpen("test")
			m.operate(r, breaker.ForcedOpen)
		case 2:
			say("disable %d", i)
			b.Disable("test")
			m.operate(r, breaker.Disabled)
		case 3:
			say("a minute passes")
			time.Sleep(time.Minute)
		case 4:
			say("success of %d", i)
			_ = b.Do(t.Context(), (&upstream{}).call)
			m.succeed(r)
		default:
			say("failure of %d", i)
			real[i].fail(1)
			m.fail(r)
		}
		synctest.Wait()
		for i, r := range m.all {
			got := real[i].b.State() == breaker.Open
			rule := ""
			if got {
				rule = openRule(real[i])
			}
			if got != r.open || got && rule != r.rule {
				t.Errorf("replica %d is open: %v by %s, in the model %v by %s", i, got, rule, r.open, r.rule)
				return trace
			}
		}
	}
	return trace
}

// openRule is what opened it last: an operator who forces an open one makes the newest reason.
func openRule(r *replica) string {
	if r.b.Snapshot().Override == breaker.ForcedOpen {
		return breaker.RuleForced
	}
	return r.last().Reason.Rule
}

// TestF08_TroubleWedgesNothing lets calls, operators and every trouble with the store loose on a fleet. What must hold in
// any order: each move that is said to be the fleet's has a reason among the others, an override is not touched, and once
// all is well again, all share and are closed within bounds.
func TestF08_TroubleWedgesNothing(t *testing.T) {
	for seed := range schedules(t, 60) {
		synctest.Test(t, func(t *testing.T) {
			trace := runTrouble(t, rand.New(rand.NewPCG(seed, 2)))
			if t.Failed() {
				t.Logf("seed %d\n%s", seed, strings.Join(trace, "\n"))
			}
		})
	}
}

func runTrouble(t *testing.T, random *rand.Rand) (trace []string) {
	started := time.Now()
	say := func(format string, args ...any) {
		trace = append(trace, fmt.Sprintf("%v ", time.Since(started))+fmt.Sprintf(format, args...))
	}
	policy := []fleet.Policy{fleet.LeaderOfOne(), fleet.Quorum(0.5), fleet.Advisory(0.5)}[random.IntN(3)]
	store := enginetest.NewMemory()
	n := 3 + random.IntN(4)
	config := breaker.Config{FailureThreshold: 1 + random.IntN(4), RecoveryTimeout: time.Duration(1+random.IntN(8000)) * time.Millisecond,
		ProbeTimeout: 5 * time.Second, SuccessThreshold: 1 + random.IntN(3), MaxProbes: 1 + random.IntN(2)}
	all := start(t, store, n, config, fleet.WithPolicy(policy))
	u := &upstream{took: time.Duration(random.IntN(300)) * time.Millisecond}
	stop := traffic(u, all, time.Duration(20+random.IntN(500))*time.Millisecond)
	overridden := make([][2]time.Duration, n) // since when, and until when the newest override was
	for range 80 {
		i := random.IntN(n)
		r := all[i]
		switch random.IntN(14) {
		case 0:
			say("%d is cut off", i)
			r.way.goAway()
		case 1:
			say("%d hangs", i)
			r.way.hung.Store(true)
		case 2:
			say("%d can write nothing", i)
			r.way.full.Store(true)
		case 3, 4, 5:
			say("%d is well", i)
			r.way.away.Store(false)
			r.way.hung.Store(false)
			r.way.full.Store(false)
		case 6:
			say("all watches end")
			store.Cut()
		case 7:
			say("the store is empty")
			store.Clear()
		case 8:
			say("the dependency is down")
			u.down.Store(true)
		case 9, 10:
			say("the dependency is up")
			u.down.Store(false)
		case 11:
			say("%d is reset", i)
			if o := &overridden[i]; o[0] > o[1] {
				o[1] = time.Since(started)
			}
			r.b.Reset()
		case 12:
			if o := &overridden[i]; o[0] <= o[1] {
				say("%d is forced open", i)
				r.b.ForceOpen("test")
				o[0] = time.Since(started)
			}
		default:
			say("%d fails", i)
			r.fail(5)
		}
		time.Sleep(time.Duration(random.IntN(6000)) * time.Millisecond)
		synctest.Wait()
		for i, r := range all {
			if o := overridden[i]; o[0] > o[1] {
				if s := r.b.Snapshot(); s.State != breaker.Open || s.Override != breaker.ForcedOpen {
					t.Errorf("%d was forced open and is %v", i, s.State)
				}
			}
		}
	}
	say("all is well")
	u.down.Store(false)
	for _, r := range all {
		r.way.away.Store(false)
		r.way.hung.Store(false)
		r.way.full.Store(false)
		if r.b.Snapshot().Override != breaker.Automatic {
			r.b.Reset()
		}
	}
	time.Sleep(2 * time.Minute)
	wantStates(t, "two minutes after", all, n, 0, 0)
	for i, r := range all {
		if !r.member.Connected() || r.member.Replicas() != n {
			t.Errorf("%d: connected %v, knows of %d of %d", i, r.member.Connected(), r.member.Replicas(), n)
		}
	}
	justified(t, all)
	stop()
	for _, r := range all {
		if err := r.member.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	time.Sleep(time.Hour)
	if left := store.Entries(); len(left) != 0 {
		t.Errorf("left in the store: %q", left)
	}
	return trace
}

// justified looks for what the moves of the fleet can have come from: for an opening, a sibling that had opened by
// itself and was still taken to be open; for a closing, a probe of a sibling that had succeeded.
func justified(t *testing.T, all []*replica) {
	t.Helper()
	const (
		unseen = 20*time.Second + time.Second // a vote outlives its replica's connection so long
		told   = 30*time.Second + time.Second + time.Second
	)
	for i, r := range all {
		for _, e := range r.told() {
			found := false
			for j, other := range all {
				if i == j {
					continue
				}
				openedAt := time.Time{}
				for _, cause := range other.told() {
					switch {
					case cause.At.After(e.At):
					case cause.To == breaker.Open && !strings.HasPrefix(cause.Reason.Rule, "f"): // neither fleet_… nor forced
						openedAt = cause.At
						found = found || e.To == breaker.Open && e.At.Sub(cause.At) <= unseen
					case cause.To == breaker.Closed && !openedAt.IsZero():
						found = found || e.To == breaker.Open && e.At.Sub(cause.At) <= unseen
						found = found || e.To == breaker.Closed && cause.Reason.Rule == breaker.RuleProbesSucceeded && e.At.Sub(cause.At) <= told
						openedAt = time.Time{}
					case cause.To == breaker.Closed:
						found = found || e.To == breaker.Closed && cause.Reason.Rule == breaker.RuleProbesSucceeded && e.At.Sub(cause.At) <= told
					}
				}
				found = found || e.To == breaker.Open && !openedAt.IsZero()
			}
			if strings.HasPrefix(e.Reason.Rule, "fleet_") && !found {
				t.Errorf("replica %d, %v by %s: no sibling gave a reason", i, e.To, e.Reason.Rule)
			}
		}
	}
}
