package docs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	coltraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracespb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// program is the one that the documents on telemetry are about: its signals as they leave it. Time in it is virtual and the ids of its
// traces come from a seed, so that it says the same each time. What it sends by OTLP goes through the real exporters and
// is kept.
type program struct {
	t        *testing.T
	pipeline *collector.Pipeline
	tracers  *sdktrace.TracerProvider
	loggers  *sdklog.LoggerProvider

	mu    sync.Mutex   // what follows is written by calls and by deliveries
	ids   *rand.Rand   // of traces and spans
	lines bytes.Buffer // of log/slog
	logs  []*logspb.ResourceLogs
	spans []*tracespb.ResourceSpans
}

var (
	begin     = time.Date(2026, time.May, 4, 10, 0, 0, 0, time.UTC)
	described = []attribute.KeyValue{
		semconv.ServiceName("shop"), semconv.ServiceVersion("1.4.2"),
		semconv.ServiceInstanceID("4f6c2a9e-0d3b-4e57-9a51-c2b8d7e61f30"),
	}
)

// in runs f in a program of its own.
func in(t *testing.T, f func(*program)) {
	t.Helper()
	for _, signal := range []string{"METRICS", "TRACES", "LOGS"} {
		t.Setenv("OTEL_"+signal+"_EXPORTER", "none")
	}
	t.Setenv("OTEL_METRICS_EXPORTER", "prometheus")
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(begin))
		p := &program{t: t, ids: rand.New(rand.NewPCG(2026, 5))}
		p.start()
		f(p)
		for _, stop := range []func(context.Context) error{p.pipeline.Shutdown, p.tracers.Shutdown, p.loggers.Shutdown} {
			if err := stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func (p *program) start() {
	ctx := p.t.Context()
	keep := &http.Client{Transport: p}
	toLogs, err1 := otlploghttp.New(ctx, otlploghttp.WithHTTPClient(keep))
	toTraces, err2 := otlptracehttp.New(ctx, otlptracehttp.WithHTTPClient(keep))
	var err3 error
	p.pipeline, err3 = collector.Start(ctx, collector.WithoutGlobals(), collector.WithoutRuntimeMetrics(),
		collector.WithResourceAttributes(described...))
	if err := errors.Join(err1, err2, err3); err != nil {
		p.t.Fatal(err)
	}
	about := resource.NewWithAttributes(semconv.SchemaURL, described...)
	p.loggers = sdklog.NewLoggerProvider(sdklog.WithResource(about),
		sdklog.WithProcessor(sdklog.NewSimpleProcessor(toLogs)))
	p.tracers = sdktrace.NewTracerProvider(sdktrace.WithResource(about), sdktrace.WithSyncer(toTraces),
		sdktrace.WithIDGenerator(p))
}

// RoundTrip keeps what an exporter sends.
func (p *program) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case strings.HasSuffix(r.URL.Path, "/logs"):
		var m collogs.ExportLogsServiceRequest
		err = proto.Unmarshal(body, &m)
		p.logs = append(p.logs, m.GetResourceLogs()...)
	default:
		var m coltraces.ExportTraceServiceRequest
		err = proto.Unmarshal(body, &m)
		p.spans = append(p.spans, m.GetResourceSpans()...)
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/x-protobuf"}},
		Body: http.NoBody, Request: r}, err
}

// NewIDs makes ids that are the same each time.
func (p *program) NewIDs(context.Context) (of trace.TraceID, id trace.SpanID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fill(of[:])
	p.fill(id[:])
	return of, id
}

func (p *program) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fill(id[:])
	return id
}

func (p *program) fill(id []byte) {
	for i := range id {
		id[i] = byte(p.ids.Uint32())
	}
}

// Write takes the lines of log/slog.
func (p *program) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines.Write(line)
}

// observe has a breaker with all its signals; options are further ones of the log listener.
func (p *program) observe(c breaker.Config, options ...logs.Option) *breaker.Breaker {
	p.t.Helper()
	b, err := breaker.New(c, logs.NewListener(append(options, logs.WithLoggerProvider(p.loggers),
		logs.WithSlog(slog.New(slog.NewJSONHandler(p, nil))))...))
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := otelcb.Observe(b, otelcb.WithMeterProvider(p.pipeline.MeterProvider()), otelcb.WithTracerProvider(p.tracers))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = r.Unregister() })
	return b
}

