package otelcb_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

func TestWithLogsWritesTheRecordsOfEveryBreaker(t *testing.T) {
	for name, src := range map[string]func(*breaker.Group) otelcb.Source{
		"a source that can be subscribed to": func(g *breaker.Group) otelcb.Source { return g },
		"one that cannot":                    func(g *breaker.Group) otelcb.Source { return sourceFunc(g.All) },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, breaker.Config{})
			there := g.Get("there")
			reader, provider := newReader()
			var recorded recorder
			r := observe(t, src(g), provider, otelcb.WithLogs(logs.WithLoggerProvider(
				sdklog.NewLoggerProvider(sdklog.WithProcessor(&recorded)))))
			later := g.Get("later")
			collect(t, reader) // by which the other kind of source finds it
			for i, b := range []*breaker.Breaker{there, later} {
				b.ForceOpen("test")
				flush(t, b)
				if n := len(recorded.causes); n != i+1 {
					t.Errorf("%d records of %d transitions", n, i+1)
				}
			}
			if err := r.Unregister(); err != nil {
				t.Fatal(err)
			}
			there.Reset()
			flush(t, there)
			if n := len(recorded.causes); n != 2 {
				t.Errorf("%d records, one of them after Unregister", n)
			}
		})
	}
}

// What a program sees in its own log must not depend on where OpenTelemetry's goes, nor take anything away from that.
func TestWithSlogWritesTheRecordsToTheLoggerAsWell(t *testing.T) {
	for name, c := range map[string]struct {
		options           func(mine, other *slog.Logger, provider log.LoggerProvider) []otelcb.Option
		mine, other, otel int // records
	}{
		"nothing else": {func(mine, _ *slog.Logger, _ log.LoggerProvider) []otelcb.Option {
			return []otelcb.Option{otelcb.WithSlog(mine)}
		}, 1, 0, 1},
		"after WithLogs": {func(mine, _ *slog.Logger, provider log.LoggerProvider) []otelcb.Option {
			return []otelcb.Option{otelcb.WithLogs(logs.WithLoggerProvider(provider)), otelcb.WithSlog(mine)}
		}, 1, 0, 1},
		"before WithLogs": {func(mine, _ *slog.Logger, provider log.LoggerProvider) []otelcb.Option {
			return []otelcb.Option{otelcb.WithSlog(mine), otelcb.WithLogs(logs.WithLoggerProvider(provider))}
		}, 1, 0, 1},
		"another logger": {func(mine, other *slog.Logger, _ log.LoggerProvider) []otelcb.Option {
			return []otelcb.Option{otelcb.WithLogs(logs.WithSlog(other)), otelcb.WithSlog(mine)}
		}, 0, 1, 1},
		"none": {func(_, _ *slog.Logger, provider log.LoggerProvider) []otelcb.Option {
			return []otelcb.Option{otelcb.WithSlog(nil), otelcb.WithLogs(logs.WithLoggerProvider(provider))}
		}, 0, 0, 1},
		"neither": {func(_, _ *slog.Logger, _ log.LoggerProvider) []otelcb.Option {
			return []otelcb.Option{otelcb.WithSlog(nil)}
		}, 0, 0, 0},
		"the logger alone": {func(mine, _ *slog.Logger, _ log.LoggerProvider) []otelcb.Option {
			return []otelcb.Option{otelcb.WithLogs(logs.WithSlog(mine))}
		}, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var recorded recorder
			records := sdklog.NewLoggerProvider(sdklog.WithProcessor(&recorded))
			before := otel.GetLoggerProvider()
			otel.SetLoggerProvider(records)
			defer otel.SetLoggerProvider(before)
			var mine, other bytes.Buffer
			_, provider := newReader()
			b := newBreaker(t, breaker.Config{})
			observe(t, b, provider, c.options(slog.New(slog.NewTextHandler(&mine, nil)), slog.New(slog.NewTextHandler(&other, nil)), records)...)
			b.ForceOpen("test")
			flush(t, b)
			for which, log := range map[string]struct{ got, want int }{
				"the logger":    {strings.Count(mine.String(), "event_type=circuit_state_change"), c.mine},
				"the other":     {strings.Count(other.String(), "event_type=circuit_state_change"), c.other},
				"OpenTelemetry": {len(recorded.causes), c.otel},
			} {
				if log.got != log.want {
					t.Errorf("%s has %d records, want %d", which, log.got, log.want)
				}
			}
		})
	}
}
