package fleetsim

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/child"
	"github.com/otelbreaker/otelbreaker/e2e/internal/fleet"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
	"github.com/otelbreaker/otelbreaker/e2e/internal/timescale"
)

var (
	instances = flag.Int("instances", 100, "how many instances the fleet has; at least 70")
	endpoints = flag.Int("endpoints", 20, "how many endpoints each of them calls, a multiple of 4")
	hurry     = flag.Int("hurry", 20, "by how much time runs faster: an export of each instance every minute divided by this")
	processes = flag.Int("processes", 2, "how many processes the instances share")
	share     = flag.Int("share", 34, "the share of instances, in percent, that an outage reaches")
	memory    = flag.Float64("memory", 6, "GiB that all processes together may take; with more they are killed, and the test fails")
	write     = flag.Bool("write", false, "write the figures into docs/fleet-telemetry.md")
)

const gateways = 2

// route is a way from the gateways into Prometheus.
type route struct {
	name    string
	options []string // further configurations of the collector
	scraped bool
}

var (
	// sent is the way for gateways: over a queue on disk.
	sent    = route{name: "sent by OTLP", options: []string{"otel-collector-prometheus-otlp.yaml"}}
	scraped = route{name: "scraped", scraped: true}

	// noPage is the environment of a gateway that nobody scrapes.
	noPage = []string{"COLLECTOR_METRICS_EXPORTER=nop"}
)

// rig is a fleet, the gateways and Prometheus.
type rig struct {
	plan       fleet.Plan
	route      route
	hurry      int
	gateways   []*stack.Collector
	prometheus *stack.Prometheus
	fleets     []*child.Process
	sizes      []int // of the fleets
	rounds     int
	began      time.Time
	watch      *watch
	told       told
}

// setting is what a rig is made of.
type setting struct {
	plan     fleet.Plan
	route    route
	hurry    int
	noRules  bool     // Prometheus only stores
	gateways []string // further environment of the collectors
}

func start(t *testing.T, s setting) *rig {
	t.Helper()
	r := &rig{plan: s.plan, route: s.route, hurry: s.hurry, began: time.Now()}
	rewrite := rewriter(t, s)
	// A collector that sends starts after what it sends to, and the one that is scraped before what scrapes it.
	limit := fmt.Sprintf("COLLECTOR_MEMORY_MIB=%d", int(*memory*1024/2))
	run := func(environment ...string) {
		for range gateways {
			r.gateways = append(r.gateways, stack.StartWith(t, s.route.options, append(append(environment, limit), s.gateways...)...))
		}
	}
	feeds := stack.Feeds{Env: []string{fmt.Sprintf("GOMEMLIMIT=%dMiB", int(*memory*1024*0.6))}}
	if s.route.scraped {
		run()
		for _, g := range r.gateways {
			feeds.Collectors = append(feeds.Collectors, stack.Target{Address: hostOf(g.Prometheus)})
		}
	}
	r.prometheus = stack.StartPrometheusWith(t, feeds, rewrite)
	if !s.route.scraped {
		run("COLLECTOR_PROMETHEUS_OTLP_ENDPOINT=" + r.prometheus.URL + "/api/v1/otlp")
	}
	for _, g := range r.gateways {
		r.plan.Gateways = append(r.plan.Gateways, g.HTTP)
	}
	r.launch(t)
	r.watch = r.watches(t)
	return r
}

// launch starts the instances.
func (r *rig) launch(t *testing.T) {
	t.Helper()
	binary := child.Build(t, "../internal/fleet/program")
	for n := range *processes {
		plan := r.plan
		plan.First = r.plan.Instances * n / *processes
		plan.Instances = r.plan.Instances*(n+1) / *processes - plan.First
		plan.Twins = r.plan.Twins && n == 0
		f := child.Launch(t, binary, []string{
			"OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=none", "OTEL_TRACES_EXPORTER=none",
			"OTEL_METRIC_EXPORT_INTERVAL=3600000", // by itself; the rounds export
			"OTEL_EXPORTER_OTLP_COMPRESSION=gzip", // as between machines
		})
		if err := f.Call("Fleet.Start", plan, &struct{}{}); err != nil {
			t.Fatal(err)
		}
		r.fleets, r.sizes = append(r.fleets, f), append(r.sizes, plan.Instances)
	}
}

