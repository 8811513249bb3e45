package logs_test

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/log/noop"
	sdklog "go.opentelemetry.io/otel/sdk/log"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
)

func someEvent() breaker.Event {
	return breaker.Event{
		Service: service, Endpoint: endpoint, From: breaker.Closed, To: breaker.Open, At: time.Now(), OutageID: "0123456789abcdef",
		Reason:    breaker.Reason{Rule: breaker.RuleConsecutiveFailures, Observed: 5, Threshold: 5},
		ErrorType: "timeout", FailureCount: 5, Context: context.Background(), OpenedBy: context.Background(),
	}
}

// disabled are listeners whose logs want nothing.
func disabled() map[string]breaker.Listener {
	silent := slog.New(slog.DiscardHandler)
	return map[string]breaker.Listener{
		"no SDK":        logs.NewListener(logs.WithLoggerProvider(noop.NewLoggerProvider()), logs.WithFailures()),
		"no processor":  logs.NewListener(logs.WithLoggerProvider(sdklog.NewLoggerProvider()), logs.WithFailures()),
		"slog disabled": logs.NewListener(logs.WithSlog(silent), logs.WithFailures()),
	}
}

func TestWhatIsNotWantedIsNotMade(t *testing.T) {
	e := someEvent()
	f := breaker.FailedCall{Service: service, Endpoint: endpoint, ErrorType: "timeout", Context: context.Background()}
	for name, l := range disabled() {
		if n := testing.AllocsPerRun(100, func() { l.OnTransition(e) }); n != 0 {
			t.Errorf("%s: %v allocations a transition", name, n)
		}
		if n := testing.AllocsPerRun(100, func() { l.(breaker.FailureListener).OnFailure(f) }); n != 0 {
			t.Errorf("%s: %v allocations a failed call", name, n)
		}
	}
}

// BenchmarkTransition is the price of a record, off the call path: of one that nobody wants, of one that is written, and
// of one that is held back.
func BenchmarkTransition(b *testing.B) {
	e := someEvent()
	all := disabled()
	sdk := logs.WithLoggerProvider(sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewSimpleProcessor(nowhere{}))))
	all["written"] = logs.NewListener(sdk, logs.WithLimit(10_000_000_000))
	all["written, no limit"] = logs.NewListener(sdk, logs.WithLimit(0))
	all["written, slog"] = logs.NewListener(logs.WithSlog(slog.New(slog.NewJSONHandler(io.Discard, nil))), logs.WithLimit(0))
	all["held back"] = logs.NewListener(sdk, logs.WithLimit(1))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		l := all[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.OnTransition(e)
			}
		})
	}
}

// nowhere is an exporter.
type nowhere struct{}

func (nowhere) Export(context.Context, []sdklog.Record) error { return nil }
func (nowhere) Shutdown(context.Context) error                { return nil }
func (nowhere) ForceFlush(context.Context) error              { return nil }
