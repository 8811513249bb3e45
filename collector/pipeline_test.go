package collector_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/otelbreaker/otelbreaker/collector"
)

// TestMain takes the surroundings' variables away: the tests set their own.
func TestMain(m *testing.M) {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			if err := os.Unsetenv(name); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(m.Run())
}

// start starts a pipeline that leaves the globals alone and ends with the test.
func start(t *testing.T, opts ...collector.Option) *collector.Pipeline {
	t.Helper()
	p, err := collector.Start(t.Context(), append(opts, collector.WithoutGlobals())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = p.Shutdown(ctx) // tests that care have done so themselves
	})
	return p
}

// record makes one span, one log record and one measurement.
func record(t *testing.T, p *collector.Pipeline) {
	t.Helper()
	ctx, span := p.TracerProvider().Tracer("test").Start(t.Context(), "span")
	emit(ctx, p.LoggerProvider(), "body")
	counter, err := p.MeterProvider().Meter("test").Int64Counter("test.calls")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(ctx, 1)
	span.End()
}

func emit(ctx context.Context, provider log.LoggerProvider, body string) {
	var r log.Record
	r.SetBody(attribute.StringValue(body))
	provider.Logger("test").Emit(ctx, r)
}

// buffer is a log's output that may be written and read at once.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func TestStartWithoutVariables(t *testing.T) {
	before := runtime.NumGoroutine()
	var out buffer
	p := start(t, collector.WithLogger(out.logger()))
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines more: something is being exported", n-before)
	}
	record(t, p)
	if err := p.ForceFlush(t.Context()); err != nil {
		t.Error(err)
	}
	if page := scrape(t, p, ""); !strings.Contains(page, "\ntest_calls_total 1\n") || !strings.Contains(page, "\ntarget_info{") {
		t.Errorf("page:\n%s", page)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if out.String() != "" {
		t.Errorf("logged:\n%s", &out)
	}
}

// keepGlobals puts the globals back when the test ends, and tells whether the providers have changed.
func keepGlobals(t *testing.T) (changed func() bool) {
	t.Helper()
	meters, tracers, loggers := otel.GetMeterProvider(), otel.GetTracerProvider(), otel.GetLoggerProvider()
	propagator, handler := otel.GetTextMapPropagator(), otel.GetErrorHandler()
	changed = func() bool {
		return otel.GetMeterProvider() != meters || otel.GetTracerProvider() != tracers || otel.GetLoggerProvider() != loggers
	}
	t.Cleanup(func() {
		if changed() {
			otel.SetMeterProvider(meters)
			otel.SetTracerProvider(tracers)
			otel.SetLoggerProvider(loggers)
			otel.SetTextMapPropagator(propagator)
			otel.SetErrorHandler(handler)
		}
	})
	return changed
}

func TestStartSetsGlobals(t *testing.T) {
	changed := keepGlobals(t)
	start(t)
	if changed() {
		t.Error("WithoutGlobals: a global provider has changed")
	}

	t.Setenv("OTEL_METRICS_EXPORTER", "promethus")
	if _, err := collector.Start(t.Context()); err == nil {
		t.Fatal("no error")
	}
	if changed() {
		t.Error("a Start that failed has changed a global provider")
	}

	t.Setenv("OTEL_METRICS_EXPORTER", "")
	p, err := collector.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if otel.GetMeterProvider() != p.MeterProvider() || otel.GetTracerProvider() != p.TracerProvider() || otel.GetLoggerProvider() != p.LoggerProvider() {
		t.Error("a global provider is not the pipeline's")
	}
	carrier := propagation.MapCarrier{}
	ctx, span := otel.Tracer("test").Start(t.Context(), "span")
	otel.GetTextMapPropagator().Inject(ctx, carrier)
	span.End()
	if want := "00-" + span.SpanContext().TraceID().String() + "-" + span.SpanContext().SpanID().String() + "-01"; carrier["traceparent"] != want {
		t.Errorf("traceparent: got %q, want %q", carrier["traceparent"], want)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPropagators(t *testing.T) {
	for value, want := range map[string][]string{
		"":              {"baggage", "traceparent", "tracestate"},
		"tracecontext":  {"traceparent", "tracestate"},
		" baggage,none": {"baggage"},
		"none":          nil,
	} {
		t.Run(value, func(t *testing.T) {
			keepGlobals(t)
			t.Setenv("OTEL_PROPAGATORS", value)
			t.Setenv("OTEL_SDK_DISABLED", "true") // which does not touch the propagators
			if _, err := collector.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := otel.GetTextMapPropagator().Fields()
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestDisabled(t *testing.T) {
	for _, value := range []string{"true", "TRUE"} {
		t.Run(value, func(t *testing.T) {
			r := newReceiver(t, "http/protobuf")
			t.Setenv("OTEL_SDK_DISABLED", value)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.url)
			t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "bad") // which does not matter now
			p := start(t)
			record(t, p)
			if err := p.ForceFlush(t.Context()); err != nil {
				t.Error(err)
			}
			if page := scrape(t, p, ""); page != "# No metrics here: OTEL_SDK_DISABLED is true.\n" {
				t.Errorf("page: %q", page)
			}
			if err := p.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if len(r.paths) > 0 {
				t.Errorf("exported: %v", r.paths)
			}
		})
	}
}

func TestOTLP(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		for _, compression := range []string{"none", "gzip"} {
			t.Run(protocol+" "+compression, func(t *testing.T) {
				r := newReceiver(t, protocol)
				t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.url)
				t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
				t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", testHeader+"=a%20b")
				p := start(t, collector.WithServiceName("shop"))
				record(t, p)
				if err := p.ForceFlush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := r.spanNames(); !slices.Equal(got, []string{"span"}) {
					t.Errorf("spans: %q", got)
				}
				if got := r.logBodies(); !slices.Equal(got, []string{"body"}) {
					t.Errorf("log records: %q", got)
				}
				if got := r.metricNames(); !slices.Contains(got, "test.calls") {
					t.Errorf("metrics: %q", got)
				}
				for _, signal := range []string{"traces", "metrics", "logs"} {
					if got := r.header[signal]; got != "a b" {
						t.Errorf("%s: header: %q", signal, got)
					}
				}
				resources := r.resources()
				if len(resources) != 3 {
					t.Errorf("signals: %v", resources)
				}
				for signal, resource := range resources {
					if resource["service.name"] != "shop" || resource["service.instance.id"] != resources["traces"]["service.instance.id"] {
						t.Errorf("%s: resource: %v", signal, resource)
					}
				}
				if page := scrape(t, p, ""); !strings.Contains(page, "\ntest_calls_total 1\n") {
					t.Errorf("page besides OTLP:\n%s", page)
				}
				emit(t.Context(), p.LoggerProvider(), "last words")
				if err := p.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if got := r.logBodies(); !slices.Equal(got, []string{"body", "last words"}) {
					t.Errorf("log records after Shutdown: %q", got)
				}
			})
		}
	}
}

// An endpoint for all signals is a base, one for a signal is taken as it is.
func TestOTLPPaths(t *testing.T) {
	r := newReceiver(t, "http/protobuf")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.url+"/base/")
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", r.url+"/own/path")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", r.url)
	p := start(t)
	record(t, p)
	if err := p.ForceFlush(t.Context()); err == nil {
		t.Error("no error from a receiver that knows none of the paths")
	}
	for _, path := range []string{"/base/v1/metrics", "/own/path", "/"} {
		if r.paths[path] != 1 {
			t.Errorf("no request to %s: %v", path, r.paths)
		}
	}
}

