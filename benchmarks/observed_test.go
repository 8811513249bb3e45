package benchmarks

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// collection is how often the metrics of an observed breaker are collected; by default it is once a minute.
const collection = 10 * time.Millisecond

// pipeline is the OpenTelemetry SDK with exporters that count what they get and throw it away.
type pipeline struct {
	metrics *metric.MeterProvider
	spans   *trace.TracerProvider
	logs    *log.LoggerProvider

	collections, spansOut, recordsOut atomic.Int64
}

// newPipeline makes one whose metrics are collected by themselves.
func newPipeline(tb testing.TB) *pipeline {
	tb.Helper()
	p := new(pipeline)
	p.start(tb, metric.NewPeriodicReader(metricSink{p}, metric.WithInterval(collection)))
	return p
}

func (p *pipeline) start(tb testing.TB, reader metric.Reader) {
	tb.Helper()
	p.metrics = metric.NewMeterProvider(metric.WithReader(reader),
		metric.WithCardinalityLimit(0)) // none, for there are benchmarks with thousands of breakers
	p.spans = trace.NewTracerProvider(trace.WithBatcher(spanSink{p}))
	p.logs = log.NewLoggerProvider(log.WithProcessor(log.NewBatchProcessor(logSink{p})))
	tb.Cleanup(func() {
		ctx := context.Background() // the test's has ended
		if err := errors.Join(p.metrics.Shutdown(ctx), p.spans.Shutdown(ctx), p.logs.Shutdown(ctx)); err != nil {
			tb.Error(err)
		}
	})
}

// source is what can be observed: one breaker or a group.
type source interface {
	otelcb.Source
	Subscribe(breaker.Listener) (cancel func())
}

// observe wires all that leaves a breaker: metrics, spans and log records.
func (p *pipeline) observe(tb testing.TB, src source) {
	tb.Helper()
	registration, err := otelcb.Observe(src, otelcb.WithMeterProvider(p.metrics), otelcb.WithTracerProvider(p.spans),
		otelcb.WithCardinalityLimit(0))
	if err != nil {
		tb.Fatal(err)
	}
	cancel := src.Subscribe(logs.NewListener(logs.WithLoggerProvider(p.logs)))
	tb.Cleanup(func() {
		cancel()
		if err := registration.Unregister(); err != nil {
			tb.Error(err)
		}
	})
}

// observed has a breaker watched by a pipeline of its own.
func observed(tb testing.TB, b *breaker.Breaker) {
	tb.Helper()
	newPipeline(tb).observe(tb, b)
}

// unobserved leaves it alone.
func unobserved(testing.TB, *breaker.Breaker) {}

type metricSink struct{ *pipeline }

func (s metricSink) Temporality(k metric.InstrumentKind) metricdata.Temporality {
	return metric.DefaultTemporalitySelector(k)
}

func (s metricSink) Aggregation(k metric.InstrumentKind) metric.Aggregation {
	return metric.DefaultAggregationSelector(k)
}

func (s metricSink) Export(context.Context, *metricdata.ResourceMetrics) error {
	s.collections.Add(1)
	return nil
}

func (metricSink) ForceFlush(context.Context) error { return nil }
func (metricSink) Shutdown(context.Context) error   { return nil }

type spanSink struct{ *pipeline }

func (s spanSink) ExportSpans(_ context.Context, spans []trace.ReadOnlySpan) error {
	s.spansOut.Add(int64(len(spans)))
	return nil
}

func (spanSink) Shutdown(context.Context) error { return nil }

type logSink struct{ *pipeline }

func (s logSink) Export(_ context.Context, records []log.Record) error {
	s.recordsOut.Add(int64(len(records)))
	return nil
}

func (logSink) ForceFlush(context.Context) error { return nil }
func (logSink) Shutdown(context.Context) error   { return nil }
