package otelcb_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// One breaker, observed under the global providers. Nothing else is needed: calls do not change.
func ExampleObserve() {
	b, err := breaker.New(breaker.Config{Service: "payments", Endpoint: "https://pay.example"})
	if err != nil {
		log.Fatal(err)
	}
	registration, err := otelcb.Observe(b)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = registration.Unregister() }()

	err = b.Do(context.Background(), func(context.Context) error { return nil })
	fmt.Println(err)
	// Output: <nil>
}

// A program without OTLP sees the log records in its own log. They go through OpenTelemetry as well.
func ExampleWithSlog() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr { // for the sake of a short example
			if a.Key == slog.MessageKey || a.Key == "service" || a.Key == "reason" || a.Key == "error.type" {
				return a
			}
			return slog.Attr{}
		},
	}))
	b, err := breaker.New(breaker.Config{Service: "payments", FailureThreshold: 1})
	if err != nil {
		log.Fatal(err)
	}
	registration, err := otelcb.Observe(b, otelcb.WithSlog(logger))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = registration.Unregister() }()

	_ = b.Do(context.Background(), func(context.Context) error { return context.DeadlineExceeded })
	_ = b.Flush(context.Background()) // records are written off the call
	// Output:
	// msg="Circuit breaker opened" service=payments reason=consecutive_failures error.type=timeout
}

// A group is observed as a whole, the breakers that it will make later included.
func ExampleObserve_group() {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))

	g, err := breaker.NewGroup(breaker.Config{Service: "search"})
	if err != nil {
		log.Fatal(err)
	}
	registration, err := otelcb.Observe(g, otelcb.WithMeterProvider(provider))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = registration.Unregister() }()
	g.Get("https://eu.search.example")
	g.Get("https://us.search.example").ForceOpen("drill")

	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		log.Fatal(err)
	}
	for _, m := range data.ScopeMetrics[0].Metrics {
		if gauge, ok := m.Data.(metricdata.Gauge[int64]); ok && m.Name == "circuit_breaker.state" {
			for _, p := range gauge.DataPoints {
				endpoint, _ := p.Attributes.Value("endpoint")
				fmt.Println(endpoint.AsString(), p.Value)
			}
		}
	}
	// Unordered output:
	// https://eu.search.example 0
	// https://us.search.example 2
}

// Log records besides, providers of one's own, and an SDK whose limit of series was raised.
func ExampleWithLogs() {
	g, err := breaker.NewGroup(breaker.Config{Service: "search"}, breaker.WithMaxEndpoints(1_000))
	if err != nil {
		log.Fatal(err)
	}
	registration, err := otelcb.Observe(g,
		otelcb.WithLogs(logs.WithFailures()),
		otelcb.WithTracerProvider(sdktrace.NewTracerProvider()),
		otelcb.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithCardinalityLimit(10_000))),
		otelcb.WithCardinalityLimit(10_000)) // as the SDK's, which does not tell
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(registration.Unregister())
	// Output: <nil>
}
