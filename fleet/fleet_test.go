package fleet_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/fleet"
	"github.com/otelbreaker/otelbreaker/fleet/enginetest"
)

var five = breaker.Config{FailureThreshold: 5, RecoveryTimeout: 10 * time.Second}

func TestF04_LeaderOfOneOpensAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := start(t, enginetest.NewMemory(), 20, five, fleet.WithPolicy(fleet.LeaderOfOne()))
		all[3].fail(5)
		wantStates(t, "one has opened", all, 0, 0, 20)
		for i, r := range all {
			why := r.last().Reason
			if i == 3 && why.Rule != breaker.RuleConsecutiveFailures ||
				i != 3 && (why != breaker.Reason{Rule: breaker.RuleFleetLeader, Observed: 1, Threshold: 1, Note: "replica r003"}) {
				t.Errorf("%s opened for %+v", r.name, why)
			}
		}
	})
}

func TestF04_AQuorumOpensAllAndFewerDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := start(t, enginetest.NewMemory(), 10, five, fleet.WithPolicy(fleet.Quorum(0.4)))
		for i := range 3 {
			all[i].fail(5)
		}
		wantStates(t, "three of ten have opened", all, 7, 0, 3)
		all[3].fail(5)
		wantStates(t, "four of ten have opened", all, 0, 0, 10)
		if why := all[9].last().Reason; why.Rule != breaker.RuleFleetQuorum || why.Observed != 0.4 || why.Threshold != 0.4 {
			t.Errorf("the last opened for %+v", why)
		}
	})
}

func TestF04_AQuorumIsOfTheLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := start(t, enginetest.NewMemory(), 10, breaker.Config{FailureThreshold: 5, RecoveryTimeout: time.Hour}, fleet.WithPolicy(fleet.Quorum(0.5)))
		for i := range 3 {
			all[i].fail(5)
		}
		wantStates(t, "three of ten have opened", all, 7, 0, 3)
		for i := 6; i < 10; i++ {
			_ = all[i].member.Close(t.Context()) // who leaves says so
		}
		wantStates(t, "three of six have opened", all[:6], 0, 0, 6)
	})
}

func TestF04_AdviceLowersTheThresholdWhileASiblingIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := start(t, enginetest.NewMemory(), 3, five, fleet.WithPolicy(fleet.Advisory(0.4)))
		all[0].fail(5)
		wantStates(t, "one has opened", all, 2, 0, 1)
		all[1].fail(1)
		wantStates(t, "another has failed once", all, 2, 0, 1)
		all[1].fail(1)
		wantStates(t, "it has failed twice", all, 1, 0, 2)
		if why := all[1].last().Reason; why.Rule != breaker.RuleConsecutiveFailures || why.Threshold != 2 {
			t.Errorf("it opened for %+v", why)
		}
		for _, r := range all[:2] {
			r.b.Reset()
		}
		synctest.Wait()
		if s := all[2].b.Snapshot(); s.Advice != 1 {
			t.Errorf("once all are closed the advice is still %v", s.Advice)
		}
	})
}

func TestF04_WhoComesLaterLearnsWhatStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := enginetest.NewMemory()
		all := start(t, m, 2, breaker.Config{FailureThreshold: 5, RecoveryTimeout: time.Hour}, fleet.WithPolicy(fleet.LeaderOfOne()))
		all[0].fail(5)
		late := newReplica(t, m, "late", five, fleet.WithPolicy(fleet.LeaderOfOne()))
		time.Sleep(fleet.DefaultHeartbeat)
		wantStates(t, "it came with one open", []*replica{late}, 0, 0, 1)
	})
}

// An operator's reset stands: what was known before does not open it again, and what comes after does.
func TestF03_AResetIsNotUndoneByOldVotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := start(t, enginetest.NewMemory(), 3, breaker.Config{FailureThreshold: 5, RecoveryTimeout: time.Hour}, fleet.WithPolicy(fleet.LeaderOfOne()))
		all[0].fail(5)
		wantStates(t, "one has opened", all, 0, 0, 3)
		all[2].b.Reset()
		time.Sleep(time.Minute)
		wantStates(t, "one was reset", all, 1, 0, 2)
		all[1].b.Reset()
		synctest.Wait()
		all[1].fail(5)
		wantStates(t, "another, reset as well, has opened by itself", all, 0, 0, 3)
	})
}

func TestF03_AnOverriddenBreakerNeitherVotesNorFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := start(t, enginetest.NewMemory(), 4, five, fleet.WithPolicy(fleet.LeaderOfOne()))
		all[0].b.ForceOpen("maintenance")
		wantStates(t, "one was forced open", all, 3, 0, 1)
		all[1].b.Disable("trial")
		all[1].fail(10)
		wantStates(t, "one is disabled and would have opened", all, 3, 0, 1)
		all[2].fail(5)
		wantStates(t, "one has opened", all, 1, 0, 3)
		all[2].b.ForceOpen("it is known") // its vote goes
		synctest.Wait()
		late := all[3]
		late.b.Reset()
		time.Sleep(time.Minute)
		wantStates(t, "that one was taken over, and another reset", all, 2, 0, 2)
		if o := all[0].b.Snapshot().Override; o != breaker.ForcedOpen {
			t.Errorf("the override is %v", o)
		}
	})
}

