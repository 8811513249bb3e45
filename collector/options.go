package collector

import (
	"errors"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// defaultCardinalityLimit holds six edges for each of more than 1,600 endpoints; the SDK's own 2,000 would send a group
// of 334 into one overflow series without a word.
const defaultCardinalityLimit = 10_000

// Option changes what [Start] builds. Where an OTEL_* variable says otherwise, the variable wins.
type Option interface {
	apply(config) config
}

type optionFunc func(config) config

func (f optionFunc) apply(c config) config { return f(c) }

type config struct {
	resource         []attribute.KeyValue
	cardinalityLimit int // 0: not given
	withoutGlobals   bool
	logger           *slog.Logger // nil: slog.Default at the time of use
	errs             []error
}

func newConfig(opts []Option) (config, error) {
	var c config
	for i, opt := range opts {
		if opt == nil {
			c.errs = append(c.errs, fmt.Errorf("collector: option %d of %d is nil: want one made by a function With…", i+1, len(opts)))
			continue
		}
		c = opt.apply(c)
	}
	return c, errors.Join(c.errs...)
}

// WithServiceName names the program, as service.name. It must not be empty. The default is "unknown_service:" and the
// name of the executable.
func WithServiceName(name string) Option {
	return withText("WithServiceName", semconv.ServiceName(name))
}

// WithServiceVersion tells the program's version, as service.version. It must not be empty. There is none by default.
func WithServiceVersion(version string) Option {
	return withText("WithServiceVersion", semconv.ServiceVersion(version))
}

func withText(option string, kv attribute.KeyValue) Option {
	return optionFunc(func(c config) config {
		if kv.Value.AsString() == "" {
			c.errs = append(c.errs, fmt.Errorf(`collector: %s(""): want a text that is not empty`, option))
		}
		c.resource = append(c.resource, kv)
		return c
	})
}

// WithResourceAttributes adds attributes that describe the program to everything it exports. Keys must not be empty;
// of one key given twice the later value counts.
func WithResourceAttributes(attrs ...attribute.KeyValue) Option {
	return optionFunc(func(c config) config {
		for _, kv := range attrs {
			if !kv.Valid() {
				c.errs = append(c.errs, fmt.Errorf("collector: WithResourceAttributes(%s): want a key that is not empty", kv.Value.String()))
			}
		}
		c.resource = append(c.resource, attrs...)
		return c
	})
}

// WithCardinalityLimit sets how many attribute sets one instrument may have, at least 1 and by default 10,000; what is
// beyond is summed into one series marked otel_metric_overflow="true". A breaker has six series of
// circuit_breaker_transitions_total, so a group of n endpoints wants at least 6n. Unlike the other options this one
// goes before its variable, the SDK's experimental OTEL_GO_X_CARDINALITY_LIMIT.
func WithCardinalityLimit(n int) Option {
	return optionFunc(func(c config) config {
		if n < 1 {
			c.errs = append(c.errs, fmt.Errorf("collector: WithCardinalityLimit(%d): want at least 1", n))
		}
		c.cardinalityLimit = n
		return c
	})
}

// WithoutGlobals keeps Start from setting the global providers, propagators and error handler of package otel. The
// SDK's errors then go wherever the program sends them.
func WithoutGlobals() Option {
	return optionFunc(func(c config) config {
		c.withoutGlobals = true
		return c
	})
}

// WithLogger sets where the pipeline reports failed exports and scrapes. nil, the default, is slog.Default.
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(c config) config {
		c.logger = l
		return c
	})
}
