// Package route compares what Prometheus servers have of one process, by the different ways that its metrics
// came to them.
package route

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/otelbreaker/otelbreaker/e2e/internal/exposition"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

const (
	// ours are the metrics whose every value must be the same on all routes.
	ours = `__name__=~"(circuit_breaker|otelbreaker)_.+"`
	// others is all else that the process tells, of its runtime and its requests. That moves from one reading to the
	// next, so of it only the series must be the same. target_info describes the process, and up and scrape_…
	// are made by a scrape. What rules record (with a colon, and ALERTS) each Prometheus makes in its own time.
	others = `__name__!~"(circuit_breaker|otelbreaker)_.+|target_info|up|scrape_.+|.+:.+|ALERTS.*"`
	// growing is the counter that grows of itself while a breaker is open.
	growing = "circuit_breaker_open_seconds_total"
	// GrowingTolerance is how far apart routes may be about it: what a collector shows is as old as the
	// last export.
	GrowingTolerance = 2 * time.Second
	// settle bounds the wait for what is on its way.
	settle = 15 * time.Second
)

// Route is a way by which the metrics of one process came into a Prometheus.
type Route struct {
	Name       string
	Prometheus *stack.Prometheus
	Process    string // a matcher that picks the process's series by this route
}

// sample is a series at one moment: its value, and when that was taken.
type sample struct {
	value float64
	at    model.Time
}

// samples returns what the route has of the metrics that matcher picks, by series.
func (r Route) samples(ctx context.Context, t *testing.T, matcher string, at time.Time) map[string]sample {
	t.Helper()
	selector := "{" + matcher + "," + r.Process + "}"
	values := r.query(ctx, t, selector, at)
	// timestamp drops the name of the metric, so that series of two metrics would collide.
	times := r.query(ctx, t, `timestamp(label_replace(`+selector+`, "name", "$1", "__name__", "(.+)"))`, at)
	taken := make(map[string]model.Time)
	for _, s := range times {
		s.Metric[model.MetricNameLabel] = s.Metric["name"]
		delete(s.Metric, "name")
		taken[series(s.Metric)] = model.TimeFromUnixNano(int64(float64(s.Value) * float64(time.Second)))
	}
	samples := make(map[string]sample)
	for _, s := range values {
		name := series(s.Metric)
		if _, found := samples[name]; found {
			t.Fatalf("%s: two series are the same without job and instance: %s", r.Name, name)
		}
		samples[name] = sample{float64(s.Value), taken[name]}
	}
	return samples
}

func (r Route) query(ctx context.Context, t *testing.T, promQL string, at time.Time) model.Vector {
	t.Helper()
	result, warnings, _, err := r.Prometheus.API.Query(ctx, promQL, at)
	if err != nil {
		t.Fatalf("%s: %s: %v", r.Name, promQL, err)
	}
	if len(warnings) > 0 {
		t.Fatalf("%s: %s: %v", r.Name, promQL, warnings)
	}
	vector, ok := result.(model.Vector)
	if !ok {
		t.Fatalf("%s: %s is no vector: %v", r.Name, promQL, result)
	}
	return vector
}

// series writes a metric with its labels, without those that may differ between the routes.
func series(m model.Metric) string {
	m = m.Clone()
	delete(m, model.JobLabel)
	delete(m, model.InstanceLabel)
	return m.String()
}

// page writes samples as a page of metrics, sorted. What grows is written as other has it where it is the same
// to the tolerance: a value that grows by a second a second differs from its own time by a constant.
func page(samples, other map[string]sample, tolerance time.Duration) exposition.Page {
	var lines []string
	for name, s := range samples {
		if o, found := other[name]; found && strings.HasPrefix(name, growing+"{") {
			apart := s.value - o.value - s.at.Sub(o.at).Seconds()
			if math.Abs(apart) < tolerance.Seconds() {
				s.value = o.value
			}
		}
		lines = append(lines, fmt.Sprintf("%s %v\n", name, s.value))
	}
	slices.Sort(lines)
	return exposition.Page(strings.Join(lines, ""))
}

