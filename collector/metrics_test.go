package collector_test

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/collector"
)

const openMetrics = "application/openmetrics-text; version=1.0.0"

// scrape returns the page as a scraper that accepts such a type gets it.
func scrape(t *testing.T, p *collector.Pipeline, accept string) string {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", accept)
	response := httptest.NewRecorder()
	p.MetricsHandler().ServeHTTP(response, request)
	if response.Code != http.StatusOK {
		t.Fatalf("page: status %d: %s", response.Code, response.Body)
	}
	wantType := "text/plain"
	if accept != "" {
		wantType, _, _ = strings.Cut(accept, ";")
	}
	if got := response.Header().Get("Content-Type"); !strings.HasPrefix(got, wantType+";") {
		t.Errorf("page: content type %q, want %s", got, wantType)
	}
	return response.Body.String()
}

func targetInfo(t *testing.T, p *collector.Pipeline) string {
	t.Helper()
	for line := range strings.Lines(scrape(t, p, "")) {
		if strings.HasPrefix(line, "target_info{") {
			return line
		}
	}
	t.Fatal("no target_info")
	return ""
}

// instrumentAll makes the instruments of a breaker, with the names, kinds and units of the contract.
func instrumentAll(t *testing.T, meter metric.Meter) {
	t.Helper()
	help := metric.WithDescription("help")
	labels := metric.WithAttributes(attribute.String("service", "payments"), attribute.String("endpoint", "https://pay.example:443"))
	gauge := func(name string, value int64, unit ...metric.InstrumentOption) {
		t.Helper()
		opts := []metric.Int64ObservableGaugeOption{help, metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(value, labels)
			return nil
		})}
		for _, u := range unit {
			opts = append(opts, u)
		}
		if _, err := meter.Int64ObservableGauge(name, opts...); err != nil {
			t.Fatal(err)
		}
	}
	counter := func(name, unit string, value int64, more ...attribute.KeyValue) {
		t.Helper()
		if _, err := meter.Int64ObservableCounter(name, help, metric.WithUnit(unit), metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(value, labels, metric.WithAttributes(more...))
			return nil
		})); err != nil {
			t.Fatal(err)
		}
	}
	gauge("circuit_breaker.state", 2)
	counter("circuit_breaker.transitions", "{transition}", 1, attribute.String("from_state", "closed"), attribute.String("to_state", "open"))
	counter("circuit_breaker.requests", "{request}", 7, attribute.String("outcome", "failure"))
	gauge("circuit_breaker.failures.current", 5, metric.WithUnit("{failure}"))
	gauge("circuit_breaker.last_failure_time", 1700000000)
	if _, err := meter.Float64ObservableCounter("circuit_breaker.open", help, metric.WithUnit("s"), metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
		o.Observe(1.5, labels)
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	counter("circuit_breaker.slow_calls", "{request}", 3)
	gauge("circuit_breaker.override", 0)

	recovery, err := meter.Float64Histogram("circuit_breaker.recovery.duration", help, metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(0.1, 0.25, 0.5, 1.5, 30.5))
	if err != nil {
		t.Fatal(err)
	}
	closing := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0xab, 15: 1}, SpanID: trace.SpanID{0xcd, 7: 2}, TraceFlags: trace.FlagsSampled,
	}))
	recovery.Record(closing, 0.4, labels)
}

const goldenText = `# HELP circuit_breaker_failures_current help
# TYPE circuit_breaker_failures_current gauge
circuit_breaker_failures_current{endpoint="https://pay.example:443",service="payments"} 5
# HELP circuit_breaker_last_failure_time help
# TYPE circuit_breaker_last_failure_time gauge
circuit_breaker_last_failure_time{endpoint="https://pay.example:443",service="payments"} 1.7e+09
# HELP circuit_breaker_open_seconds_total help
# TYPE circuit_breaker_open_seconds_total counter
circuit_breaker_open_seconds_total{endpoint="https://pay.example:443",service="payments"} 1.5
# HELP circuit_breaker_override help
# TYPE circuit_breaker_override gauge
circuit_breaker_override{endpoint="https://pay.example:443",service="payments"} 0
# HELP circuit_breaker_recovery_duration_seconds help
# TYPE circuit_breaker_recovery_duration_seconds histogram
circuit_breaker_recovery_duration_seconds_bucket{endpoint="https://pay.example:443",service="payments",le="0.1"} 0
circuit_breaker_recovery_duration_seconds_bucket{endpoint="https://pay.example:443",service="payments",le="0.25"} 0
circuit_breaker_recovery_duration_seconds_bucket{endpoint="https://pay.example:443",service="payments",le="0.5"} 1
circuit_breaker_recovery_duration_seconds_bucket{endpoint="https://pay.example:443",service="payments",le="1.5"} 1
circuit_breaker_recovery_duration_seconds_bucket{endpoint="https://pay.example:443",service="payments",le="30.5"} 1
circuit_breaker_recovery_duration_seconds_bucket{endpoint="https://pay.example:443",service="payments",le="+Inf"} 1
circuit_breaker_recovery_duration_seconds_sum{endpoint="https://pay.example:443",service="payments"} 0.4
circuit_breaker_recovery_duration_seconds_count{endpoint="https://pay.example:443",service="payments"} 1
# HELP circuit_breaker_requests_total help
# TYPE circuit_breaker_requests_total counter
circuit_breaker_requests_total{endpoint="https://pay.example:443",outcome="failure",service="payments"} 7
# HELP circuit_breaker_slow_calls_total help
# TYPE circuit_breaker_slow_calls_total counter
circuit_breaker_slow_calls_total{endpoint="https://pay.example:443",service="payments"} 3
# HELP circuit_breaker_state help
# TYPE circuit_breaker_state gauge
circuit_breaker_state{endpoint="https://pay.example:443",service="payments"} 2
# HELP circuit_breaker_transitions_total help
# TYPE circuit_breaker_transitions_total counter
circuit_breaker_transitions_total{endpoint="https://pay.example:443",from_state="closed",service="payments",to_state="open"} 1
`

