package collector_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"github.com/otelbreaker/otelbreaker/collector"
)

const recovery = "circuit_breaker.recovery.duration"

func TestViews(t *testing.T) {
	r := newReceiver(t, "http/protobuf")
	useOTLP(t, "http/protobuf", r.url)
	p := start(t,
		collector.WithViews(
			sdkmetric.NewView(sdkmetric.Instrument{Name: "test.calls"}, sdkmetric.Stream{Name: "test.renamed"}),
			sdkmetric.NewView(sdkmetric.Instrument{Name: "test.dropped"}, sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}}),
		),
		collector.WithViews(
			sdkmetric.NewView(sdkmetric.Instrument{Name: "test.filtered"}, sdkmetric.Stream{AttributeFilter: attribute.NewDenyKeysFilter("secret")}),
		))
	record(t, p)
	for _, name := range []string{"test.dropped", "test.filtered"} {
		counter, err := p.MeterProvider().Meter("test").Int64Counter(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"a", "b"} {
			counter.Add(t.Context(), 1, metric.WithAttributes(attribute.String("secret", secret), attribute.String("open", "yes")))
		}
	}
	page := scrape(t, p, "")
	for _, want := range []string{"\ntest_renamed_total 1\n", "\ntest_filtered_total{open=\"yes\"} 2\n", "\notelbreaker_export_failures_total{"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in:\n%s", want, page)
		}
	}
	for _, leftOut := range []string{"test_calls", "test_dropped", "secret"} {
		if strings.Contains(page, leftOut) {
			t.Errorf("%s in:\n%s", leftOut, page)
		}
	}
	if err := p.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := r.metricNames()
	for name, want := range map[string]bool{"test.renamed": true, "test.filtered": true, "test.calls": false, "test.dropped": false} {
		if got := slices.Contains(names, name); got != want {
			t.Errorf("%s sent: %t, want %t", name, got, want)
		}
	}
}

// recoveries returns the recovery histogram as a scrape of native histograms gets it, and as it was sent.
func recoveries(t *testing.T, p *collector.Pipeline, r *receiver) (*dto.Histogram, *metricspb.Metric) {
	t.Helper()
	if err := p.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var sent []*metricspb.Metric
	for _, m := range r.allMetrics() {
		if m.Name == recovery {
			sent = append(sent, m)
		}
	}
	if len(sent) != 1 {
		t.Fatalf("sent %d times, want once", len(sent))
	}
	format := expfmt.NewFormat(expfmt.TypeProtoDelim)
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", string(format))
	response := httptest.NewRecorder()
	p.MetricsHandler().ServeHTTP(response, request)
	decoder := expfmt.NewDecoder(bytes.NewReader(response.Body.Bytes()), format)
	for {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); errors.Is(err, io.EOF) {
			t.Fatal("not on the page")
		} else if err != nil {
			t.Fatal(err)
		}
		if family.GetName() == "circuit_breaker_recovery_duration_seconds" {
			if len(family.GetMetric()) != 1 {
				t.Fatalf("%d series on the page, want one", len(family.GetMetric()))
			}
			return family.GetMetric()[0].GetHistogram(), sent[0]
		}
	}
}

// closedBy is the trace of the call that instrumentAll records a recovery of.
const closedBy = "ab000000000000000000000000000001"

func checkNative(t *testing.T, h *dto.Histogram) {
	t.Helper()
	if h.GetSampleCount() != 1 || h.GetSampleSum() != 0.4 || len(h.GetBucket()) > 0 || h.Schema == nil ||
		h.GetSchema() != 8 || len(h.GetPositiveSpan()) != 1 || !slices.Equal(h.GetPositiveDelta(), []int64{1}) {
		t.Errorf("page: not a native histogram of one recovery: %v", h)
	}
	for _, exemplar := range h.GetExemplars() {
		for _, label := range exemplar.GetLabel() {
			if label.GetName() == "trace_id" && label.GetValue() == closedBy && exemplar.GetTimestamp() != nil {
				return
			}
		}
	}
	t.Errorf("page: no exemplar with the trace: %v", h)
}

