// Package api_test holds the names and signatures that programs were told to rely on before the first release. It
// only has to compile: what it mentions must not be removed, renamed or given another type. The files beside it are
// the record of all that there is, made by make api-record.
package api_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/health"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/notify"
	"github.com/otelbreaker/otelbreaker/otelcb"
	"github.com/otelbreaker/otelbreaker/transport"
)

// Package breaker: states and outcomes, with the values that signals carry. An index that is not 0 does not compile.
var (
	_ = [1]uint8{}[uint8(breaker.Closed)-0]
	_ = [1]uint8{}[uint8(breaker.HalfOpen)-1]
	_ = [1]uint8{}[uint8(breaker.Open)-2]
	_ = [1]uint8{}[uint8(breaker.Success)-0]
	_ = [1]uint8{}[uint8(breaker.Failure)-1]
	_ = [1]uint8{}[uint8(breaker.Ignored)-2]

	_ breaker.State                = breaker.Closed
	_ breaker.Outcome              = breaker.Success
	_ func(breaker.State) string   = breaker.State.String
	_ func(error) breaker.Outcome  = breaker.Config{}.Classify
	_ func(breaker.Listener) error = func(l breaker.Listener) error {
		_, err := breaker.New(breaker.Config{}, l)
		return err
	}
)

var _ = breaker.Config{
	Service: "", Endpoint: "",
	FailureThreshold: int(0), FailureRate: float64(0), SlowCallRate: float64(0), SlowCallDuration: time.Duration(0),
	WindowCalls: int(0), WindowDuration: time.Duration(0), MinCalls: int(0),
	RecoveryTimeout: time.Duration(0), BackoffFactor: float64(0), MaxRecoveryTimeout: time.Duration(0), Jitter: float64(0),
	SuccessThreshold: int(0), MaxProbes: int(0), ProbeTimeout: time.Duration(0),
	Classify: func(error) breaker.Outcome { return breaker.Success },
}

// Its functions and methods.
var (
	_ func(breaker.Config, ...breaker.Listener) (*breaker.Breaker, error)                            = breaker.New
	_ func(context.Context, *breaker.Breaker, func(context.Context) (string, error)) (string, error) = breaker.Do[string]
	_ func(*breaker.Breaker, context.Context, func(context.Context) error) error                     = (*breaker.Breaker).Do
	_ func(*breaker.Breaker, context.Context) (breaker.Permit, error)                                = (*breaker.Breaker).Acquire
	_ func(*breaker.Permit, context.Context, breaker.Outcome)                                        = (*breaker.Permit).Done
	_ func(*breaker.Breaker) breaker.State                                                           = (*breaker.Breaker).State
	_ func(*breaker.Breaker) breaker.Snapshot                                                        = (*breaker.Breaker).Snapshot
	_ func(*breaker.Breaker, string)                                                                 = (*breaker.Breaker).ForceOpen
	_ func(*breaker.Breaker, string)                                                                 = (*breaker.Breaker).Disable
	_ func(*breaker.Breaker)                                                                         = (*breaker.Breaker).Reset
	_ func(*breaker.Breaker, breaker.Config) error                                                   = (*breaker.Breaker).Reconfigure
	_ func(*breaker.Breaker, breaker.Listener) func()                                                = (*breaker.Breaker).Subscribe
	_ func(*breaker.Breaker, context.Context) error                                                  = (*breaker.Breaker).Flush
	_ func(*breaker.Breaker) iter.Seq[*breaker.Breaker]                                              = (*breaker.Breaker).All
	_ func(breaker.Config, ...breaker.GroupOption) (*breaker.Group, error)                           = breaker.NewGroup
	_ func(*breaker.Group, string) *breaker.Breaker                                                  = (*breaker.Group).Get
	_ func(*breaker.Group) iter.Seq[*breaker.Breaker]                                                = (*breaker.Group).All
	_ func(*breaker.OpenError) time.Duration                                                         = (*breaker.OpenError).RetryAfter
	_ error                                                                                          = (*breaker.OpenError)(nil)
	_ error                                                                                          = breaker.ErrOpen
)

func _(s breaker.Snapshot) (breaker.State, uint64, uint64, uint64, uint64, int, uint64, uint64, time.Time, time.Time,
	time.Duration, breaker.Override, breaker.Config) {
	return s.State, s.Success, s.Failure, s.Blocked, s.Ignored, s.ConsecutiveFailures, s.Transitions, s.Generation,
		s.OpenedAt, s.LastFailure, s.RetryAfter, s.Override, s.Config
}