// wholeBound is a bound of a bucket as a scrape writes it: 1.0, where all other ways write 1.
var wholeBound = regexp.MustCompile(`(le="-?[0-9]+)\.0"`)

// names writes the series of samples alone, sorted, with whole numbers for bounds in one form.
func names(samples map[string]sample) exposition.Page {
	var lines []string
	for name := range samples {
		lines = append(lines, wholeBound.ReplaceAllString(name, `$1"`)+"\n")
	}
	slices.Sort(lines)
	return exposition.Page(strings.Join(lines, ""))
}

// WaitSame waits until every route has the same of a process, with all that want names among it, and fails with
// the difference that is left. at is the moment to compare; where something is growing, only to the tolerance.
func WaitSame(t *testing.T, routes []Route, at func() time.Time, tolerance time.Duration, want ...string) {
	t.Helper()
	waitSame(t, "routes", func(ctx context.Context) (difference, same string) {
		moment := at()
		first := routes[0]
		reference := first.samples(ctx, t, ours, moment)
		expected, expectedNames := page(reference, nil, 0), names(first.samples(ctx, t, others, moment))
		for _, line := range want {
			if !strings.Contains(string(expected), line+"\n") {
				difference += fmt.Sprintf("%s: no %s\n", first.Name, line)
			}
		}
		for _, r := range routes[1:] {
			has := r.samples(ctx, t, ours, moment)
			difference += exposition.Diff(first.Name, expected, r.Name, page(has, reference, tolerance))
			difference += exposition.Diff(first.Name, expectedNames, r.Name, names(r.samples(ctx, t, others, moment)))
		}
		return difference, fmt.Sprintf("no difference in %d series, nor in the names of %d further",
			len(reference), strings.Count(string(expectedNames), "\n"))
	})
}

// WaitSameExemplars does the same with the exemplars of a metric; trace must be among them. Their times may be
// less than a second apart, for the SDK takes it once for each route.
func WaitSameExemplars(t *testing.T, routes []Route, metric, trace string) {
	t.Helper()
	waitSame(t, "exemplars", func(ctx context.Context) (difference, same string) {
		expected := routes[0].exemplars(ctx, t, metric)
		if !strings.Contains(string(expected), `trace_id="`+trace+`"`) {
			difference = fmt.Sprintf("%s: no exemplar of the trace %s in:\n%s", routes[0].Name, trace, expected)
		}
		for _, r := range routes[1:] {
			near := exposition.SameMoment(r.exemplars(ctx, t, metric), expected, time.Second)
			difference += exposition.Diff(routes[0].Name, expected, r.Name, near)
		}
		return difference, fmt.Sprintf("the same exemplars:\n%s", expected)
	})
}

// waitSame asks compare until there is no difference, and then logs what is the same.
func waitSame(t *testing.T, what string, compare func(context.Context) (difference, same string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*settle)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	timeout := time.After(settle)
	for {
		difference, same := compare(ctx)
		if difference == "" {
			t.Log(same)
			return
		}
		select {
		case <-poll.C:
		case <-timeout:
			t.Fatalf("the %s differ after %v:\n%s", what, settle, difference)
		}
	}
}

// exemplars returns the exemplars of a metric as OpenMetrics writes them, sorted. The labels of one that comes
// again have to be told once.
func (r Route) exemplars(ctx context.Context, t *testing.T, metric string) exposition.Page {
	t.Helper()
	now := time.Now()
	results, err := r.Prometheus.API.QueryExemplars(ctx, metric+"{"+r.Process+"}", now.Add(-time.Hour), now.Add(time.Minute))
	if err != nil {
		t.Fatalf("%s: exemplars: %v", r.Name, err)
	}
	var lines []string
	for _, result := range results {
		for _, e := range result.Exemplars {
			lines = append(lines, exemplarLine(result, e))
		}
	}
	slices.Sort(lines)
	return exposition.Page(strings.Join(lines, ""))
}

func exemplarLine(result v1.ExemplarQueryResult, e v1.Exemplar) string {
	return fmt.Sprintf("%s # %s %v %.3f\n", series(model.Metric(result.SeriesLabels)), e.Labels, e.Value,
		float64(e.Timestamp)/1000)
}
