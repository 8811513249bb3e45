package collector

import (
	"errors"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
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
	protocol, endpoint  string // of OTLP
	console             bool
	resource            []attribute.KeyValue
	cardinalityLimit    int // 0: not given
	views               []sdkmetric.View
	exponentialRecovery bool
	withoutRuntime      bool
	withoutGlobals      bool
	fullURL             bool
	logger              *slog.Logger // nil: slog.Default at the time of use
	errs                []error
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

// WithOTLP sends all three signals by OTLP to an endpoint, as OTEL_EXPORTER_OTLP_PROTOCOL and
// OTEL_EXPORTER_OTLP_ENDPOINT do: the protocol is http/protobuf or grpc, the endpoint a URL like http://localhost:4318,
// with a path at most. Credentials go into OTEL_EXPORTER_OTLP_HEADERS.
func WithOTLP(protocol, endpoint string) Option {
	return optionFunc(func(c config) config {
		if r := rules["PROTOCOL"]; !r.ok(protocol) {
			c.errs = append(c.errs, fmt.Errorf("collector: WithOTLP: protocol %q: want %s", protocol, r.want))
		}
		if _, ok := parseEndpoint(endpoint); !ok {
			c.errs = append(c.errs, fmt.Errorf("collector: WithOTLP: endpoint%s: want %s", shown(endpoint), wantEndpoint))
			return c
		}
		c.protocol, c.endpoint = protocol, endpoint
		return c
	})
}

// WithConsole writes all three signals to standard output as well, as JSON: for a first look.
func WithConsole() Option {
	return optionFunc(func(c config) config {
		c.console = true
		return c
	})
}

// WithServiceName names the program, as service.name. It must not be empty. The default is "unknown_service:" and the
// name of the executable.
func WithServiceName(name string) Option {
	return withText("WithServiceName", semconv.ServiceName(name))
}

// WithServiceVersion tells the program's version, as service.version. It must not be empty. The default is that of the
// main module where the Go tool has put it into the binary, else there is none.
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

// WithViews adds views, by which the SDK renames instruments, leaves out attributes or whole instruments, and chooses
// aggregations: on the page, by OTLP and on the console alike. None may be nil. Of what a view changes here the rules
// and dashboards that query the usual names know nothing.
func WithViews(views ...sdkmetric.View) Option {
	return optionFunc(func(c config) config {
		for i, view := range views {
			if view == nil {
				c.errs = append(c.errs, fmt.Errorf("collector: WithViews: view %d of %d is nil: want one made by sdk/metric.NewView", i+1, len(views)))
			}
		}
		c.views = append(c.views, views...)
		return c
	})
}

// WithExponentialRecovery makes circuit_breaker.recovery.duration an exponential histogram, in Prometheus a native
// one: buckets that differ by 9 % at most where recoveries take between a tenth of a second and half an hour, and one
// series instead of sixteen. It then has no buckets by le, which is what rules and dashboards query by default; and
// Prometheus takes it from the page only when told to scrape native histograms. A view of [WithViews] that has that
// instrument goes before.
//
// By OTLP alone, and for every histogram, OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION does the same.
func WithExponentialRecovery() Option {
	return optionFunc(func(c config) config {
		c.exponentialRecovery = true
		return c
	})
}

// WithoutRuntimeMetrics leaves out the metrics of the Go runtime (go.memory.used and the like) and of the process
// (process.cpu.time, process.memory.usage): for a program that has them already. Two that measure the same would add
// up.
func WithoutRuntimeMetrics() Option {
	return optionFunc(func(c config) config {
		c.withoutRuntime = true
		return c
	})
}

// WithoutGlobals keeps Start from setting the global providers, propagators and error handler of package otel. What
// the SDK has to report besides failed exports then goes wherever the program sends it.
func WithoutGlobals() Option {
	return optionFunc(func(c config) config {
		c.withoutGlobals = true
		return c
	})
}

// WithFullURL exports spans and log records as they were recorded. Without it the exporters leave out the user info, the
// query and the fragment of every URL in them: in url.full and its like, in headers such as Location, and in any text, such
// as the message of an exception, the description of a status, a span's name, or a record's body; url.query and
// url.fragment are empty. Of headers and gRPC metadata that are captured, those with a name as credentials have it
// (Authorization, Cookie, X-Api-Key) say REDACTED. All of these may hold secrets. For otelhttp's client spans the
// transport's option of the same name is wanted besides.
func WithFullURL() Option {
	return optionFunc(func(c config) config {
		c.fullURL = true
		return c
	})
}

// WithLogger sets where the pipeline reports what it dropped, failed exports and failed scrapes. nil, the default, is
// slog.Default.
func WithLogger(l *slog.Logger) Option {
	return optionFunc(func(c config) config {
		c.logger = l
		return c
	})
}