// While all are open one probes at a time, and the success of one releases all.
func TestF05_OneProbesAtATimeAndItsSuccessReleasesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := start(t, enginetest.NewMemory(), 100, five, fleet.WithPolicy(fleet.LeaderOfOne()))
		u := &upstream{took: 20 * time.Millisecond}
		stop := traffic(u, all, 100*time.Millisecond)
		defer func() { stop() }()
		u.down.Store(true)
		time.Sleep(5 * time.Second)
		wantStates(t, "the upstream is down", all, 0, 0, 100)
		u.calls.Store(0)
		u.most.Store(0)
		time.Sleep(2 * time.Minute)
		if probes, most := u.calls.Load(), u.most.Load(); probes < 9 || probes > 13 || most != 1 {
			t.Errorf("in two minutes %d probes reached the upstream, want one in some ten seconds; at once %d", probes, most)
		}
		u.down.Store(false)
		begun := time.Now()
		for states(all)[breaker.Closed] < 100 {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(begun); took > 12*time.Second {
			t.Errorf("all were closed after %v", took)
		}
		own, released, moments := 0, 0, map[time.Time]int{}
		for _, r := range all {
			switch e := r.last(); e.Reason.Rule {
			case breaker.RuleProbesSucceeded:
				own++
			case breaker.RuleFleetRecovered:
				released++
				moments[e.At.Truncate(50*time.Millisecond)]++
			default:
				t.Errorf("%s is closed by %+v", r.name, e.Reason)
			}
		}
		if own != 1 || released != 99 {
			t.Errorf("%d closed by their own probes, %d were released; want 1 and 99", own, released)
		}
		for at, n := range moments { // a twentieth of the jitter
			if n > 20 {
				t.Errorf("%d were released within 50 ms of %v", n, at)
			}
		}
		time.Sleep(time.Minute)
		wantStates(t, "a minute later", all, 100, 0, 0)
		stop()
		stop = func() {}
	})
}

// A replica that alone cannot reach the dependency does not keep the others waiting.
func TestF05_TurnsAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := start(t, enginetest.NewMemory(), 5, five)
		lost, others := &upstream{}, &upstream{}
		lost.down.Store(true)
		others.down.Store(true)
		stops := []func(){traffic(lost, all[:1], 50*time.Millisecond), traffic(others, all[1:], 50*time.Millisecond)}
		time.Sleep(time.Minute)
		wantStates(t, "none can reach it", all, 0, 0, 5)
		others.down.Store(false)
		time.Sleep(time.Minute)
		if closed := states(all[1:])[breaker.Closed]; closed != 4 {
			t.Errorf("of the four that can reach the dependency %d are closed", closed)
		}
		if all[0].b.State() == breaker.Closed {
			t.Error("the one that cannot is closed")
		}
		for _, stop := range stops {
			stop()
		}
	})
}

func TestF05_WhoDiesWithTheProbeFreesItByLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := start(t, enginetest.NewMemory(), 3, five, fleet.WithPolicy(fleet.LeaderOfOne()))
		u := &upstream{}
		u.down.Store(true)
		all[0].fail(5)
		synctest.Wait()
		all[0].fail(1) // only it has calls
		time.Sleep(11 * time.Second)
		wantStates(t, "the delay is over", all, 0, 1, 2)
		var permit breaker.Permit
		permit, err := all[0].b.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all[0].way.hung.Store(true) // as one that was killed: nothing of it is heard any more
		died := time.Now()
		stop := traffic(&upstream{}, all[1:], 50*time.Millisecond)
		for states(all[1:])[breaker.Closed] < 2 {
			time.Sleep(50 * time.Millisecond)
		}
		if took := time.Since(died); took > fleet.DefaultProbeLease+5*time.Second {
			t.Errorf("the others recovered %v after it had died", took)
		}
		stop()
		permit.Done(context.Background(), breaker.Success)
	})
}

// A hanging probe keeps its lease for as long as the replica lives, so that no second one comes beside it.
func TestF05_ALeaseIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := start(t, enginetest.NewMemory(), 5, five, fleet.WithPolicy(fleet.LeaderOfOne()))
		u := &upstream{took: 45 * time.Second}
		u.down.Store(true)
		all[0].fail(5)
		stop := traffic(u, all, 50*time.Millisecond)
		time.Sleep(time.Minute + 30*time.Second)
		if u.most.Load() != 1 || u.calls.Load() < 1 {
			t.Errorf("%d probes, %d of them at once", u.calls.Load(), u.most.Load())
		}
		u.down.Store(false)
		time.Sleep(2 * time.Minute)
		wantStates(t, "it is back", all, 5, 0, 0)
		stop()
	})
}

func TestG04_AFleetWithoutTrafficGoesHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := start(t, enginetest.NewMemory(), 5, five, fleet.WithPolicy(fleet.LeaderOfOne()))
		all[0].fail(5)
		time.Sleep(10*time.Second + fleet.DefaultHoldBound)
		wantStates(t, "no call has come", all, 0, 5, 0)
	})
}