// request is an incoming one, in a span of its own, whose call to the dependency takes so long and ends so.
func (p *program) request(b *breaker.Breaker, takes time.Duration, err error) {
	ctx, span := p.tracers.Tracer("shop").Start(p.t.Context(), "GET /checkout", trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	p.call(ctx, b, takes, err)
}

func (p *program) call(ctx context.Context, b *breaker.Breaker, takes time.Duration, err error) {
	_ = b.Do(ctx, func(context.Context) error {
		time.Sleep(takes)
		return err
	})
}

// status is an error that names itself, as those of package transport do.
type status string

func (s status) Error() string     { return "status " + string(s) }
func (s status) ErrorType() string { return string(s) }

// outage is what the document shows: a dependency that fails, a probe that times out, another that succeeds. It gives
// the id of the outage, the only thing that is random.
func (p *program) outage() (id string) {
	ctx := context.Background() // not traced
	b := p.observe(breaker.Config{
		Service: "payments", Endpoint: "https://pay.example:8443", FailureThreshold: 5,
		RecoveryTimeout: 30 * time.Second, BackoffFactor: 2, SlowCallDuration: time.Second,
	}, logs.WithFailures())
	for range 3 {
		p.call(ctx, b, 50*time.Millisecond, nil)
	}
	p.call(ctx, b, 1200*time.Millisecond, nil)
	for range 3 {
		p.call(ctx, b, 20*time.Millisecond, status("503"))
	}
	p.call(ctx, b, 20*time.Millisecond, errors.New("connection refused"))
	p.request(b, 20*time.Millisecond, status("503")) // the fifth
	id = b.Snapshot().OutageID
	time.Sleep(time.Second)
	p.request(b, 0, nil) // blocked, as are these
	p.call(ctx, b, 0, nil)
	p.call(ctx, b, 0, nil)
	time.Sleep(29*time.Second + 500*time.Millisecond)
	p.request(b, 2*time.Second, context.DeadlineExceeded)
	time.Sleep(time.Minute + 200*time.Millisecond)
	p.request(b, 45*time.Millisecond, nil)
	p.flush(b)
	return id
}

func (p *program) flush(b *breaker.Breaker) {
	p.t.Helper()
	if err := b.Flush(context.Background()); err != nil {
		p.t.Fatal(err)
	}
	synctest.Wait()
}

// everything plays the outage and then whatever else a breaker can have to tell.
func (p *program) everything() {
	p.outage()

	b := p.observe(breaker.Config{
		Service: "inventory", Endpoint: "stock", FailureThreshold: 1, RecoveryTimeout: time.Second})
	b.ForceOpen("drill") // by an operator, with a note
	p.request(b, 0, nil)
	b.Reset()
	b.Disable("trying thresholds") // and what would have happened then
	p.request(b, 0, status("500"))
	p.request(b, 0, nil)
	time.Sleep(time.Second)
	p.request(b, 0, status("500"))
	time.Sleep(time.Second)
	p.request(b, 0, nil)
	p.flush(b)

	limited := p.observe(breaker.Config{Service: "reviews", Endpoint: "feed", FailureThreshold: 3},
		logs.WithLimit(1), logs.WithFailureLimit(1)) // so that records are held back
	for range 2 {
		for range 3 {
			p.request(limited, 0, status("500"))
		}
		limited.Reset()
		p.flush(limited)
	}
	time.Sleep(5 * time.Minute)
	p.request(limited, 0, status("500"))
	p.flush(limited)

	half := p.observe(breaker.Config{
		Service: "search", Endpoint: "index", FailureThreshold: 1, RecoveryTimeout: time.Second}, logs.WithFailures())
	p.request(half, 0, status("500"))
	time.Sleep(time.Second)
	p.request(half, 0, status("500")) // a failed call in an outage
	p.flush(half)
}

// records are those that were sent, in order.
func (p *program) records() (all []*logspb.LogRecord) {
	for _, r := range p.logs {
		for _, s := range r.GetScopeLogs() {
			all = append(all, s.GetLogRecords()...)
		}
	}
	return all
}

// allSpans are those that were sent, by their beginning.
func (p *program) allSpans() (all []*tracespb.Span) {
	for _, r := range p.spans {
		for _, s := range r.GetScopeSpans() {
			all = append(all, s.GetSpans()...)
		}
	}
	slices.SortStableFunc(all, func(a, b *tracespb.Span) int {
		return int(int64(a.GetStartTimeUnixNano()) - int64(b.GetStartTimeUnixNano()))
	})
	return all
}

// scrape gives the page, as a scraper that accepts such a type gets it.
func (p *program) scrape(accept string) string {
	p.t.Helper()
	request := httptest.NewRequestWithContext(p.t.Context(), http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", accept)
	response := httptest.NewRecorder()
	p.pipeline.MetricsHandler().ServeHTTP(response, request)
	return response.Body.String()
}
