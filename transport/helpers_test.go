package transport_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/internal/signals"
	"github.com/otelbreaker/otelbreaker/transport"
)

// The orders in which a transport can stand to otelhttp's.
const (
	bare  = "without otelhttp"
	over  = "over otelhttp"
	under = "under otelhttp"

	overUntraced  = "over otelhttp, untraced"
	underUntraced = "under otelhttp, untraced"
)

var orders = []string{bare, over, under, overUntraced, underUntraced}

// telemetry collects all that leaves.
type telemetry struct {
	reader  *metric.ManualReader
	meters  *metric.MeterProvider
	spans   *tracetest.SpanRecorder
	tracers *trace.TracerProvider
	records *signals.Records
	loggers *log.LoggerProvider
}

func newTelemetry() *telemetry {
	t := &telemetry{reader: metric.NewManualReader(), spans: tracetest.NewSpanRecorder(), records: new(signals.Records)}
	t.meters = metric.NewMeterProvider(metric.WithReader(t.reader))
	t.tracers = trace.NewTracerProvider(trace.WithSpanProcessor(t.spans))
	t.loggers = log.NewLoggerProvider(log.WithProcessor(t.records))
	return t
}

// newBenchTelemetry is one that keeps nothing.
func newBenchTelemetry() *telemetry {
	return &telemetry{meters: metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())),
		tracers: trace.NewTracerProvider(), loggers: log.NewLoggerProvider()}
}

func (tel *telemetry) options() []transport.Option {
	return []transport.Option{transport.WithMeterProvider(tel.meters), transport.WithTracerProvider(tel.tracers),
		transport.WithLoggerProvider(tel.loggers)}
}

// metrics gives the data points, as instrument and labels to the value's text.
func (tel *telemetry) metrics(t testing.TB) map[string]string {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := tel.reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	points := map[string]string{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			add := func(set attribute.Set, value any) {
				points[m.Name+" "+set.Encoded(attribute.DefaultEncoder())] = fmt.Sprint(value)
			}
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Sum[float64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Count)
				}
			case metricdata.Histogram[int64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Count)
				}
			default:
				t.Fatalf("%s is of a kind that this test does not read: %T", m.Name, data)
			}
		}
	}
	return points
}

// rig is a client, guarded, of a server.
type rig struct {
	*telemetry
	server  *httptest.Server
	base    *http.Transport
	guarded *transport.Transport
	client  *http.Client
}

func instrument(next http.RoundTripper, tel *telemetry) http.RoundTripper {
	return otelhttp.NewTransport(next, otelhttp.WithMeterProvider(tel.meters), otelhttp.WithTracerProvider(tel.tracers))
}

// stack puts a transport over, under, or without otelhttp.
func stack(t testing.TB, order string, base http.RoundTripper, tel *telemetry, options ...transport.Option) (
	*transport.Transport, http.RoundTripper,
) {
	t.Helper()
	if strings.HasSuffix(order, "untraced") {
		tel.tracers = trace.NewTracerProvider(trace.WithSampler(trace.NeverSample()))
	}
	if order == over || order == overUntraced {
		base = instrument(base, tel)
	}
	guarded, err := transport.New(base, append(tel.options(), options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := guarded.Close(); err != nil {
			t.Error(err)
		}
	})
	if order == under || order == underUntraced {
		return guarded, instrument(guarded, tel)
	}
	return guarded, guarded
}

// way is one of the ways in which a call can be made.
type way struct {
	order string
	http2 bool
}

func (w way) String() string {
	if w.http2 {
		return "HTTP2 " + w.order
	}
	return "HTTP1 " + w.order
}

// eachWay runs a test over HTTP/1.1 and HTTP/2, both with TLS, and in every order, with tracing and without.
func eachWay(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	for _, http2 := range []bool{false, true} {
		for _, order := range orders {
			w := way{order, http2}
			t.Run(w.String(), func(t *testing.T) { test(t, w) })
		}
	}
}

// start starts a server and puts a guarded client before it.
func (w way) start(t testing.TB, handler http.HandlerFunc, options ...transport.Option) *rig {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = w.http2
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections() // those that a test has left on purpose
		server.Close()
	})
	r := &rig{telemetry: newTelemetry(), server: server, base: server.Client().Transport.(*http.Transport)}
	var top http.RoundTripper
	r.guarded, top = stack(t, w.order, r.base, r.telemetry, options...)
	r.client = &http.Client{Transport: top}
	t.Cleanup(r.base.CloseIdleConnections)
	return r
}

func (r *rig) breaker() *breaker.Breaker { return r.guarded.Breakers().Get(r.server.URL) }

// get makes a request to path and gives the response, whose body is closed at the end of the test if not before.
func (r *rig) get(t testing.TB, path string) *http.Response {
	t.Helper()
	res, err := r.client.Get(r.server.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// counts are a breaker's totals.
type counts struct{ success, failure, blocked, ignored uint64 }

func countsOf(b *breaker.Breaker) counts {
	s := b.Snapshot()
	return counts{s.Success, s.Failure, s.Blocked, s.Ignored}
}

func expect(t testing.TB, b *breaker.Breaker, when string, want counts) {
	t.Helper()
	if got := countsOf(b); got != want {
		t.Errorf("%s: %+v, want %+v", when, got, want)
	}
}

func drain(t testing.TB, res *http.Response) string {
	t.Helper()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading the body: %v", err)
	}
	return string(all)
}

// roundTripper is a function as a transport.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// response makes one with a body of unknown length.
func response(req *http.Request, status int, body io.Reader) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(body), ContentLength: -1, Request: req,
	}
}

func request(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func mustNew(t testing.TB, next http.RoundTripper, options ...transport.Option) *transport.Transport {
	t.Helper()
	guarded, _ := stack(t, bare, next, newTelemetry(), options...)
	return guarded
}

// tripsAtOnce is a configuration under which one failure is enough.
var tripsAtOnce = breaker.Config{FailureThreshold: 1}

func text(s string) io.Reader { return strings.NewReader(s) }
