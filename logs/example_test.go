package logs_test

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"os"

	"go.opentelemetry.io/otel/log/noop"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
)

// Records go through the OpenTelemetry pipeline of the program.
func ExampleNewListener() {
	b, err := breaker.New(breaker.Config{Service: "payments"}, logs.NewListener())
	if err != nil {
		stdlog.Fatal(err)
	}
	_ = b.Do(context.Background(), func(context.Context) error { return nil })
	// Output:
}

// Without such a pipeline, the same records are JSON lines.
func ExampleWithSlog() {
	logger := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "outage_id" { // they differ from run to run
				return slog.Attr{}
			}
			return a
		},
	}))
	b, err := breaker.New(breaker.Config{Service: "payments", FailureThreshold: 1}, logs.NewListener(logs.WithSlog(logger)))
	if err != nil {
		stdlog.Fatal(err)
	}
	_ = b.Do(context.Background(), func(context.Context) error { return errors.New("connection refused") })
	_ = b.Flush(context.Background())
	// Output:
	// {"level":"WARN","msg":"Circuit breaker opened","component":"circuit_breaker","event_type":"circuit_opened","service":"payments","endpoint":"default","old_state":"closed","new_state":"open","failure_count":1,"success_count":0,"reason":"consecutive_failures","observed":1,"threshold":1,"error.type":"*errors.errorString"}
}

// Failed calls are searched for to see what came before an opening.
func ExampleWithFailures() {
	logger := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			switch a.Key {
			case slog.LevelKey, slog.MessageKey, "event_type", "state", "error.type":
				return a
			}
			return slog.Attr{} // to be short
		},
	}))
	b, err := breaker.New(breaker.Config{Service: "payments", FailureThreshold: 2},
		logs.NewListener(logs.WithSlog(logger), logs.WithFailures()))
	if err != nil {
		stdlog.Fatal(err)
	}
	_ = b.Do(context.Background(), func(context.Context) error { return context.DeadlineExceeded })
	_ = b.Do(context.Background(), func(context.Context) error { return errors.New("connection refused") })
	_ = b.Flush(context.Background())
	// Output:
	// {"level":"WARN","msg":"Circuit breaker counted a failed call","event_type":"call_failed","state":"closed","error.type":"timeout"}
	// {"level":"WARN","msg":"Circuit breaker counted a failed call","event_type":"call_failed","state":"closed","error.type":"*errors.errorString"}
	// {"level":"WARN","msg":"Circuit breaker opened","event_type":"circuit_opened","error.type":"*errors.errorString"}
}

// Records to two places, and never more than a few a minute of a breaker that flaps.
func ExampleWithLimit() {
	listener := logs.NewListener(
		logs.WithLoggerProvider(noop.NewLoggerProvider()), // yours
		logs.WithSlog(slog.Default()),
		logs.WithLimit(30),
		logs.WithFailureLimit(600)) // failed calls, too
	b, err := breaker.New(breaker.Config{Service: "payments"}, listener)
	if err != nil {
		stdlog.Fatal(err)
	}
	fmt.Println(b.State())
	// Output: closed
}

// A listener of one's own writes under the names that the records have.
func ExampleAttributes() {
	b, err := breaker.New(breaker.Config{Service: "payments", FailureThreshold: 1}, breaker.ListenerFunc(func(e breaker.Event) {
		for _, a := range logs.Attributes(e) {
			if a.Key == "service" || a.Key == "new_state" || a.Key == "reason" {
				fmt.Println(a.Key, a.Value.AsString())
			}
		}
	}))
	if err != nil {
		stdlog.Fatal(err)
	}
	_ = b.Do(context.Background(), func(context.Context) error { return errors.New("connection refused") })
	_ = b.Flush(context.Background())
	// Output:
	// service payments
	// new_state open
	// reason consecutive_failures
}
