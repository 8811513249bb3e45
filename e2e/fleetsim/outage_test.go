package fleetsim

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/otelbreaker/otelbreaker/e2e/internal/fleet"
	"github.com/otelbreaker/otelbreaker/e2e/internal/panel"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// mostRounds bounds the wait for an alert.
const mostRounds = 30

// outage takes one endpoint away from a part of the instances, and compares what alerts, rules and dashboards say of it
// with what is known.
func (r *rig) outage(t *testing.T) {
	t.Helper()
	service, endpoint := fleet.Services[0], fleet.Endpoint(fleet.Services[0], 0)
	want := 0
	for n := range r.plan.Instances {
		if fleet.Down(n, *share) {
			want++
		}
	}
	if want == 0 || 2*want >= r.plan.Instances {
		t.Fatalf("an outage that reaches %d of %d instances: want some, and fewer than half", want, r.plan.Instances)
	}
	began := time.Now()
	var alert *v1.Alert
	r.told.Cost = r.costOf(t, noPageName, func() {
		for round := 0; alert == nil; round++ {
			if round == mostRounds {
				t.Fatalf("no alert that names %d instances after %d rounds", want, round)
			}
			r.play(t, *share)
			alert = r.open(t, want)
		}
	})
	r.told.Open, r.told.Alerted = want, time.Since(began)
	t.Logf("alert after %v: %s; %s", r.told.Alerted.Round(time.Millisecond), alert.Annotations["summary"], alert.Annotations["state"])

	// The last round is over, so what is known stands still. In shortened time a busy machine lets samples grow old
	// before they are looked at: then there is one more.
	var accounts []fleet.Account
	for round := 0; ; round++ {
		r.settle(t, *share)
		accounts = r.accounts(t)
		r.isExact(t, accounts)
		if r.open(t, want) != nil {
			break
		}
		if round == mostRounds {
			t.Fatalf("no alert is left after %d more rounds", round)
		}
		r.play(t, *share)
	}
	k := known(accounts)
	if k.open[service+" "+endpoint] != want || len(k.open) != 1 {
		t.Fatalf("open by the instances' own accounts: %v, want %d of %s alone", k.open, want, endpoint)
	}
	r.onlyAlert(t, service, endpoint, want)
	r.expressions(t, k)
	r.dashboards(t, k)
	r.evaluations(t)
}

// open is the alert on the open breakers that says so many.
func (r *rig) open(t *testing.T, want int) *v1.Alert {
	t.Helper()
	result, err := r.prometheus.API.Alerts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range result.Alerts {
		number, err := strconv.ParseFloat(a.Value, 64)
		if err != nil {
			t.Fatal(err)
		}
		if a.Labels["alertname"] == "CircuitBreakerOpen" && a.State == v1.AlertStateFiring && number == float64(want) {
			return &a
		}
	}
	return nil
}

// onlyAlert checks that there is one alert on the open breakers, with the right numbers, and none on anything else.
func (r *rig) onlyAlert(t *testing.T, service, endpoint string, want int) {
	t.Helper()
	result, err := r.prometheus.API.Alerts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	opened := 0
	for _, a := range result.Alerts {
		t.Logf("alert %s (%s) on %s: %s", a.Labels["alertname"], a.State, a.Labels["endpoint"], a.Value)
		if string(a.Labels["service"]) != service || string(a.Labels["endpoint"]) != endpoint {
			t.Errorf("an alert on what is well: %v", a)
		}
		switch a.Labels["alertname"] {
		case "CircuitBreakerOpen":
			opened++
			for name, text := range map[model.LabelName]string{
				"summary": fmt.Sprintf("Circuit breaker to %s (%s) is open on %d of %d instances", service, endpoint, want, r.plan.Instances),
				"state":   fmt.Sprintf("%d open, 0 half-open, %d closed", want, r.plan.Instances-want),
			} {
				if got := string(a.Annotations[name]); got != text {
					t.Errorf("%s: %q, want %q", name, got, text)
				}
			}
		case "CircuitBreakerFleetOpen":
			t.Errorf("not half of the fleet is open, and there is an alert that it is: %v", a)
		}
	}
	if opened != 1 {
		t.Errorf("%d alerts on open breakers, want one", opened)
	}
}

