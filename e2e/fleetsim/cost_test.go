package fleetsim

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/e2e/internal/fleet"
)

var sizes = flag.String("sizes", "10,30", "how many instances the fleets have whose costs are measured, the least first")

// cost is what a fleet of a size costs, all gateways together. All of a minute, in which every instance exports once.
type cost struct {
	Route                string
	Instances, Endpoints int
	CPU                  float64 // seconds
	Resident             float64 // bytes, at most
	In, Out              float64 // bytes, from the instances and to Prometheus
	PrometheusCPU        float64 // seconds, without rules
	PrometheusResident   float64 // bytes, at most
}

const noPageName = "sent by OTLP, no page"

// measured are the ways whose costs are told.
var measured = []struct {
	name string
	env  []string // of the gateways
}{
	{noPageName, noPage},
	{"sent by OTLP, with the page", nil},
}

// rounds in which is measured, after one in which all begins.
const measuredRounds = 3

// TestFleet_Costs measures what instances cost in the gateways, and that it grows no faster than they do.
func TestFleet_Costs(t *testing.T) {
	var all []cost
	for _, m := range measured {
		var of []cost
		for _, size := range strings.Split(*sizes, ",") {
			n, err := strconv.Atoi(size)
			if err != nil {
				t.Fatalf("-sizes %q: %v", *sizes, err)
			}
			t.Run(fmt.Sprintf("%s/%d", m.name, n), func(t *testing.T) {
				of = append(of, costOf(t, m.name, m.env, n))
			})
		}
		if t.Failed() {
			return
		}
		if first, last := of[0], of[len(of)-1]; last.Resident/first.Resident > 1.5*float64(last.Instances)/float64(first.Instances) {
			t.Errorf("%s: %d instances take %.0f MiB, and %d take %.0f", m.name, first.Instances, first.Resident/mib, last.Instances, last.Resident/mib)
		}
		all = append(all, of...)
		if *write {
			save(t, "costs.json", all)
		}
	}
}

const mib = 1 << 20

func costOf(t *testing.T, name string, env []string, n int) cost {
	t.Helper()
	hurry := min(max(1, 1000/n), 60) // so that instances do not queue up: each takes some hundredths of a second
	r := start(t, setting{
		plan: fleet.Plan{Instances: n, Endpoints: *endpoints}, route: sent, hurry: hurry, noRules: true, gateways: env,
	})
	r.play(t, 0)
	c := r.costOf(t, name, func() {
		for range measuredRounds {
			r.play(t, 0)
		}
	})
	if c.CPU <= 0 || c.Resident <= 0 || c.In <= 0 || c.Out <= 0 {
		t.Errorf("something costs nothing: %+v", c)
	}
	t.Logf("%d instances with %d endpoints, %s: gateways %.2f s of CPU a minute, %.0f MiB, %.0f KiB in and %.0f out a minute; Prometheus %.2f s, %.0f MiB",
		n, *endpoints, name, c.CPU, c.Resident/mib, c.In/1024, c.Out/1024, c.PrometheusCPU, c.PrometheusResident/mib)
	r.end(t)
	return c
}

// costOf is what rounds cost that are played meanwhile.
func (r *rig) costOf(t *testing.T, name string, play func()) cost {
	t.Helper()
	before, stored, first := r.spent(t), usageNow(t, r.prometheus.PID()), r.rounds
	play()
	r.waitUntil(t, "end of the queues", func() bool { return r.waiting(t, r.gateways[0])+r.waiting(t, r.gateways[1]) == 0 })
	after, storing, rounds := r.spent(t), usageNow(t, r.prometheus.PID()), float64(r.rounds-first)
	return cost{
		Route: name, Instances: r.plan.Instances, Endpoints: r.plan.Endpoints,
		CPU: (after.cpu - before.cpu).Seconds() / rounds, Resident: after.peak,
		In: (after.read - before.read) / rounds, Out: (storing.read - stored.read) / rounds,
		PrometheusCPU: (storing.cpu - stored.cpu).Seconds() / rounds, PrometheusResident: storing.peak,
	}
}

// spent is what the gateways have taken so far, together.
func (r *rig) spent(t *testing.T) (sum usage) {
	t.Helper()
	for _, g := range r.gateways {
		u := usageNow(t, g.PID())
		sum.cpu += u.cpu
		sum.peak += u.peak
		sum.read += u.read
	}
	return sum
}

// line is a straight one through what was measured: so much for a gateway of its own, and so much an instance.
type line struct{ fixed, each float64 }

// fit is the line with the least squares.
func fit(costs []cost, of func(cost) float64) line {
	var n, x, y, xx, xy float64
	for _, c := range costs {
		i, v := float64(c.Instances), of(c)
		n, x, y, xx, xy = n+1, x+i, y+v, xx+i*i, xy+i*v
	}
	each := (n*xy - x*y) / (n*xx - x*x)
	return line{(y - each*x) / n, each}
}
