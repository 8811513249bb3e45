package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

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
	key      func(*http.Request) string
	classify func(*http.Response, error) breaker.Outcome
	fallback Fallback
	fullURL  bool

	meters  metric.MeterProvider
	tracers trace.TracerProvider
	loggers log.LoggerProvider
	slog    *slog.Logger
	logs    []logs.Option
}

func newSettings(options []Option) (*settings, error) {
	s := &settings{key: newKeys().of}
	var errs []error
	for i, o := range options {
		if o == nil {
			errs = append(errs, fmt.Errorf("transport: option %d is nil", i))
			continue
		}
		errs = append(errs, o.apply(s))
	}
	if s.classify == nil {
		s.classify = classifyErrorsBy(s.config.Classify)
	}
	return s, errors.Join(errs...)
}

// classifyErrorsBy is the default classification with the configuration's for errors, if there is one. Another breaker's
// rejection is ignored either way.
func classifyErrorsBy(classify func(error) breaker.Outcome) func(*http.Response, error) breaker.Outcome {
	if classify == nil {
		return DefaultClassify
	}
	return func(res *http.Response, err error) breaker.Outcome {
		if err != nil && !errors.Is(err, breaker.ErrOpen) {
			return classify(err)
		}
		return DefaultClassify(res, err)
	}
}

// WithConfig configures every breaker. Default is the zero Config, with the defaults it describes. Its Endpoint must be
// empty, and its Service may be: a breaker is then named for its host. Its Classify judges errors, unless [WithClassify]
// judges all.
func WithConfig(c breaker.Config) Option {
	return option(func(s *settings) error {
		s.config = c
		return nil
	})
}

// WithKey says which breaker guards a request. Requests with the same key share one, which has the key as its Endpoint;
// user info, query and fragment are left out of a key that is a URL. The key goes into every signal, so it must hold no
// secret, and of keys there should be few. A request whose key is empty goes past the breakers and is not counted.
//
// Default is scheme://host[:port] of the URL, in lower case, without the scheme's own port; hosts with letters beyond
// ASCII in punycode. It is empty where scheme or host cannot be one.
//
// It is called on the caller's goroutine, concurrently, must not change the request, and is not called for a request
// without URL.
func WithKey(key func(*http.Request) string) Option {
	return option(func(s *settings) error {
		if key == nil {
			return errors.New("transport: WithKey is nil: allowed is a function")
		}
		s.key = key
		return nil
	})
}

// WithClassify judges calls instead of [DefaultClassify]. It gets either the response, when its headers are in, or the
// error, of the call or of reading the body; the other is nil. It must neither read nor close the response's body.
// [breaker.Failure] and [breaker.Ignored] for a response settle the call at once; with [breaker.Success] the body has
// to end well, too. A failure that the caller brought about by cancelling is ignored in any case.
//
// It is called on the caller's goroutine, concurrently. A panic counts as a failure and goes on to the caller.
func WithClassify(classify func(*http.Response, error) breaker.Outcome) Option {
	return option(func(s *settings) error {
		if classify == nil {
			return errors.New("transport: WithClassify is nil: allowed is a function")
		}
		s.classify = classify
		return nil
	})
}

// Fallback answers a blocked call in the server's place. It is called on the caller's goroutine, concurrently, with the
// request and the breaker's reason; neither may be changed. Like an [http.RoundTripper] it returns either a response or
// an error. The request's body is there unread, for one that sends it elsewhere; one that it leaves alone is closed for
// it.
type Fallback func(*http.Request, *breaker.OpenError) (*http.Response, error)

// WithFallback has blocked calls answered by a function, such as [Unavailable], rather than by the error. The call is
// counted as blocked all the same, and its span told so. An error of the fallback, or a panic, goes on to the caller;
// where it returns neither response nor error, the rejection does.
//
// Default is the rejection: the caller then gets a [*breaker.OpenError].
func WithFallback(fallback Fallback) Option {
	return option(func(s *settings) error {
		if fallback == nil {
			return errors.New("transport: WithFallback is nil: allowed is a function")
		}
		s.fallback = fallback
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

// WithFullURL leaves query and fragment on the client span's url.full, where otelhttp writes them. They may hold
// secrets. The exporters of package collector have an option of the same name.
func WithFullURL() Option {
	return option(func(s *settings) error {
		s.fullURL = true
		return nil
	})
}