func checkClassic(t *testing.T, h *dto.Histogram, bounds ...float64) {
	t.Helper()
	var got []float64
	for _, bucket := range h.GetBucket() {
		if bound := bucket.GetUpperBound(); !math.IsInf(bound, 1) {
			got = append(got, bound)
		}
	}
	if h.GetSampleCount() != 1 || h.Schema != nil || !slices.Equal(got, bounds) {
		t.Errorf("page: buckets by %v, want %v: %v", got, bounds, h)
	}
}

func checkExponential(t *testing.T, m *metricspb.Metric, scale int32) {
	t.Helper()
	points := m.GetExponentialHistogram().GetDataPoints()
	if len(points) != 1 || points[0].Count != 1 || points[0].GetSum() != 0.4 || points[0].Scale != scale || len(points[0].Exemplars) != 1 ||
		len(points[0].Exemplars[0].TraceId) != 16 || points[0].Exemplars[0].TraceId[0] != 0xab {
		t.Errorf("sent: not an exponential histogram by scale %d of one recovery with its trace: %v", scale, m)
	}
}

var instrumentBounds = []float64{0.1, 0.25, 0.5, 1.5, 30.5}

func TestExponentialRecovery(t *testing.T) {
	const variable = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
	otherBounds := sdkmetric.NewView(sdkmetric.Instrument{Name: recovery}, sdkmetric.Stream{
		Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: []float64{0.3}},
	})
	for _, protocol := range protocols {
		for name, test := range map[string]struct {
			variable string
			opts     []collector.Option
			page     func(*testing.T, *dto.Histogram)
			sent     []float64 // nil: exponential
			scale    int32
		}{
			"by default": {
				page: func(t *testing.T, h *dto.Histogram) { t.Helper(); checkClassic(t, h, instrumentBounds...) },
				sent: instrumentBounds,
			},
			"by option": {opts: []collector.Option{collector.WithExponentialRecovery()}, page: checkNative, scale: 8},
			"by variable": { // which is about OTLP alone
				variable: "base2_exponential_bucket_histogram",
				scale:    20,
				page:     func(t *testing.T, h *dto.Histogram) { t.Helper(); checkClassic(t, h, instrumentBounds...) },
			},
			"a view goes before": {
				opts: []collector.Option{collector.WithExponentialRecovery(), collector.WithViews(otherBounds)},
				page: func(t *testing.T, h *dto.Histogram) { t.Helper(); checkClassic(t, h, 0.3) },
				sent: []float64{0.3},
			},
		} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				r := newReceiver(t, protocol)
				useOTLP(t, protocol, r.url)
				t.Setenv(variable, test.variable)
				p := start(t, test.opts...)
				instrumentAll(t, p.MeterProvider().Meter("test"))
				onPage, sent := recoveries(t, p, r)
				test.page(t, onPage)
				if test.sent == nil {
					checkExponential(t, sent, test.scale)
				} else if points := sent.GetHistogram().GetDataPoints(); len(points) != 1 || !slices.Equal(points[0].ExplicitBounds, test.sent) {
					t.Errorf("sent: %v, want buckets by %v", sent, test.sent)
				}
			})
		}
	}
}

func TestExponentialRecoveryKeepsToTheViews(t *testing.T) {
	for name, stream := range map[string]sdkmetric.Stream{
		"dropped": {Aggregation: sdkmetric.AggregationDrop{}},
		"renamed": {Name: "renamed"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, collector.WithExponentialRecovery(),
				collector.WithViews(sdkmetric.NewView(sdkmetric.Instrument{Name: recovery}, stream)))
			h, err := p.MeterProvider().Meter("test").Float64Histogram(recovery, metric.WithUnit("s"))
			if err != nil {
				t.Fatal(err)
			}
			h.Record(t.Context(), 1)
			page := scrape(t, p, "")
			if strings.Contains(page, "circuit_breaker") {
				t.Errorf("it is there:\n%s", page)
			}
			if got := strings.Contains(page, "\nrenamed_seconds_count 1\n"); got != (name == "renamed") {
				t.Errorf("renamed: %t:\n%s", got, page)
			}
		})
	}
}