// facts are what the instances' own accounts come to.
type facts struct {
	instances, breakers  int
	programs             map[string]int // instances by program
	each                 map[string]int // breakers of all instances by service
	open                 map[string]int // breakers by service and endpoint
	openBy, openProgram  map[string]int // by service, by program
	breakersOf           map[string]int // by program
	byState              [3]int
	overridden, openings int
	requests             map[string]float64 // by service and outcome
}

func known(accounts []fleet.Account) facts {
	k := facts{
		instances: len(accounts), programs: map[string]int{}, each: map[string]int{}, open: map[string]int{},
		openBy: map[string]int{}, openProgram: map[string]int{}, breakersOf: map[string]int{}, requests: map[string]float64{},
	}
	overridden := map[string]bool{}
	for _, a := range accounts {
		k.programs[a.Program]++
		for name, value := range a.Series {
			metric, labels := labelsOf(name)
			service, breaker := labels["service"], labels["service"]+" "+labels["endpoint"]
			switch metric {
			case "circuit_breaker_state":
				k.breakers++
				k.each[service]++
				k.breakersOf[a.Program]++
				k.byState[int(value.Low)]++
				if value.Low == 2 {
					k.open[breaker]++
					k.openBy[service]++
					k.openProgram[a.Program]++
				}
			case "circuit_breaker_override":
				if value.Low > 0 {
					overridden[breaker] = true
				}
			case "circuit_breaker_requests_total":
				k.requests[service+" "+labels["outcome"]] += value.Low
			case "circuit_breaker_transitions_total":
				if labels["from_state"] == "closed" && labels["to_state"] == "open" {
					k.openings += int(value.Low)
				}
			}
		}
	}
	k.overridden = len(overridden)
	return k
}

// labelsOf reads a series as Prometheus writes it; no value of ours has a quote or a comma in it.
func labelsOf(series string) (metric string, labels map[string]string) {
	metric, rest, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	labels = map[string]string{}
	for _, label := range strings.Split(rest, ", ") {
		name, value, _ := strings.Cut(label, "=")
		labels[name] = strings.Trim(value, `"`)
	}
	return metric, labels
}

func shareOf(part, whole map[string]int) map[string]float64 {
	shares := map[string]float64{}
	for name, n := range whole {
		shares[name] = float64(part[name]) / float64(n)
	}
	return shares
}

func numbers(of map[string]int) map[string]float64 {
	all := map[string]float64{}
	for name, n := range of {
		all[name] = float64(n)
	}
	return all
}

func one[N int | float64](n N) map[string]float64 { return map[string]float64{"": float64(n)} }

