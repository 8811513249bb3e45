package grpcbreaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
)

// Option is a setting of [New]. Where one is given twice the later one holds, except that listeners and settings of the
// log records add up.
type Option interface{ apply(*settings) error }

type option func(*settings) error

func (o option) apply(s *settings) error { return o(s) }

type settings struct {
	config   breaker.Config
	group    []breaker.GroupOption
	key      func(context.Context, string, *grpc.ClientConn) string
	failures codeSet
	classify func(string, error) breaker.Outcome

	meters  metric.MeterProvider
	tracers trace.TracerProvider
	loggers log.LoggerProvider
	slog    *slog.Logger
	logs    []logs.Option
}

func newSettings(options []Option) (*settings, error) {
	s := &settings{key: TargetKey, failures: defaultFailures}
	var errs []error
	for i, o := range options {
		if o == nil {
			errs = append(errs, fmt.Errorf("grpcbreaker: option %d is nil", i))
			continue
		}
		errs = append(errs, o.apply(s))
	}
	switch {
	case s.classify != nil:
	case s.config.Classify != nil:
		s.classify = func(_ string, err error) breaker.Outcome { return s.config.Classify(err) }
	default:
		s.classify = s.failures.classify
	}
	return s, errors.Join(errs...)
}

// WithConfig configures every breaker. Default is the zero Config, with the defaults it describes. Its Endpoint must be
// empty, and its Service may be: a breaker is then named for its target's host. Its Classify judges errors, unless
// [WithClassify] does.
func WithConfig(c breaker.Config) Option {
	return option(func(s *settings) error {
		s.config = c
		return nil
	})
}

// WithKey says which breaker guards a call of a method ("/package.Service/Method"). Calls with the same key share one,
// which has the key as its Endpoint; user info, query and fragment are left out of a key that is a URL. The key goes into
// every signal, so it must hold no secret, and of keys there should be few. A call whose key is empty goes past the
// breakers and is not counted.
//
// Default is [TargetKey]; there are also [ServiceKey] and [MethodKey]. It is called on the caller's goroutine,
// concurrently.
func WithKey(key func(ctx context.Context, method string, cc *grpc.ClientConn) string) Option {
	return option(func(s *settings) error {
		if key == nil {
			return errors.New("grpcbreaker: WithKey is nil: allowed is a function")
		}
		s.key = key
		return nil
	})
}

// WithFailureCodes says which codes are failures, instead of those of [DefaultClassify]; all others are successes. OK is
// never one. A failure that the caller brought about by cancelling is ignored in any case, and so are rejections.
func WithFailureCodes(failures ...codes.Code) Option {
	return option(func(s *settings) error {
		if len(failures) == 0 {
			return errors.New("grpcbreaker: WithFailureCodes has no code: allowed is one or more")
		}
		s.failures = 0
		for _, c := range failures {
			if c == codes.OK || c > maxCode {
				return fmt.Errorf("grpcbreaker: WithFailureCodes has %d: allowed are the codes of gRPC but OK, 1 to %d",
					uint32(c), uint32(maxCode))
			}
			s.failures |= setOf(c)
		}
		return nil
	})
}

// WithClassify judges failed calls instead of [DefaultClassify]. It gets the method and the error, of the call or of the
// stream, which is never nil: a call without error is a success. A failure that the caller brought about by cancelling
// is ignored in any case, and so is what was not sent.
//
// It is called on the caller's goroutine, concurrently. A panic counts as a failure and goes on to the caller.
func WithClassify(classify func(method string, err error) breaker.Outcome) Option {
	return option(func(s *settings) error {
		if classify == nil {
			return errors.New("grpcbreaker: WithClassify is nil: allowed is a function")
		}
		s.classify = classify
		return nil
	})
}

// WithMaxEndpoints bounds the number of breakers, as [breaker.WithMaxEndpoints] does. Default
// [breaker.DefaultMaxEndpoints]. Whoever raises it raises the OpenTelemetry SDK's limit of series an instrument too.
func WithMaxEndpoints(n int) Option {
	return option(func(s *settings) error {
		s.group = append(s.group, breaker.WithMaxEndpoints(n))
		return nil
	})
}

// WithDisabled has every breaker begin disabled, as [breaker.WithDisabled] does: calls go through, and metrics and log
// records tell what would have been blocked. The reason shows on the health page.
func WithDisabled(reason string) Option {
	return option(func(s *settings) error {
		s.group = append(s.group, breaker.WithDisabled(reason))
		return nil
	})
}

// WithListeners has every breaker tell these listeners of its transitions.
func WithListeners(listeners ...breaker.Listener) Option {
	return option(func(s *settings) error {
		s.group = append(s.group, breaker.WithListeners(listeners...))
		return nil
	})
}

// WithMeterProvider says where metrics go. Default, and nil, is the global provider.
func WithMeterProvider(p metric.MeterProvider) Option {
	return option(func(s *settings) error {
		s.meters = p
		return nil
	})
}

// WithTracerProvider says where the spans of outages go. Default, and nil, is the global provider. Span events go on the
// span of the call, whosever it is.
func WithTracerProvider(p trace.TracerProvider) Option {
	return option(func(s *settings) error {
		s.tracers = p
		return nil
	})
}

// WithLoggerProvider says where log records go. Default, and nil, is the global provider.
func WithLoggerProvider(p log.LoggerProvider) Option {
	return option(func(s *settings) error {
		s.loggers = p
		return nil
	})
}

// WithSlog writes the log records to this logger as well. Default, and nil, is none.
func WithSlog(l *slog.Logger) Option {
	return option(func(s *settings) error {
		s.slog = l
		return nil
	})
}

// WithLogs sets what else can be set of the log records, such as [logs.WithFailures] and [logs.WithLimit].
func WithLogs(options ...logs.Option) Option {
	return option(func(s *settings) error {
		s.logs = append(s.logs, options...)
		return nil
	})
}