func TestResource(t *testing.T) {
	p := start(t,
		collector.WithServiceName("by option"),
		collector.WithServiceVersion("1.2.3"),
		collector.WithResourceAttributes(attribute.String("team", "by option"), attribute.String("tier", "gold")))
	info := targetInfo(t, p)
	for _, want := range []string{
		`service_name="by option"`, `service_version="1.2.3"`, `team="by option"`, `tier="gold"`, `telemetry_sdk_name="opentelemetry"`,
		`service_instance_id="`, `host_name="`, `process_pid="`, `process_executable_name="`, `process_runtime_version="`,
	} {
		if !strings.Contains(info, want) {
			t.Errorf("no %s in %s", want, info)
		}
	}
	if strings.Contains(info, "command") {
		t.Errorf("the command line is in %s", info)
	}

	id := regexp.MustCompile(`service_instance_id="([^"]+)"`)
	if other := targetInfo(t, start(t)); id.FindString(other) == id.FindString(info) {
		t.Errorf("two pipelines have the same instance id: %s", other)
	}

	t.Setenv("OTEL_SERVICE_NAME", "by variable")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "team=by%20variable,service.name=beaten,service.instance.id=7")
	info = targetInfo(t, start(t, collector.WithServiceName("by option"), collector.WithResourceAttributes(attribute.String("team", "by option"))))
	for _, want := range []string{`service_name="by variable"`, `team="by variable"`, `service_instance_id="7"`} {
		if !strings.Contains(info, want) {
			t.Errorf("no %s in %s", want, info)
		}
	}
	if info := targetInfo(t, start(t)); !strings.Contains(info, `service_name="by variable"`) {
		t.Errorf("without options: %s", info)
	}
}

func TestG18_BadOptions(t *testing.T) {
	_, err := collector.Start(t.Context(),
		nil,
		collector.WithServiceName(""),
		collector.WithServiceVersion(""),
		collector.WithCardinalityLimit(0),
		collector.WithResourceAttributes(attribute.String("", "gold")),
		collector.WithViews(sdkmetric.NewView(sdkmetric.Instrument{Name: "a"}, sdkmetric.Stream{Name: "b"}), nil))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"option 1 of 6 is nil", `WithServiceName("")`, `WithServiceVersion("")`, `WithCardinalityLimit(0): want at least 1`, `WithResourceAttributes(gold): want a key`, `WithViews: view 2 of 2 is nil`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
	if _, err := collector.Start(canceled()); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled context: %v", err)
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestShutdown(t *testing.T) {
	r := newReceiver(t, "http/protobuf")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.url)
	p := start(t)
	record(t, p)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := p.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if got := r.spanNames(); len(got) != 1 {
				t.Errorf("returned before the span was exported: %q", got)
			}
		})
	}
	wg.Wait()
	if err := p.ForceFlush(t.Context()); err == nil {
		t.Error("ForceFlush after Shutdown: no error")
	}
	response := httptest.NewRecorder()
	p.MetricsHandler().ServeHTTP(response, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if response.Code != http.StatusServiceUnavailable || !strings.Contains(response.Body.String(), "shut down") {
		t.Errorf("page after Shutdown: %d %q", response.Code, response.Body)
	}
	record(t, p) // does nothing, and does not panic
}
