package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/rpc"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/otelbreaker/otelbreaker/e2e/internal/caller"
	"github.com/otelbreaker/otelbreaker/e2e/internal/child"
	"github.com/otelbreaker/otelbreaker/e2e/internal/panel"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
	"github.com/otelbreaker/otelbreaker/e2e/internal/timescale"
)

// supplier is a dependency of the store, and how it behaves now.
type supplier struct {
	service, endpoint string
	url               string
	failing           atomic.Uint64 // the share of calls that fail, in percent
	only              atomic.Value  // string: for this instance alone, unless empty
	slow              atomic.Int64  // nanoseconds
}

func (s *supplier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	only, _ := s.only.Load().(string)
	mine := only == "" || only == r.Header.Get(caller.InstanceHeader)
	if d := s.slow.Load(); d > 0 && mine {
		select {
		case <-time.After(time.Duration(d)):
		case <-r.Context().Done():
		}
	}
	if mine && rand.Uint64N(100) < s.failing.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// The dependencies. Each test has them for itself, one after the other.
var (
	payments        = &supplier{service: "payments", endpoint: "https://pay.example:443"}
	inventory       = &supplier{service: "inventory", endpoint: "http://inventory.internal:8080"}
	recommendations = &supplier{service: "recommendations", endpoint: "http://recommend.internal:8080"}
	suppliers       = []*supplier{payments, inventory, recommendations}
)

// hurry is by how much all runs faster than it would: scrapes, rules, exports, and with them the steps of the panels.
const hurry = 30

// hurried makes what is in deploy/prometheus as fast.
func hurried(t *testing.T) func(name string, content []byte) ([]byte, error) {
	t.Helper()
	files := make(map[string][]byte)
	for _, name := range []string{"circuit_breaker_alerts.yml", "circuit_breaker_recording.yml", "prometheus.yml"} {
		content, err := os.ReadFile(filepath.Join("..", "deploy", "prometheus", name))
		if err != nil {
			t.Fatal(err)
		}
		files["prometheus/"+name] = content
	}
	bounds := []float64{0.1, 0.25, 0.5, 1.5, 2.5, 7.5, 15.5, 30.5, 60.5, 120.5, 300.5, 600.5, 1800.5}
	scale, err := timescale.New(1.0/hurry, bounds, files)
	if err != nil {
		t.Fatal(err)
	}
	return func(name string, content []byte) ([]byte, error) {
		if files[name] == nil { // targets
			return content, nil
		}
		return scale.Rewrite(name, content)
	}
}

// store is two programs, two processes each, that call three dependencies; with all that is told of it: one program is
// scraped, the other sends its metrics through a collector.
type store struct {
	prometheus *stack.Prometheus
	jaeger     *stack.Jaeger
	sources    panel.Sources
	opened     time.Time
	callers    []*rpc.Client // two of checkout, two of search
}

func openStore(t *testing.T, recovery time.Duration) *store {
	t.Helper()
	loki, jaeger := stack.StartLoki(t), stack.StartJaeger(t)
	collector := stack.Start(t, append(loki.LogsTo(), jaeger.TracesTo()...)...)
	plan := caller.Plan{Recovery: recovery}
	for _, s := range suppliers {
		s.failing.Store(0)
		s.only.Store("")
		s.slow.Store(0)
		server := httptest.NewServer(s)
		t.Cleanup(server.Close)
		s.url = server.URL
		d := caller.Dependency{Service: s.service, Endpoint: s.endpoint, URL: s.url, Every: 40 * time.Millisecond}
		if s == recommendations {
			d.Every, d.Slow = 100*time.Millisecond, 50*time.Millisecond
		}
		plan.Dependencies = append(plan.Dependencies, d)
	}
	binary := child.Build(t, "./internal/caller/program")
	s := &store{jaeger: jaeger}
	var targets []stack.Target
	for _, program := range []struct{ name, exporter string }{{"checkout", "prometheus"}, {"search", "otlp"}} {
		for i := range 2 {
			plan.Instance = fmt.Sprintf("%s-%d", program.name, i+1)
			client, address := startCaller(t, binary, plan,
				"OTEL_SERVICE_NAME="+program.name,
				"OTEL_RESOURCE_ATTRIBUTES=service.instance.id="+plan.Instance,
				"OTEL_EXPORTER_OTLP_ENDPOINT="+collector.HTTP,
				"OTEL_METRICS_EXPORTER="+program.exporter,
				fmt.Sprintf("OTEL_METRIC_EXPORT_INTERVAL=%d", 60_000/hurry))
			s.callers = append(s.callers, client)
			if program.exporter == "prometheus" {
				targets = append(targets, stack.Target{Address: address, Job: program.name})
			}
		}
	}
	s.prometheus = stack.StartPrometheusWith(t, stack.Feeds{
		Services: targets, Collectors: []stack.Target{{Address: hostOf(t, collector.Prometheus)}},
	}, hurried(t))
	s.sources = panel.Sources{Prometheus: s.prometheus.URL, Loki: loki.URL}
	s.opened = time.Now()
	return s
}

func startCaller(t *testing.T, binary string, plan caller.Plan, env ...string) (client *rpc.Client, address string) {
	t.Helper()
	argument, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	client = child.Start(t, binary, env, string(argument))
	if err := client.Call("Caller.Address", struct{}{}, &address); err != nil {
		t.Fatal(err)
	}
	return client, address
}

// operate is what an operator does on one process.
func (s *store) operate(t *testing.T, process int, service, do string) {
	t.Helper()
	if err := s.callers[process].Call("Caller.Operate", caller.Operation{Service: service, Do: do}, &struct{}{}); err != nil {
		t.Fatal(err)
	}
}

// awaits waits until a query answers with a 1.
func (s *store) awaits(t *testing.T, what, promQL string) {
	t.Helper()
	waitUntil(t, what+": "+promQL, func() bool {
		vector := query(t, s.prometheus, promQL)
		return len(vector) == 1 && vector[0].Value == 1
	})
}

// settles waits until there is something of everything: samples enough for a rate, and all that rules record.
func (s *store) settles(t *testing.T) {
	t.Helper()
	s.awaits(t, "samples of every breaker over some exports", `count(count_over_time(circuit_breaker_state[1h]) >= 20) == bool 12`)
	for _, recorded := range []string{"refusing:ratio", "failures:ratio_rate5m", "blocked:ratio_rate5m"} {
		s.awaits(t, "what rules record", "count(service_endpoint:circuit_breaker_"+recorded+" offset 4s) == bool 3") // the last step of a panel is a while old
	}
}

// number is the value of a query that has one.
func (s *store) number(t *testing.T, promQL string) model.SampleValue {
	t.Helper()
	vector := query(t, s.prometheus, promQL)
	if len(vector) != 1 {
		t.Fatalf("%s: %v", promQL, vector)
	}
	return vector[0].Value
}

// outage takes payments down twice, and up again in between; on one process of each program an operator has disabled
// the breaker of recommendations, which would have opened.
func (s *store) outage(t *testing.T) {
	t.Helper()
	const of = `circuit_breaker_state{service="payments"}`
	for _, process := range []int{0, 2} {
		s.operate(t, process, "recommendations", "disable")
	}
	recommendations.slow.Store(int64(80 * time.Millisecond))
	recommendations.only.Store("") // the others open
	recommendations.failing.Store(100)
	payments.failing.Store(100)
	s.awaits(t, "payments open everywhere", `sum(`+of+` == bool 2) == bool 4`)
	s.awaits(t, "a probe that fails, everywhere",
		`count(circuit_breaker_transitions_total{service="payments", from_state="half_open", to_state="open"} > 0) == bool 4`)
	s.awaits(t, "what would have been", `count(circuit_breaker_would_open_total > 0) == bool 2`)
	payments.failing.Store(0)
	recommendations.failing.Store(0)
	recommendations.slow.Store(0)
	s.awaits(t, "payments closed everywhere", `sum(`+of+` == bool 0) == bool 4`)
	s.awaits(t, "the recoveries", `count(circuit_breaker_recovery_duration_seconds_count{service="payments"}) == bool 4`)
	payments.failing.Store(100)
	s.awaits(t, "payments open again, everywhere", `sum(`+of+` == bool 2) == bool 4`)
}

// view is all that has been since the store opened.
func (s *store) view(chosen map[string][]string) panel.View {
	return panel.View{From: s.opened, To: time.Now(), Chosen: chosen, Interval: 60 * time.Second / hurry, Shortened: hurry}
}

// ask asks all queries of a panel, and counts what came back; each must have had some.
func (s *store) ask(t *testing.T, d panel.Dashboard, p panel.Panel, chosen map[string][]string) panel.Count {
	t.Helper()
	var all panel.Count
	for i, target := range p.Targets {
		answer, err := s.sources.Ask(t.Context(), s.view(chosen), p, target)
		if err != nil {
			t.Errorf("%s: %s: %v", d.UID, p.Title, err)
			return all
		}
		count, err := answer.Count()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 || count.Numbers < all.Numbers {
			all = count // the poorest
		}
	}
	return all
}

func (s *store) askAnnotation(t *testing.T, a panel.Annotation) {
	t.Helper()
	var count panel.Count
	// What a process logs reaches Loki some time after its metrics.
	waitUntil(t, "mark "+a.Name, func() bool {
		answer, err := s.sources.AskAnnotation(t.Context(), s.view(nil), a)
		if err != nil {
			t.Fatal(err)
		}
		if count, err = answer.Count(); err != nil {
			t.Fatal(err)
		}
		return count.Values > 0
	})
}

// metrics are the names of all there are.
func (s *store) metrics(t *testing.T) []string {
	t.Helper()
	values, _, _, err := s.prometheus.API.LabelValues(t.Context(), model.MetricNameLabel, nil, s.opened, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range values {
		names = append(names, string(v))
	}
	return names
}

// knowsTheMetrics has Prometheus parse every query, and compares the metrics in it with those there are.
func (s *store) knowsTheMetrics(t *testing.T, dashboards []panel.Dashboard) {
	t.Helper()
	there := s.metrics(t)
	for _, d := range dashboards {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				if target.Datasource.Type != "prometheus" {
					continue
				}
				answer, err := s.sources.Ask(t.Context(), s.view(nil), p, target)
				if err != nil {
					t.Fatal(err)
				}
				names, err := s.sources.Names(t.Context(), answer.Query)
				if err != nil {
					t.Fatal(err)
				}
				if len(names) == 0 {
					t.Errorf("%s: %s: no metric in %s", d.UID, p.Title, answer.Query)
				}
				for _, name := range names {
					if !slices.Contains(there, name) {
						t.Errorf("%s: %s: there is no metric %q", d.UID, p.Title, name)
					}
				}
			}
		}
	}
}

