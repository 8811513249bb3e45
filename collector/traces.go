package collector

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// startTraces adds the tracer provider. Without an exporter it still samples, so that trace ids reach the callee
// and the log.
func (p *Pipeline) startTraces(ctx context.Context, res *resource.Resource, from plan, c config) error {
	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	limit := intVar("OTEL_BSP_MAX_QUEUE_SIZE", queueSize)
	for _, name := range from.exporters {
		exporter, err := newSpanExporter(ctx, name, from)
		if err != nil {
			return fmt.Errorf("collector: traces: %w", err)
		}
		if !c.fullURL {
			exporter = spanRedactor{exporter}
		}
		o := p.newOutlet(traces, name, from, limit)
		queue := sdktrace.NewBatchSpanProcessor(spanOutlet{exporter, o}, sdktrace.WithMaxQueueSize(limit))
		opts = append(opts, sdktrace.WithSpanProcessor(spanInlet{queue, o}))
	}
	provider := sdktrace.NewTracerProvider(opts...)
	p.tracers = provider
	p.stages = append(p.stages, stage{traces, provider})
	return nil
}

func newSpanExporter(ctx context.Context, name string, from plan) (sdktrace.SpanExporter, error) {
	switch {
	case name == consoleExporter:
		return stdouttrace.New()
	case from.grpc:
		return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(from.url))
	default:
		return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(from.url), otlptracehttp.WithHTTPClient(from.client))
	}
}

type spanInlet struct {
	sdktrace.SpanProcessor
	*outlet
}

func (i spanInlet) OnEnd(s sdktrace.ReadOnlySpan) {
	if s.SpanContext().IsSampled() && i.admit() {
		i.SpanProcessor.OnEnd(s)
	}
}

type spanOutlet struct {
	sdktrace.SpanExporter
	*outlet
}

func (o spanOutlet) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	return o.send(ctx, int64(len(spans)), func(ctx context.Context) error { return o.SpanExporter.ExportSpans(ctx, spans) })
}

func (o spanOutlet) Shutdown(ctx context.Context) error {
	defer o.closeIdle()
	return o.SpanExporter.Shutdown(ctx)
}