// expressions compares PromQL with what is known: by is what the values are told apart by, labels joined with a space.
func (r *rig) expressions(t *testing.T, k facts) {
	t.Helper()
	of := fmt.Sprintf("{service=%q, endpoint=%q}", fleet.Services[0], fleet.Endpoint(fleet.Services[0], 0))
	open := float64(k.open[fleet.Services[0]+" "+fleet.Endpoint(fleet.Services[0], 0)])
	for _, c := range []struct {
		promQL, by string
		want       map[string]float64
	}{
		{`sum by (service, endpoint) (circuit_breaker_state == bool 2) > 0`, "service endpoint", numbers(k.open)},
		{`count by (service) (circuit_breaker_state)`, "service", numbers(k.each)},
		{`service_endpoint:circuit_breaker_open:ratio` + of, "", one(open / float64(k.instances))},
		{`service_endpoint:circuit_breaker_refusing:ratio` + of, "", one(open / float64(k.instances))},
		{`sum(service_endpoint:circuit_breaker_open:ratio)`, "", one(open / float64(k.instances))}, // the others are 0
		{`sum by (service, outcome) (circuit_breaker_requests_total)`, "service outcome", k.requests},
		{`sum(circuit_breaker_transitions_total{from_state="closed", to_state="open"})`, "", one(k.openings)},
	} {
		var got map[string]float64
		var took time.Duration
		r.settles(t, c.promQL, c.want, func() map[string]float64 {
			result, duration, err := r.ask(t, c.promQL)
			if err != nil {
				t.Fatalf("%s: %v", c.promQL, err)
			}
			vector, ok := result.(model.Vector)
			if !ok {
				t.Fatalf("%s is no vector", c.promQL)
			}
			got, took = map[string]float64{}, duration
			for _, sample := range vector {
				var labels []string
				for _, name := range strings.Fields(c.by) {
					labels = append(labels, string(sample.Metric[model.LabelName(name)]))
				}
				got[strings.Join(labels, " ")] = float64(sample.Value)
			}
			return got
		})
		t.Logf("right after %v: %s", took.Round(time.Millisecond), c.promQL)
	}
}

// settles waits until something is what it should be: rules are evaluated, and panels drawn, in steps.
func (r *rig) settles(t *testing.T, what string, want map[string]float64, get func() map[string]float64) {
	t.Helper()
	timeout := time.After(r.patience())
	for {
		got := get()
		if maps.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
			return
		}
		select {
		case <-timeout:
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		case <-time.After(max(200*time.Millisecond, r.interval()/20)):
		}
	}
}

// dashboards compares what the panels show now with what is known.
func (r *rig) dashboards(t *testing.T, k facts) {
	t.Helper()
	root, err := stack.FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	all, err := panel.Load(filepath.Join(root, "deploy", "grafana", "dashboards"))
	if err != nil {
		t.Fatal(err)
	}
	service, endpoint := fleet.Services[0], fleet.Endpoint(fleet.Services[0], 0)
	this := map[string][]string{"service": {service}, "endpoint": {endpoint}}
	states := map[string]float64{}
	for s := range k.each {
		if states[s] = 0; k.openBy[s] > 0 {
			states[s] = 2
		}
	}
	instancesOf, programsOf := map[string]float64{}, map[string]float64{}
	for s := range k.each {
		instancesOf[s], programsOf[s] = float64(k.instances), float64(len(k.programs))
	}
	fraction := float64(k.byState[2]) / float64(k.breakers)
	for _, c := range []struct {
		dashboard, title string
		query            int
		by               string
		chosen           map[string][]string
		want             map[string]float64
	}{
		{"fleet", "Instances", 0, "", nil, one(k.instances)},
		{"fleet", "Programs", 0, "", nil, one(len(k.programs))},
		{"fleet", "Dependencies", 0, "", nil, one(len(k.each))},
		{"fleet", "Breakers", 0, "", nil, one(k.breakers)},
		{"fleet", "Open", 0, "", nil, one(len(k.open))},
		{"fleet", "Fleet open", 0, "", nil, one(fraction)},
		{"fleet", "Overrides", 0, "", nil, one(k.overridden)},
		{"fleet", "By dependency", 0, "service", nil, states},
		{"fleet", "By dependency", 1, "service", nil, shareOf(k.openBy, k.each)},
		{"fleet", "By dependency", 2, "service", nil, instancesOf},
		{"fleet", "By dependency", 3, "service", nil, programsOf},
		{"fleet", "Breakers by state", 0, "", nil, one(k.byState[2])},
		{"fleet", "Breakers by state", 1, "", nil, one(k.byState[1])},
		{"fleet", "Breakers by state", 2, "", nil, one(k.byState[0])},
		{"fleet", "Fleet open by dependency", 0, "service", nil, shareOf(k.openBy, k.each)},
		{"fleet", "Open by program", 0, "job", nil, shareOf(k.openProgram, k.breakersOf)},
		{"fleet", "Instances by program", 0, "job", nil, numbers(k.programs)},
		{"fleet", "Fleet open", 0, "", this, one(float64(k.open[service+" "+endpoint]) / float64(k.instances))},
		{"breaker", "Open on", 0, "", this, one(k.open[service+" "+endpoint])},
	} {
		d := all[slices.IndexFunc(all, func(d panel.Dashboard) bool { return d.UID == "otelbreaker-"+c.dashboard })]
		i := slices.IndexFunc(d.Panels, func(p panel.Panel) bool { return p.Title == c.title })
		if i < 0 {
			t.Errorf("no panel %q in %s", c.title, d.UID)
			continue
		}
		var took time.Duration
		name := fmt.Sprintf("%s: %s, query %d", d.UID, c.title, c.query)
		r.settles(t, name, c.want, func() (got map[string]float64) {
			got, took = r.shown(t, d.Panels[i], c.query, c.by, c.chosen)
			return got
		})
		r.told.Panels = append(r.told.Panels, timed{name, took})
		t.Logf("right after %v: %s", took.Round(time.Millisecond), name)
	}
}

