package collector_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

func Example() {
	ctx := context.Background()
	pipeline, err := collector.Start(ctx, collector.WithServiceName("shop"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() {
		if err := pipeline.Shutdown(ctx); err != nil {
			fmt.Println(err)
		}
	}()
	http.Handle("/metrics", pipeline.MetricsHandler())

	// Instrumentation finds the pipeline by the globals.
	counter, err := otel.Meter("example").Int64Counter("example.calls", metric.WithUnit("{call}"))
	if err != nil {
		fmt.Println(err)
		return
	}
	counter.Add(ctx, 2)

	response := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(response.Body.String()) {
		if strings.HasPrefix(line, "example_calls") {
			fmt.Print(line)
		}
	}
	// Output: example_calls_total 2
}

// Everything is sent to a collector; where the OTEL_* variables say otherwise, they win.
func ExampleWithOTLP() {
	version := "unknown"
	if info, found := debug.ReadBuildInfo(); found {
		version = info.Main.Version
	}
	pipeline, err := collector.Start(context.Background(),
		collector.WithServiceName("shop"),
		collector.WithServiceVersion(version),
		collector.WithResourceAttributes(attribute.String("deployment.environment.name", "prod")),
		collector.WithOTLP("http/protobuf", "http://127.0.0.1:4318"),
		collector.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))), // what is lost is told here
		collector.WithoutGlobals())
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // this example does not wait for a collector
	_ = pipeline.Shutdown(ctx)
}

// A pipeline that is not the global one is given to what shall use it.
func ExampleWithoutGlobals() {
	ctx := context.Background()
	pipeline, err := collector.Start(ctx, collector.WithServiceName("shop"), collector.WithoutGlobals(), collector.WithoutRuntimeMetrics())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = pipeline.Shutdown(ctx) }()
	b, err := breaker.New(breaker.Config{Service: "payments"})
	if err != nil {
		fmt.Println(err)
		return
	}
	registration, err := otelcb.Observe(b,
		otelcb.WithMeterProvider(pipeline.MeterProvider()),
		otelcb.WithTracerProvider(pipeline.TracerProvider()),
		otelcb.WithLogs(logs.WithLoggerProvider(pipeline.LoggerProvider())))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = registration.Unregister() }()
	fmt.Println(pipeline.ForceFlush(ctx)) // before a job ends that is too short for an export
	// Output: <nil>
}

// What the SDK makes of instruments can be changed; dashboards and alerts know only the usual names.
func ExampleWithViews() {
	pipeline, err := collector.Start(context.Background(), collector.WithServiceName("shop"),
		collector.WithViews(sdkmetric.NewView(
			sdkmetric.Instrument{Name: "http.client.*"}, sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}})),
		collector.WithExponentialRecovery(),    // in Prometheus a native histogram
		collector.WithCardinalityLimit(30_000), // for up to 5,000 endpoints
		collector.WithoutGlobals())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pipeline.Shutdown(context.Background()))
	// Output: <nil>
}

// For a first look: all signals on standard output, with URLs as they were.
func ExampleWithConsole() {
	pipeline, err := collector.Start(context.Background(), collector.WithConsole(), collector.WithFullURL(),
		collector.WithoutRuntimeMetrics(), collector.WithoutGlobals())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = pipeline.Shutdown(context.Background()) }()
}
