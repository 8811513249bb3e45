package collector

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutlog"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
)

// startLogs adds the logger provider.
func (p *Pipeline) startLogs(ctx context.Context, res *resource.Resource, from plan, c config) error {
	opts := []sdklog.LoggerProviderOption{sdklog.WithResource(res)}
	limit := intVar("OTEL_BLRP_MAX_QUEUE_SIZE", queueSize)
	for _, name := range from.exporters {
		exporter, err := newLogExporter(ctx, name, from)
		if err != nil {
			return fmt.Errorf("collector: logs: %w", err)
		}
		if !c.fullURL {
			exporter = logRedactor{exporter}
		}
		o := p.newOutlet(logs, name, from, limit)
		queue := sdklog.NewBatchProcessor(logOutlet{exporter, o}, sdklog.WithMaxQueueSize(limit))
		opts = append(opts, sdklog.WithProcessor(logInlet{queue, o}))
	}
	provider := sdklog.NewLoggerProvider(opts...)
	p.loggers = provider
	p.stages = append(p.stages, stage{logs, provider})
	return nil
}

func newLogExporter(ctx context.Context, name string, from plan) (sdklog.Exporter, error) {
	switch {
	case name == consoleExporter:
		return stdoutlog.New()
	case from.grpc:
		return otlploggrpc.New(ctx, otlploggrpc.WithEndpointURL(from.url))
	default:
		return otlploghttp.New(ctx, otlploghttp.WithEndpointURL(from.url), otlploghttp.WithHTTPClient(from.client))
	}
}

type logInlet struct {
	*sdklog.BatchProcessor
	*outlet
}

func (i logInlet) OnEmit(ctx context.Context, r *sdklog.Record) error {
	if !i.admit() {
		return nil
	}
	return i.BatchProcessor.OnEmit(ctx, r)
}

type logOutlet struct {
	sdklog.Exporter
	*outlet
}

func (o logOutlet) Export(ctx context.Context, records []sdklog.Record) error {
	return o.send(ctx, int64(len(records)), func(ctx context.Context) error { return o.Exporter.Export(ctx, records) })
}

func (o logOutlet) Shutdown(ctx context.Context) error {
	defer o.closeIdle()
	return o.Exporter.Shutdown(ctx)
}
