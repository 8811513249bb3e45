package grpcbreaker_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	lognoop "go.opentelemetry.io/otel/log/noop"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/grpcbreaker"
	"github.com/otelbreaker/otelbreaker/logs"
)

// In a chain of interceptors of one's own: what retries comes before. A connection's breaker is found by its key.
func ExampleInterceptors() {
	guarded, err := grpcbreaker.New(grpcbreaker.WithFailureCodes(codes.Unavailable, codes.DeadlineExceeded))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guarded.Close() }()
	conn, err := grpc.NewClient("payments.example:443",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(guarded.Unary()),
		grpc.WithChainStreamInterceptor(guarded.Stream()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()
	key := grpcbreaker.TargetKey(context.Background(), "", conn)
	fmt.Println(key, guarded.Breakers().Get(key).State())
	// Output: dns:///payments.example:443 closed
}

// A trial, one breaker a method: every call goes through, and telemetry tells what would have been.
func ExampleWithDisabled() {
	guarded, err := grpcbreaker.New(
		grpcbreaker.WithKey(grpcbreaker.MethodKey),
		grpcbreaker.WithMaxEndpoints(1_000),
		grpcbreaker.WithDisabled("trial of thresholds"),
		grpcbreaker.WithSlog(slog.New(slog.NewJSONHandler(os.Stderr, nil))),
		grpcbreaker.WithLogs(logs.WithFailures()),
		grpcbreaker.WithListeners(breaker.ListenerFunc(func(breaker.Event) { /* tell somebody */ })))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(guarded.Close())
	// Output: <nil>
}

// Providers of one's own, in place of the global ones.
func ExampleWithMeterProvider() {
	guarded, err := grpcbreaker.New(
		grpcbreaker.WithMeterProvider(metricnoop.NewMeterProvider()),
		grpcbreaker.WithTracerProvider(tracenoop.NewTracerProvider()),
		grpcbreaker.WithLoggerProvider(lognoop.NewLoggerProvider()))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(guarded.Close())
	// Output: <nil>
}