// end ends the instances, each of which exports once more. Without it they are ended without a word.
func (r *rig) end(t *testing.T) {
	t.Helper()
	for _, f := range r.fleets {
		if err := f.Call("Fleet.Stop", struct{}{}, &struct{}{}); err != nil {
			t.Errorf("stopping the instances: %v", err)
		}
	}
}

func hostOf(url string) string { return url[len("http://") : len(url)-len("/metrics")] }

// rewriter makes the files of deploy/prometheus as fast as the run is.
func rewriter(t *testing.T, s setting) func(name string, content []byte) ([]byte, error) {
	t.Helper()
	root, err := stack.FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, name := range []string{"circuit_breaker_alerts.yml", "circuit_breaker_recording.yml", "prometheus.yml"} {
		content, err := os.ReadFile(filepath.Join(root, "deploy", "prometheus", name))
		if err != nil {
			t.Fatal(err)
		}
		files["prometheus/"+name] = content
	}
	bounds := []float64{0.1, 0.25, 0.5, 1.5, 2.5, 7.5, 15.5, 30.5, 60.5, 120.5, 300.5, 600.5, 1800.5}
	scale, err := timescale.New(1/float64(s.hurry), bounds, files)
	if err != nil {
		t.Fatal(err)
	}
	return func(name string, content []byte) ([]byte, error) {
		switch {
		case files[name] == nil: // targets, and the rules' tests
			return content, nil
		case s.route.scraped && name == "prometheus/prometheus.yml":
			// Not in proportion: a page of so many series takes its time, however often instances export.
			return bytes.ReplaceAll(content, []byte("_interval: 15s"), []byte("_interval: 5s")), nil
		case s.noRules && name != "prometheus/prometheus.yml":
			return []byte("groups: []\n"), nil
		case s.hurry == 1:
			return content, nil
		}
		return scale.Rewrite(name, content)
	}
}

// interval is how long a round takes: each instance exports once in it.
func (r *rig) interval() time.Duration { return time.Minute / time.Duration(r.hurry) }

// begin begins a round in all processes at once. done waits for its end.
func (r *rig) begin(outage int, settle bool) (done func(t *testing.T) fleet.Exports) {
	r.rounds++
	round := fleet.Round{Number: r.rounds, Over: r.interval(), Outage: outage, Settle: settle}
	exports := make([]fleet.Exports, len(r.fleets))
	failed := make([]error, len(r.fleets))
	var ended []<-chan struct{}
	for n, f := range r.fleets {
		one := make(chan struct{})
		go func() {
			defer close(one)
			failed[n] = f.Call("Fleet.Play", round, &exports[n])
		}()
		ended = append(ended, one)
	}
	return func(t *testing.T) (all fleet.Exports) {
		t.Helper()
		for n, one := range ended {
			<-one
			e := exports[n]
			all.Accepted, all.Failed, all.Calls, all.Took = all.Accepted+e.Accepted, all.Failed+e.Failed, all.Calls+e.Calls, max(all.Took, e.Took)
			if e.Why != "" {
				all.Why = e.Why
			}
		}
		if err := errors.Join(failed...); err != nil {
			t.Fatal(err)
		}
		return all
	}
}

// play plays a round in which every export has to be taken.
func (r *rig) play(t *testing.T, outage int) {
	t.Helper()
	r.accepted(t, r.begin(outage, false)(t))
}

// settle plays rounds after which whatever can recover has.
func (r *rig) settle(t *testing.T, outage int) {
	t.Helper()
	r.accepted(t, r.begin(outage, true)(t))
}

func (r *rig) accepted(t *testing.T, e fleet.Exports) {
	t.Helper()
	t.Logf("round %d: %d calls, %d exports taken, in %v", r.rounds, e.Calls, e.Accepted, e.Took.Round(time.Millisecond))
	if e.Failed > 0 || e.Accepted != r.plan.Instances {
		t.Fatalf("round %d: %d of %d exports taken: %s", r.rounds, e.Accepted, r.plan.Instances, e.Why)
	}
}

// accounts are those of all instances.
func (r *rig) accounts(t *testing.T) (all []fleet.Account) {
	t.Helper()
	for n, f := range r.fleets {
		for index := range r.sizes[n] {
			var a fleet.Account
			if err := f.Call("Fleet.Account", index, &a); err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
	}
	return all
}
