package fleetsim

import (
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/fleet"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// TestFleet_SentThroughTwoGateways: no series of many instances collides or is lost, an outage that a part of them
// sees is told of rightly, and a gateway that is killed while Prometheus stands still loses nothing of what it had taken.
func TestFleet_SentThroughTwoGateways(t *testing.T) {
	r := start(t, setting{
		plan: fleet.Plan{Instances: *instances, Endpoints: *endpoints}, route: sent, hurry: *hurry, gateways: noPage,
	})
	r.play(t, 0)
	r.settle(t, 0)
	r.isExact(t, r.accounts(t))

	r.outage(t)
	r.killed(t)
	r.end(t)
	r.figures(t)
}

// TestFleet_ScrapedFromTwoGateways: the same series come in where Prometheus scrapes the gateways, also after one of them
// was killed and began with an empty page.
func TestFleet_ScrapedFromTwoGateways(t *testing.T) {
	r := start(t, setting{plan: fleet.Plan{Instances: *instances, Endpoints: *endpoints}, route: scraped, hurry: *hurry})
	r.play(t, 0)
	r.settle(t, *share)
	r.isExact(t, r.accounts(t))
	r.gateways[0].Kill(t)
	r.gateways[0].Restart(t)
	r.watch.follow(r)
	r.settle(t, *share)
	r.isExact(t, r.accounts(t))
	r.end(t)
	t.Log(r.watch)
}

// TestFleet_TwinsAreNoticed: where two instances have one service.instance.id, they share series, and the comparison does
// not call that exact.
func TestFleet_TwinsAreNoticed(t *testing.T) {
	r := start(t, setting{plan: fleet.Plan{Instances: 40, Endpoints: 4, Twins: true}, route: sent, hurry: *hurry, noRules: true})
	r.play(t, 0)
	r.settle(t, 0)
	accounts := r.accounts(t)
	r.waitUntil(t, "last sample of the last instance", func() bool {
		return len(r.differences(t, accounts[len(accounts)-1])) == 0
	})
	twin := fleet.NameOf(0).Instance
	var those, others int
	for _, a := range accounts {
		if a.Instance == twin {
			those += len(r.differences(t, a))
		} else {
			others += len(r.differences(t, a))
		}
	}
	if those == 0 || others > 0 {
		t.Errorf("%d differences of the twins, and %d of the others: want some, and none", those, others)
	}
	r.end(t)
}

// killed has Prometheus stand still for a part of a round, so that the gateways' queues fill, and kills one of them in
// the middle.
func (r *rig) killed(t *testing.T) {
	t.Helper()
	before := 0
	for _, a := range r.accounts(t) {
		before += a.Failed
	}
	if before > 0 {
		t.Fatalf("%d exports have failed before the gateway was killed", before)
	}
	r.prometheus.Pause(t)
	done := r.begin(*share, false)
	r.waitUntil(t, "third of the exports", func() bool { return r.progress(t) >= r.plan.Instances/3 })
	waiting := r.waiting(t, r.gateways[0])
	if waiting == 0 {
		t.Error("nothing waits in the queue of the gateway that is about to be killed: that it is not lost shows nothing")
	}
	r.gateways[0].Kill(t)
	killed := time.Now()
	r.waitUntil(t, "two thirds of the exports, but those to the gateway that is away", func() bool {
		return r.progress(t) >= r.plan.Instances/2 || time.Since(killed) > r.interval()
	})
	r.gateways[0].Restart(t)
	r.watch.follow(r)
	away := time.Since(killed)
	r.prometheus.Resume(t)
	e := done(t)
	t.Logf("round %d: a gateway was killed with %.1f KiB in its queue and was away for %v: %d exports taken, %d failed (%s)",
		r.rounds, waiting/1024, away.Round(time.Millisecond), e.Accepted, e.Failed, e.Why)

	accounts := r.accounts(t)
	r.waitUntil(t, "end of the queues", func() bool {
		return r.waiting(t, r.gateways[0])+r.waiting(t, r.gateways[1]) == 0
	})
	all := r.allTaken(t, accounts)
	t.Logf("of %d exports that a gateway had taken none is missing; of %d that failed %d arrived all the same",
		all.Accepted, all.Failed, all.ArrivedAllTheSame)
	r.settle(t, *share)
	r.isExact(t, r.accounts(t))
	r.told.Exports, r.told.Queue, r.told.Away = all, waiting, away
}

// progress is how many exports of the round have ended.
func (r *rig) progress(t *testing.T) (sum int) {
	t.Helper()
	for _, f := range r.fleets {
		var done int
		if err := f.Call("Fleet.Progress", r.rounds, &done); err != nil {
			t.Fatal(err)
		}
		sum += done
	}
	return sum
}

// waiting is how many bytes wait in a gateway's queue for Prometheus.
func (r *rig) waiting(t *testing.T, g *stack.Collector) float64 {
	t.Helper()
	page, err := g.Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return sumOf(parse(t, page), "otelcol_exporter_queue_size", "exporter", "prometheus")
}

// figures tells what the run took.
func (r *rig) figures(t *testing.T) {
	t.Helper()
	page, err := r.prometheus.Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own := parse(t, page)
	r.told.Head = sumOf(own, "prometheus_tsdb_head_series", "", "")
	for _, group := range []string{"circuit_breaker", "circuit_breaker_dashboards"} {
		r.told.Missed += sumOf(own, "prometheus_rule_group_iterations_missed_total", "rule_group", ";"+group)
	}
	t.Logf("%v; %.0f series in Prometheus with those of the rules; %.0f evaluations of rules missed", r.watch, r.told.Head, r.told.Missed)
	if failed := sumOf(own, "prometheus_rule_evaluation_failures_total", "", ""); failed > 0 {
		t.Errorf("%v evaluations of rules failed", failed)
	}
	for _, refused := range []string{"prometheus_tsdb_too_old_samples_total", "prometheus_tsdb_out_of_bound_samples_total"} {
		if n := sumOf(own, refused, "", ""); n > 0 {
			t.Errorf("Prometheus has refused samples: %s is %v", refused, n)
		}
	}
	r.told.Instances, r.told.Endpoints, r.told.Hurry = r.plan.Instances, r.plan.Endpoints, r.hurry
	r.told.GiB = r.watch.most()
	if *write {
		save(t, "fleet.json", r.told)
	}
}