// shown is the newest value of each series of a panel's query.
func (r *rig) shown(t *testing.T, p panel.Panel, query int, by string, chosen map[string][]string) (map[string]float64, time.Duration) {
	t.Helper()
	view := panel.View{From: r.began, To: time.Now(), Chosen: chosen, Interval: r.interval(), Shortened: r.hurry}
	begin := time.Now()
	answer, err := panel.Sources{Prometheus: r.prometheus.URL}.Ask(t.Context(), view, p, p.Targets[query])
	took := time.Since(begin)
	if err != nil {
		t.Fatalf("%s: %v", p.Title, err)
	}
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  *model.SamplePair
			Values []model.SamplePair
		}
	}
	if err := json.Unmarshal(answer.Data, &data); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, s := range data.Result {
		newest := s.Value
		if newest == nil {
			newest = &s.Values[len(s.Values)-1]
		}
		got[s.Metric[by]] = float64(newest.Value)
	}
	return got, took
}

// timed is how long something took.
type timed struct {
	Name string
	Took time.Duration
}

// evaluations tells how long the rules take.
func (r *rig) evaluations(t *testing.T) {
	t.Helper()
	result, err := r.prometheus.API.Rules(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.told.Rules = nil
	for _, g := range result.Groups {
		for _, rule := range g.Rules {
			switch rule := rule.(type) {
			case v1.RecordingRule:
				r.told.Rules = append(r.told.Rules, timed{rule.Name, time.Duration(rule.EvaluationTime * float64(time.Second))})
			case v1.AlertingRule:
				r.told.Rules = append(r.told.Rules, timed{rule.Name, time.Duration(rule.EvaluationTime * float64(time.Second))})
			}
		}
	}
	slices.SortFunc(r.told.Rules, func(a, b timed) int { return int(b.Took - a.Took) })
	page, err := r.prometheus.Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own := parse(t, page)
	r.told.Groups = nil
	for _, group := range []string{"circuit_breaker", "circuit_breaker_dashboards"} {
		seconds := 0.0
		for _, m := range own["prometheus_rule_group_last_duration_seconds"].GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "rule_group" && strings.HasSuffix(l.GetValue(), ";"+group) {
					seconds += m.GetGauge().GetValue()
				}
			}
		}
		r.told.Groups = append(r.told.Groups, timed{group, time.Duration(seconds * float64(time.Second))})
	}
	for _, g := range r.told.Groups {
		t.Logf("rules of %s: evaluated in %v", g.Name, g.Took.Round(time.Millisecond))
	}
	for _, rule := range r.told.Rules[:min(8, len(r.told.Rules))] {
		t.Logf("  %v %s", rule.Took.Round(time.Millisecond), rule.Name)
	}
}
