package logs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
)

const service, endpoint = "payments", "https://pay.example"

func config() breaker.Config {
	return breaker.Config{
		Service: service, Endpoint: endpoint, FailureThreshold: 2, RecoveryTimeout: 10 * time.Second,
	}
}

func newBreaker(t testing.TB, c breaker.Config, listeners ...breaker.Listener) *breaker.Breaker {
	t.Helper()
	b, err := breaker.New(c, listeners...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func flush(t testing.TB, b *breaker.Breaker) {
	t.Helper()
	if err := b.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// downError is an error whose text may not be told.
type downError struct{}

func (downError) Error() string     { return "token=secret" }
func (downError) ErrorType() string { return "503" }

func succeed(context.Context) error { return nil }
func fail(context.Context) error    { return downError{} }

var tracer = sdktrace.NewTracerProvider().Tracer("test")

// call makes a call in a span of its own.
func call(b *breaker.Breaker, fn func(context.Context) error) trace.SpanContext {
	ctx, span := tracer.Start(context.Background(), "call")
	defer span.End()
	_ = b.Do(ctx, fn)
	return span.SpanContext()
}

// recorder is an exporter that keeps what it gets.
type recorder struct {
	mu      sync.Mutex
	records []sdklog.Record
}

func newRecorder() (*recorder, *sdklog.LoggerProvider) {
	r := &recorder{}
	return r, sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewSimpleProcessor(r)))
}

func (r *recorder) Export(_ context.Context, records []sdklog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range records {
		r.records = append(r.records, record.Clone())
	}
	return nil
}

func (*recorder) Shutdown(context.Context) error   { return nil }
func (*recorder) ForceFlush(context.Context) error { return nil }

func (r *recorder) take() []sdklog.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.records
	r.records = nil
	return taken
}

func attributes(r sdklog.Record) map[string]any {
	m := map[string]any{}
	r.WalkAttributes(func(a attribute.KeyValue) bool {
		m[string(a.Key)] = a.Value.AsInterface()
		return true
	})
	return m
}

// jsonLogger gives a logger, and what takes the lines it wrote.
func jsonLogger(t testing.TB, options *slog.HandlerOptions) (*slog.Logger, func() []map[string]any) {
	var mu sync.Mutex
	var text bytes.Buffer
	w := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return text.Write(p)
	})
	return slog.New(slog.NewJSONHandler(w, options)), func() (lines []map[string]any) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		for line := range bytes.Lines(text.Bytes()) {
			m := map[string]any{}
			if err := json.Unmarshal(line, &m); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			lines = append(lines, m)
		}
		text.Reset()
		return lines
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