// find is a panel of a dashboard.
func find(t *testing.T, dashboards []panel.Dashboard, uid, title string) (panel.Dashboard, panel.Panel) {
	t.Helper()
	for _, d := range dashboards {
		i := slices.IndexFunc(d.Panels, func(p panel.Panel) bool { return p.Title == title })
		if d.UID == uid && i >= 0 {
			return d, d.Panels[i]
		}
	}
	t.Fatalf("no panel %q in %s", title, uid)
	return panel.Dashboard{}, panel.Panel{}
}

// result is a vector or a matrix.
type result struct {
	Result []struct {
		Metric map[string]string
		Value  model.SamplePair
		Values []model.SamplePair
	}
}

func (s *store) result(t *testing.T, dashboards []panel.Dashboard, uid, title string, query int) (r result) {
	t.Helper()
	_, p := find(t, dashboards, uid, title)
	answer, err := s.sources.Ask(t.Context(), s.view(nil), p, p.Targets[query])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(answer.Data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// showsTheOutage compares what panels show with what the processes' own counters say. Payments is open meanwhile, and
// its probes go on failing, so that only what an outage begins and ends with stands still.
func (s *store) showsTheOutage(t *testing.T, dashboards []panel.Dashboard) {
	t.Helper()
	sum := func(r result, by ...string) (sum float64) {
		for _, series := range r.Result {
			if len(by) == 2 && series.Metric[by[0]] != by[1] {
				continue
			}
			for _, v := range series.Values {
				sum += float64(v.Value)
			}
			sum += float64(series.Value.Value)
		}
		return sum
	}
	// The last step of a panel is a while old.
	adds := func(uid, title string, series []string, promQL string) {
		waitUntil(t, uid+": "+title+" that adds up to "+promQL, func() bool {
			return sum(s.result(t, dashboards, uid, title, 0), series...) == float64(s.number(t, promQL))
		})
	}
	const openings = `sum(circuit_breaker_transitions_total{from_state="closed", to_state="open"})`
	adds("otelbreaker-fleet", "Openings", nil, openings)
	adds("otelbreaker-breaker", "Openings", nil, openings)
	adds("otelbreaker-overview", "Recovery time", []string{"le", "+Inf"}, `sum(circuit_breaker_recovery_duration_seconds_count)`)
	if got := sum(s.result(t, dashboards, "otelbreaker-overview", "Overrides", 0)); got != 1 {
		t.Errorf("Overrides shows %v, and one breaker is disabled", got)
	}
	if got := s.result(t, dashboards, "otelbreaker-overview", "State now", 0).Result; len(got) != 3 || got[0].Metric["service"] != "payments" {
		t.Errorf("State now does not begin with payments, which is open: %v", got)
	}
	for _, quantile := range []int{0, 1, 2} {
		if got := sum(s.result(t, dashboards, "otelbreaker-overview", "Recovery time, quantiles", quantile)); got <= 1 || got > 30 {
			t.Errorf("quantile %d of the recoveries is %v s; a breaker is open for one at least", quantile, got)
		}
	}
}

// exemplarOpensItsTrace follows the way from a recovery on the heatmap to the trace of the call that ended it.
func (s *store) exemplarOpensItsTrace(t *testing.T, dashboards []panel.Dashboard) {
	t.Helper()
	_, p := find(t, dashboards, "otelbreaker-overview", "Recovery time")
	answer, err := s.sources.Ask(t.Context(), s.view(nil), p, p.Targets[0])
	if err != nil {
		t.Fatal(err)
	}
	var series []struct {
		SeriesLabels map[string]string
		Exemplars    []struct {
			Labels map[string]string
		}
	}
	if err := json.Unmarshal(answer.Exemplars, &series); err != nil {
		t.Fatal(err)
	}
	traces := map[string]string{} // to the program
	for _, one := range series {
		for _, e := range one.Exemplars {
			traces[e.Labels["trace_id"]] = one.SeriesLabels["job"]
		}
	}
	if _, without := traces[""]; without || len(traces) < 4 {
		t.Fatalf("four processes recovered, and these are the exemplars: %s", answer.Exemplars)
	}
	for trace, program := range traces {
		lines := panel.Annotation{Expr: linesOfTrace(t, program, trace)}
		lines.Name = "of " + lines.Expr
		s.askAnnotation(t, lines)
		waitUntil(t, "trace "+trace, func() bool {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.jaeger.URL+"/api/v3/traces/"+trace, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			return response.StatusCode == http.StatusOK && strings.Contains(string(body), "circuit_breaker.state_change")
		})
	}
}
