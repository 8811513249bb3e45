package transport_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	lognoop "go.opentelemetry.io/otel/log/noop"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/transport"
)

// A trial: every call goes through, and telemetry tells what would have been.
func ExampleWithDisabled() {
	guarded, err := transport.New(otelhttp.NewTransport(http.DefaultTransport),
		transport.WithConfig(breaker.Config{Service: "payments", FailureThreshold: 3}),
		transport.WithDisabled("trial of thresholds"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guarded.Close() }()
	b := guarded.Breakers().Get("https://payments.example")
	fmt.Println(b.Snapshot().Override)
	b.Reset() // the trial is over
	fmt.Println(b.Snapshot().Override)
	// Output:
	// disabled
	// automatic
}

// Log records also as lines of JSON, one for each failed call besides, and somebody else who listens.
func ExampleWithSlog() {
	guarded, err := transport.New(nil,
		transport.WithSlog(slog.New(slog.NewJSONHandler(os.Stderr, nil))),
		transport.WithLogs(logs.WithFailures()),
		transport.WithListeners(breaker.ListenerFunc(func(e breaker.Event) { fmt.Println(e.Service, "is", e.To) })),
		transport.WithMaxEndpoints(1_000))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guarded.Close() }()
	fmt.Println(guarded.Breakers().Get("https://payments.example").State())
	// Output: closed
}

// Providers of one's own, in place of the global ones.
func ExampleWithMeterProvider() {
	guarded, err := transport.New(nil,
		transport.WithMeterProvider(metricnoop.NewMeterProvider()),
		transport.WithTracerProvider(tracenoop.NewTracerProvider()),
		transport.WithLoggerProvider(lognoop.NewLoggerProvider()))
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: guarded}
	// At the program's end: nothing is observed any more, and no connection waits.
	client.CloseIdleConnections()  // passes through
	guarded.CloseIdleConnections() // the same
	fmt.Println(guarded.Close())
	// Output: <nil>
}

// The text of an error of http.Client has the whole URL, secrets and all.
func ExampleRedactError() {
	err := error(&url.Error{Op: "Get", URL: "https://user:word@payments.example/balance?token=word", Err: breaker.ErrOpen})
	safe := transport.RedactError(err)
	fmt.Println(safe)
	fmt.Println(errors.Is(safe, breaker.ErrOpen))
	// Output:
	// Get "https://payments.example/balance": circuit breaker is open
	// true
}

// With an SDK other than package collector's, which cuts what it exports, otelhttp's spans are cut beneath it.
func ExampleRedactURL() {
	guarded, err := transport.New(otelhttp.NewTransport(transport.RedactURL(http.DefaultTransport)))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guarded.Close() }()
}

// Queries that hold no secret may stay on spans.
func ExampleWithFullURL() {
	guarded, err := transport.New(otelhttp.NewTransport(http.DefaultTransport), transport.WithFullURL())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guarded.Close() }()
}