// openMetricsBucket is the bucket with the exemplar of the call that closed the breaker. Its labels come in any order.
var openMetricsBucket = regexp.MustCompile(`\ncircuit_breaker_recovery_duration_seconds_bucket\{endpoint="https://pay.example:443",service="payments",le="0.5"\} 1 ` +
	`# \{(trace_id="ab000000000000000000000000000001",span_id="cd00000000000002"|span_id="cd00000000000002",trace_id="ab000000000000000000000000000001")\} 0.4 1[0-9.e+]+\n`)

func TestPage(t *testing.T) {
	p := start(t, collector.WithoutRuntimeMetrics())
	instrumentAll(t, p.MeterProvider().Meter("github.com/otelbreaker/otelbreaker/otelcb"))

	text, info, _ := strings.Cut(scrape(t, p, ""), "# HELP target_info")
	if text != goldenText {
		t.Errorf("got:\n%s\nwant:\n%s", text, goldenText)
	}
	if !strings.Contains(info, "\n# TYPE target_info gauge\ntarget_info{") {
		t.Errorf("no target_info: %s", info)
	}

	page := scrape(t, p, openMetrics)
	if !openMetricsBucket.MatchString(page) {
		t.Errorf("no exemplar in:\n%s", page)
	}
	if !strings.Contains(page, "\n# TYPE circuit_breaker_requests counter\n") || !strings.HasSuffix(page, "\n# EOF\n") {
		t.Errorf("not OpenMetrics:\n%s", page)
	}
}

func TestPageCompressed(t *testing.T) {
	p := start(t)
	record(t, p)
	server := httptest.NewServer(p.MetricsHandler())
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "gzip")
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := gzip.NewReader(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(body)
	if err != nil || !strings.Contains(string(page), "\ntest_calls_total 1\n") {
		t.Errorf("page: %v\n%s", err, page)
	}
}

// Without scope labels two libraries may offer the same series. Prometheus would refuse a page that has it twice.
func TestPageWithDuplicates(t *testing.T) {
	var out buffer
	p := start(t, collector.WithLogger(out.logger()))
	record(t, p)
	for _, scope := range []string{"one", "two"} {
		counter, err := p.MeterProvider().Meter(scope).Int64Counter("twice")
		if err != nil {
			t.Fatal(err)
		}
		counter.Add(t.Context(), 1)
	}
	page := scrape(t, p, "")
	if strings.Count(page, "\ntwice_total 1\n") != 1 || !strings.Contains(page, "\ntest_calls_total 1\n") {
		t.Errorf("page:\n%s", page)
	}
	eventually(t, "a line in the log", func() bool { return strings.Contains(out.String(), "twice_total") })
}

func TestCardinalityLimit(t *testing.T) {
	const edges = 6
	series := func(t *testing.T, p *collector.Pipeline, endpoints int) (n int, overflow bool) {
		t.Helper()
		counter, err := p.MeterProvider().Meter("test").Int64Counter("edges")
		if err != nil {
			t.Fatal(err)
		}
		for endpoint := range endpoints {
			for edge := range edges {
				counter.Add(t.Context(), 0, metric.WithAttributes(attribute.Int("endpoint", endpoint), attribute.Int("edge", edge)))
			}
		}
		page := scrape(t, p, "")
		return strings.Count(page, "\nedges_total{"), strings.Contains(page, "otel_metric_overflow")
	}
	for name, test := range map[string]struct {
		variable  string
		opts      []collector.Option
		endpoints int
		want      int
		overflow  bool
	}{
		"default":                    {endpoints: 1024, want: 1024 * edges},
		"beyond the default":         {endpoints: 2000, want: 10_000, overflow: true},
		"option":                     {opts: []collector.Option{collector.WithCardinalityLimit(12_000)}, endpoints: 1999, want: 1999 * edges},
		"variable":                   {variable: "100", endpoints: 256, want: 100, overflow: true},
		"option before the variable": {variable: "100", opts: []collector.Option{collector.WithCardinalityLimit(1000)}, endpoints: 100, want: 600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_GO_X_CARDINALITY_LIMIT", test.variable)
			n, overflow := series(t, start(t, test.opts...), test.endpoints)
			if n != test.want || overflow != test.overflow {
				t.Errorf("got %d series, overflow %t; want %d, %t", n, overflow, test.want, test.overflow)
			}
		})
	}
}
