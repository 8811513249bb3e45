package otelcb

import (
	"fmt"
	"iter"
	"log/slog"
	"reflect"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
)

const (
	// ScopeName is the instrumentation scope of the metrics and the outage spans.
	ScopeName = "github.com/otelbreaker/otelbreaker/otelcb"

	// Version is the version of this module.
	Version = logs.Version
)

// Source is what can be observed: [*breaker.Breaker] and [*breaker.Group] are. All is read at every collection, at
// times concurrently, and should yield the same breakers in the same order as long as they exist. It must not block,
// nor call [Observe] or [Registration.Unregister].
//
// A source that also has
//
//	Subscribe(breaker.Listener) (cancel func())
//
// which should cover breakers to come as well, is subscribed to at once. Of any other, each breaker is subscribed to
// when a collection first finds it; what happened before that is missing on spans and in the recovery histogram.
type Source interface {
	All() iter.Seq[*breaker.Breaker]
}

type subscribable interface {
	Subscribe(breaker.Listener) (cancel func())
}

// Option is a setting of [Observe].
type Option interface{ apply(config) config }

type option func(config) config

func (o option) apply(c config) config { return o(c) }

type config struct {
	meters  metric.MeterProvider
	global  bool // meters is the global provider
	tracers trace.TracerProvider
	logs    []logs.Option // nil: not given
	slog    *slog.Logger  // nil: none
	limit   *int          // nil: not given
}

// WithMeterProvider has metrics reported to p; nil means the global provider, also one that is set later, which is
// the default.
func WithMeterProvider(p metric.MeterProvider) Option {
	return option(func(c config) config {
		c.meters = p
		return c
	})
}

// WithTracerProvider has outage spans made by p; nil means the global provider, also one that is set later, which is
// the default. Span events go on the caller's span, wherever that is from.
func WithTracerProvider(p trace.TracerProvider) Option {
	return option(func(c config) config {
		c.tracers = p
		return c
	})
}

// WithLogs has log records written for the same breakers, as [logs.NewListener] with these options writes them: without
// an option, through the global logger provider, and so nowhere in a program without an OpenTelemetry SDK that takes log
// records: see [WithSlog]. Default is none. Breakers that have such a listener already would have each record twice.
func WithLogs(opts ...logs.Option) Option {
	return option(func(c config) config {
		c.logs = append([]logs.Option{}, opts...) // not nil
		return c
	})
}

// WithSlog is [WithLogs] that writes the log records to this logger as well. Options of WithLogs, if that is given too,
// hold for both; and [logs.WithSlog] among them names the logger in place of this one. Default, and nil, is none.
func WithSlog(l *slog.Logger) Option {
	return option(func(c config) config {
		c.slog = l
		return c
	})
}

// records is the listener that writes the log records; nil where none are to be written.
func (c config) records() breaker.Listener {
	switch {
	case c.slog != nil:
		return logs.NewListener(append([]logs.Option{logs.WithLoggerProvider(nil), logs.WithSlog(c.slog)}, c.logs...)...)
	case c.logs != nil:
		return logs.NewListener(c.logs...)
	}
	return nil
}

// WithCardinalityLimit tells how many attribute sets of one instrument the SDK keeps apart, 0 for as many as there are.
// An SDK adds up what is beyond its limit without a word, so the first time that there are more series than that, it is
// reported to the OpenTelemetry error handler. The default is what the meter provider says by a method
// CardinalityLimit() int, as that of package collector does, and otherwise 2,000, the SDK's own. Of the sources under
// one meter provider the option given last counts.
func WithCardinalityLimit(n int) Option {
	return option(func(c config) config {
		c.limit = &n
		return c
	})
}

// Registration is a source under observation.
type Registration struct {
	source  Source
	hub     *hub
	events  *subscriber
	trouble trouble // of reading the source
}

// Observe reports all breakers of src, those to come included, until Unregister. The error says what is wrong with
// src, that it or one of its breakers is already observed under the same meter provider, or what the provider made of
// an instrument; nothing is observed then.
func Observe(src Source, opts ...Option) (*Registration, error) {
	if isNil(src) {
		return nil, fmt.Errorf("otelcb: the source to observe is nil (%T): pass a breaker, a group, or the like", src)
	}
	var c config
	for i, o := range opts {
		if o == nil {
			return nil, fmt.Errorf("otelcb: option %d is nil", i)
		}
		c = o.apply(c)
	}
	if c.limit != nil && *c.limit < 0 {
		return nil, fmt.Errorf("otelcb: WithCardinalityLimit is %d: allowed is 0, for none, or more", *c.limit)
	}
	if c.meters == nil {
		c.meters, c.global = otel.GetMeterProvider(), true
	}
	if c.tracers == nil {
		c.tracers = otel.GetTracerProvider()
	}
	return register(src, c)
}

// Unregister ends the observation: the source's series are gone from the next collection on, and no event of it is
// taken any more. A second Unregister does nothing. Do not call it while a collection runs on the same goroutine, that
// is, from Source.All.
func (r *Registration) Unregister() error {
	if r == nil {
		return nil
	}
	return unregister(r)
}

func isNil(src Source) bool {
	if src == nil {
		return true
	}
	v := reflect.ValueOf(src)
	return (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil()
}

// each calls f with every breaker of src. A panic in foreign code comes back as an error, for it would otherwise end
// the process from within a collection.
func each(src Source, f func(*breaker.Breaker)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("otelcb: reading the breakers of the source (%T) panicked with a %T", src, p)
		}
	}()
	all := src.All()
	if all == nil {
		return fmt.Errorf("otelcb: All of the source (%T) gave a nil sequence", src)
	}
	for b := range all {
		if b != nil {
			f(b)
		}
	}
	return nil
}
