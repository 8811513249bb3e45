package otelcb_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

var errDown = errors.New("down")

func succeed(context.Context) error { return nil }
func fail(context.Context) error    { return errDown }

func newBreaker(t testing.TB, c breaker.Config) *breaker.Breaker {
	t.Helper()
	b, err := breaker.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newGroup(t testing.TB, c breaker.Config, options ...breaker.GroupOption) *breaker.Group {
	t.Helper()
	g, err := breaker.NewGroup(c, options...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// call makes n calls, whatever becomes of them.
func call(b *breaker.Breaker, n int, fn func(context.Context) error) {
	for range n {
		_ = b.Do(context.Background(), fn)
	}
}

func flush(t testing.TB, b *breaker.Breaker) {
	t.Helper()
	if err := b.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// observe observes under a provider of its own until the test ends.
func observe(t testing.TB, src otelcb.Source, p *sdkmetric.MeterProvider, opts ...otelcb.Option) *otelcb.Registration {
	t.Helper()
	r, err := otelcb.Observe(src, append(opts, otelcb.WithMeterProvider(p))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Unregister(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func newReader(options ...sdkmetric.ManualReaderOption) (*sdkmetric.ManualReader, *sdkmetric.MeterProvider) {
	reader := sdkmetric.NewManualReader(options...)
	return reader, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
}

// newUnlimitedReader is for more breakers than the SDK's own limit of series has room for.
func newUnlimitedReader() (*sdkmetric.ManualReader, *sdkmetric.MeterProvider) {
	reader := sdkmetric.NewManualReader()
	return reader, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithCardinalityLimit(0))
}

func deltaTemporality(sdkmetric.InstrumentKind) metricdata.Temporality {
	return metricdata.DeltaTemporality
}

// collect gives every sum and gauge by "instrument{key=value,...}", and of histograms the count.
func collect(t testing.TB, reader *sdkmetric.ManualReader) map[string]float64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	return flatten(t, data)
}

func flatten(t testing.TB, data metricdata.ResourceMetrics) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	put := func(name string, set attribute.Set, value float64) {
		key := name + "{" + labels(set) + "}"
		if _, twice := values[key]; twice {
			t.Errorf("%s was exported twice", key)
		}
		values[key] = value
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				points(d.DataPoints, m.Name, put)
			case metricdata.Sum[float64]:
				points(d.DataPoints, m.Name, put)
			case metricdata.Gauge[int64]:
				points(d.DataPoints, m.Name, put)
			case metricdata.Gauge[float64]:
				points(d.DataPoints, m.Name, put)
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					put(m.Name, p.Attributes, float64(p.Count))
				}
			default:
				t.Errorf("%s has data of type %T", m.Name, m.Data)
			}
		}
	}
	return values
}

func points[N int64 | float64](all []metricdata.DataPoint[N], name string, put func(string, attribute.Set, float64)) {
	for _, p := range all {
		put(name, p.Attributes, float64(p.Value))
	}
}

func labels(set attribute.Set) string {
	var pairs []string
	for _, kv := range set.ToSlice() {
		pairs = append(pairs, string(kv.Key)+"="+kv.Value.AsString())
	}
	return strings.Join(pairs, ",")
}

// key is a series as collect names it; more are further labels in alphabetical order with endpoint and service.
func key(instrument, service, endpoint string, more ...string) string {
	pairs := append(slices.Clone(more), "endpoint="+endpoint, "service="+service)
	slices.Sort(pairs)
	return fmt.Sprintf("circuit_breaker.%s{%s}", instrument, strings.Join(pairs, ","))
}

func expect(t testing.TB, values map[string]float64, key string, want float64) {
	t.Helper()
	got, found := values[key]
	if !found {
		t.Errorf("%s is missing; there are\n%s", key, strings.Join(slices.Sorted(maps.Keys(values)), "\n"))
	} else if got != want {
		t.Errorf("%s is %v, want %v", key, got, want)
	}
}

func expectNone(t testing.TB, values map[string]float64, part string) {
	t.Helper()
	for k := range values {
		if strings.Contains(k, part) {
			t.Errorf("%s is there", k)
		}
	}
}

// union is a source of one's own: it cannot be subscribed to.
type union struct{ sources []otelcb.Source }

func (u *union) All() iter.Seq[*breaker.Breaker] {
	return func(yield func(*breaker.Breaker) bool) {
		for _, s := range u.sources {
			for b := range s.All() {
				if !yield(b) {
					return
				}
			}
		}
	}
}

// handled gathers what goes to the OpenTelemetry error handler, which is global.
type handled struct {
	mu   sync.Mutex
	errs []error
}

func (h *handled) Handle(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, err)
}

func (h *handled) take() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.errs
	h.errs = nil
	return taken
}

// expect wants that just one thing was reported, which says so. A test that reports runs in a bubble, for reports are
// made by goroutines, and one that came late would be another test's.
func (h *handled) expect(t *testing.T, part string) {
	t.Helper()
	synctest.Wait()
	if all := h.take(); len(all) != 1 || !strings.Contains(all[0].Error(), part) {
		t.Errorf("reported %v; want once that %s", all, part)
	}
}

func handleErrors(t *testing.T) *handled {
	h := &handled{}
	before := otel.GetErrorHandler()
	otel.SetErrorHandler(h)
	t.Cleanup(func() { otel.SetErrorHandler(before) })
	return h
}