func _(e breaker.Event) (string, string, breaker.State, breaker.State, time.Time, string, float64, float64, string) {
	return e.Service, e.Endpoint, e.From, e.To, e.At, e.Reason.Rule, e.Reason.Observed, e.Reason.Threshold, e.Reason.Note
}

func _(e breaker.Event) (breaker.Reason, string, uint64, uint64, uint64, string, time.Duration, context.Context, context.Context) {
	return e.Reason, e.ErrorType, e.FailureCount, e.SuccessCount, e.BlockedCount, e.OutageID, e.RecoveryDuration, e.Context, e.OpenedBy
}

func _(err error) (string, string, breaker.State, time.Time) {
	var rejection *breaker.OpenError
	if !errors.As(err, &rejection) || !errors.Is(err, breaker.ErrOpen) {
		return "", "", breaker.Closed, time.Time{}
	}
	return rejection.Service, rejection.Endpoint, rejection.State, rejection.RetryAt
}

// A listener of the user's own needs one method.
type listener struct{}

func (listener) OnTransition(breaker.Event) {}

var _ breaker.Listener = listener{}

// A source of the user's own, too.
type source struct{}

func (source) All() iter.Seq[*breaker.Breaker] { return nil }

// Packages otelcb, logs, transport, collector, health and notify.
var (
	_ otelcb.Source = source{}
	_ otelcb.Source = (*breaker.Breaker)(nil)
	_ otelcb.Source = (*breaker.Group)(nil)

	_ func(otelcb.Source, ...otelcb.Option) (*otelcb.Registration, error) = otelcb.Observe
	_ func(*otelcb.Registration) error                                    = (*otelcb.Registration).Unregister
	_ func(metric.MeterProvider) otelcb.Option                            = otelcb.WithMeterProvider
	_ func(trace.TracerProvider) otelcb.Option                            = otelcb.WithTracerProvider

	_ func(...logs.Option) breaker.Listener     = logs.NewListener
	_ func(log.LoggerProvider) logs.Option      = logs.WithLoggerProvider
	_ func(*slog.Logger) logs.Option            = logs.WithSlog
	_ http.RoundTripper                         = (*transport.Transport)(nil)
	_ func(*transport.Transport) *breaker.Group = (*transport.Transport).Breakers

	_ func(http.RoundTripper, ...transport.Option) (*transport.Transport, error) = transport.New
	_ func(breaker.Config) transport.Option                                      = transport.WithConfig
	_ func(func(*http.Request) string) transport.Option                          = transport.WithKey
	_ func(func(*http.Response, error) breaker.Outcome) transport.Option         = transport.WithClassify
	_ func(int) transport.Option                                                 = transport.WithMaxEndpoints
	_ func(metric.MeterProvider) transport.Option                                = transport.WithMeterProvider
	_ func(trace.TracerProvider) transport.Option                                = transport.WithTracerProvider
	_ func(log.LoggerProvider) transport.Option                                  = transport.WithLoggerProvider

	_ func(context.Context, ...collector.Option) (*collector.Pipeline, error) = collector.Start
	_ func(*collector.Pipeline) http.Handler                                  = (*collector.Pipeline).MetricsHandler
	_ func(*collector.Pipeline) metric.MeterProvider                          = (*collector.Pipeline).MeterProvider
	_ func(*collector.Pipeline) trace.TracerProvider                          = (*collector.Pipeline).TracerProvider
	_ func(*collector.Pipeline) log.LoggerProvider                            = (*collector.Pipeline).LoggerProvider
	_ func(*collector.Pipeline, context.Context) error                        = (*collector.Pipeline).Shutdown

	_ func(...health.Source) http.Handler                   = health.Handler
	_ health.Source                                         = source{}
	_ func(string, ...notify.Option) (*notify.Slack, error) = notify.NewSlack
	_ breaker.Listener                                      = (*notify.Slack)(nil)
	_ func(*notify.Slack, context.Context) error            = (*notify.Slack).Close
)

// What the compiler does not see: how states are written, and that options left out are no error.
func TestTheFirstContract(t *testing.T) {
	for state, want := range map[breaker.State]string{breaker.Closed: "closed", breaker.HalfOpen: "half_open", breaker.Open: "open"} {
		if state.String() != want {
			t.Errorf("State(%d) is %q, want %q", state, state, want)
		}
	}
	if _, err := breaker.New(breaker.Config{}); err != nil {
		t.Errorf("the zero value of Config: %v", err)
	}
	if _, err := transport.New(nil); err != nil {
		t.Errorf("the zero values of transport: %v", err)
	}
}
