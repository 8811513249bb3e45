package collector_test

import (
	"context"
	"errors"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// fleet is a source whose breakers come and go.
type fleet struct {
	mu  sync.Mutex
	all []*breaker.Breaker
}

func (f *fleet) All() iter.Seq[*breaker.Breaker] {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Values(slices.Clone(f.all))
}

func (f *fleet) add(t *testing.T, endpoint string) *breaker.Breaker {
	t.Helper()
	b, err := breaker.New(breaker.Config{Service: "s", Endpoint: endpoint, FailureThreshold: 2})
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, b)
	return b
}

func (f *fleet) remove(b *breaker.Breaker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = slices.DeleteFunc(f.all, func(other *breaker.Breaker) bool { return other == b })
}

// call makes so many calls that succeed.
func call(t *testing.T, b *breaker.Breaker, times int) {
	t.Helper()
	for range times {
		if err := b.Do(t.Context(), func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
	}
}

// deltas returns the sum of all that was sent of circuit_breaker.requests with such an outcome by endpoint, and makes
// sure that it was sent as deltas of which none is negative.
func deltas(t *testing.T, r *receiver, outcome string) map[string]int64 {
	t.Helper()
	sums := map[string]int64{}
	for _, m := range r.allMetrics() {
		if m.Name != "circuit_breaker.requests" {
			continue
		}
		if m.GetSum().GetAggregationTemporality() != metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA {
			t.Fatalf("not a delta: %v", m)
		}
		for _, point := range m.GetSum().GetDataPoints() {
			labels := map[string]string{}
			for _, kv := range point.Attributes {
				labels[kv.Key] = kv.Value.GetStringValue()
			}
			if point.GetAsInt() < 0 {
				t.Errorf("a negative delta: %v", point)
			}
			if labels["outcome"] == outcome {
				sums[labels["endpoint"]] += point.GetAsInt()
			}
		}
	}
	return sums
}

// onPage returns circuit_breaker_requests_total with such an outcome by endpoint.
func onPage(t *testing.T, p *collector.Pipeline, outcome string) map[string]int64 {
	t.Helper()
	totals := map[string]int64{}
	series := regexp.MustCompile(`(?m)^circuit_breaker_requests_total\{endpoint="([^"]*)",outcome="` + outcome + `",service="s"\} (\d+)$`)
	for _, sample := range series.FindAllStringSubmatch(scrape(t, p, ""), -1) {
		n, err := strconv.ParseInt(sample[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		totals[sample[1]] = n
	}
	return totals
}

// Deltas by OTLP and totals on the page come from the same counters at different times. Neither reader may see the
// other, whichever comes first when a breaker comes or goes.
func TestG13_DeltasBesideThePage(t *testing.T) {
	r := newReceiver(t, "http/protobuf")
	useOTLP(t, "http/protobuf", r.url)
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
	p := start(t)
	source := &fleet{}
	registration, err := otelcb.Observe(source, otelcb.WithMeterProvider(p.MeterProvider()), otelcb.WithTracerProvider(p.TracerProvider()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := registration.Unregister(); err != nil {
			t.Error(err)
		}
	}()
	flush := func() {
		t.Helper()
		if err := p.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, sent, page map[string]int64) {
		t.Helper()
		if got := deltas(t, r, "success"); !sameCounts(got, sent) {
			t.Errorf("%s: deltas sum up to %v, want %v", when, got, sent)
		}
		if got := onPage(t, p, "success"); !sameCounts(got, page) {
			t.Errorf("%s: the page has %v, want %v", when, got, page)
		}
	}

	a := source.add(t, "a")
	call(t, a, 3)
	flush()
	check("the first deltas", map[string]int64{"a": 3}, map[string]int64{"a": 3})
	call(t, a, 2)
	check("between two exports", map[string]int64{"a": 3}, map[string]int64{"a": 5})
	flush()
	flush()
	check("nothing new in the last export", map[string]int64{"a": 5}, map[string]int64{"a": 5})

	b := source.add(t, "b")
	call(t, b, 1)
	for range 3 { // two failures and a blocked call
		_ = b.Do(t.Context(), func(context.Context) error { return errors.New("failed") })
	}
	flush()
	check("a breaker comes", map[string]int64{"a": 5, "b": 1}, map[string]int64{"a": 5, "b": 1})
	if failures, blocked := deltas(t, r, "failure"), deltas(t, r, "blocked"); failures["b"] != 2 || blocked["b"] != 1 {
		t.Errorf("%d failures and %d blocked, want 2 and 1", failures["b"], blocked["b"])
	}

	source.remove(a)
	check("a breaker goes", map[string]int64{"a": 5, "b": 1}, map[string]int64{"b": 1})
	again := source.add(t, "a") // which only the page has seen go
	call(t, again, 4)
	flush()
	check("another comes under its name", map[string]int64{"a": 9, "b": 1}, onPage(t, p, "success"))

	source.remove(again)
	flush()
	third := source.add(t, "a") // which only the exporter has seen go
	call(t, third, 2)
	flush()
	check("a third", map[string]int64{"a": 11, "b": 1}, onPage(t, p, "success"))
	if n := onPage(t, p, "success")["a"]; n < 2 {
		t.Errorf("the page has %d calls, want at least those of the breaker that is there", n)
	}

	// All at once.
	const callers, calls = 4, 500
	var calling, reading sync.WaitGroup
	done := make(chan struct{})
	for range callers {
		calling.Go(func() { call(t, third, calls) })
	}
	reading.Go(func() {
		var last int64
		for {
			n := onPage(t, p, "success")["a"]
			if n < last {
				t.Errorf("the page fell from %d to %d", last, n)
			}
			last = n
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for range 20 {
		flush()
	}
	calling.Wait()
	close(done)
	reading.Wait()
	flush()
	check("calls, scrapes and exports at once", map[string]int64{"a": 11 + callers*calls, "b": 1}, onPage(t, p, "success"))
}

// sameCounts compares counts; one that is absent is 0.
func sameCounts(a, b map[string]int64) bool {
	for _, m := range []map[string]int64{a, b} {
		for key := range m {
			if a[key] != b[key] {
				return false
			}
		}
	}
	return true
}

// Up-down counters and gauges are never deltas.
func TestDeltaLeavesGaugesAlone(t *testing.T) {
	r := newReceiver(t, "http/protobuf")
	useOTLP(t, "http/protobuf", r.url)
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
	p := start(t)
	for range 2 {
		if err := p.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var usages int
	for _, m := range r.allMetrics() {
		delta := m.GetSum().GetAggregationTemporality() == metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA
		if want := m.GetSum().GetIsMonotonic(); delta != want {
			t.Errorf("%s: delta %t, want %t", m.Name, delta, want)
		}
		if m.Name == "process.memory.usage" {
			usages++
			if points := m.GetSum().GetDataPoints(); len(points) != 1 || points[0].GetAsInt() < 1<<20 {
				t.Errorf("resident memory: %v", points)
			}
		}
	}
	if usages != 2 {
		t.Errorf("resident memory sent %d times, want twice: %s", usages, strings.Join(r.metricNames(), " "))
	}
}
