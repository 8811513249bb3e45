package fleet

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
)

// Defaults of the options.
const (
	DefaultName          = "default"
	DefaultHeartbeat     = 5 * time.Second
	DefaultProbeLease    = 10 * time.Second
	DefaultHoldBound     = 15 * time.Second
	DefaultReleaseJitter = time.Second
	DefaultTimeout       = 2 * time.Second
	DefaultMaxReplicas   = 1000
)

// Option is a setting of [Join].
type Option interface{ apply(config) config }

type option func(config) config

func (o option) apply(c config) config { return o(c) }

type config struct {
	name, replica string
	policy        Policy
	heartbeat     time.Duration
	lease         time.Duration
	bound         time.Duration
	jitter        time.Duration
	timeout       time.Duration
	maxReplicas   int
	meters        metric.MeterProvider
	loggers       log.LoggerProvider
}

// WithName names the fleet: replicas that give the same name on the same store belong together. 1 to 64 lower-case
// letters, digits, '-' and '_'. Default "default".
func WithName(name string) Option {
	return option(func(c config) config { c.name = name; return c })
}

// WithReplica names this replica, as WithName does the fleet; a name must not be used by two at a time. Siblings show it
// in their events. Default is a random one, which is right unless names are wanted that can be recognized.
func WithReplica(name string) Option {
	return option(func(c config) config { c.replica = name; return c })
}

// WithPolicy says what the openings of siblings do. All replicas of a fleet should have the same. Default Quorum(0.5).
func WithPolicy(p Policy) Option {
	return option(func(c config) config { c.policy = p; return c })
}

// WithHeartbeat is how often a replica that has nothing new to tell says that it lives; from one second to one hour. It
// counts as gone after three without. Default 5 s.
func WithHeartbeat(d time.Duration) Option {
	return option(func(c config) config { c.heartbeat = d; return c })
}

// WithProbeLease is how long a replica that died may keep the fleet's probe to itself; from one second to one hour. A
// probe that takes longer is no matter, for the lease of a replica that lives is renewed. Default 10 s.
func WithProbeLease(d time.Duration) Option {
	return option(func(c config) config { c.lease = d; return c })
}

// WithHoldBound is how long a breaker whose delay has elapsed waits for a sign of the fleet, be it its own turn or
// another's; positive, up to one hour. Then it goes half-open by itself. Default 15 s.
func WithHoldBound(d time.Duration) Option {
	return option(func(c config) config { c.bound = d; return c })
}

// WithReleaseJitter spreads the closing of the siblings' breakers once a probe has succeeded: each waits a random time up
// to this; not negative, up to one hour. Default 1 s.
func WithReleaseJitter(d time.Duration) Option {
	return option(func(c config) config { c.jitter = d; return c })
}

// WithTimeout bounds each operation on the engine; from 10 ms to one minute. Default 2 s.
func WithTimeout(d time.Duration) Option {
	return option(func(c config) config { c.timeout = d; return c })
}

// WithMaxReplicas bounds how many siblings are taken note of, 1 to 10,000: what others write into the store must not
// fill this process's memory. Default 1,000.
func WithMaxReplicas(n int) Option {
	return option(func(c config) config { c.maxReplicas = n; return c })
}

// WithMeterProvider has metrics reported to p; nil means the global provider, which is the default.
func WithMeterProvider(p metric.MeterProvider) Option {
	return option(func(c config) config { c.meters = p; return c })
}

// WithLoggerProvider has log records written to p; nil means the global provider, which is the default.
func WithLoggerProvider(p log.LoggerProvider) Option {
	return option(func(c config) config { c.loggers = p; return c })
}

var names = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

func configured(opts []Option) (config, error) {
	c := config{
		name: DefaultName, replica: strings.ToLower(rand.Text()[:16]), policy: Quorum(defaultShare),
		heartbeat: DefaultHeartbeat, lease: DefaultProbeLease, bound: DefaultHoldBound, jitter: DefaultReleaseJitter,
		timeout: DefaultTimeout, maxReplicas: DefaultMaxReplicas,
	}
	var errs []error
	for i, o := range opts {
		if o == nil {
			errs = append(errs, fmt.Errorf("fleet: option %d is nil", i))
			continue
		}
		c = o.apply(c)
	}
	if c.policy.kind == unset {
		c.policy = Quorum(defaultShare)
	}
	if c.meters == nil {
		c.meters = otel.GetMeterProvider()
	}
	if c.loggers == nil {
		c.loggers = otel.GetLoggerProvider()
	}
	return c, errors.Join(append(errs, c.check())...)
}

func (c config) check() error {
	errs := []error{c.policy.check()}
	refuse := func(bad bool, option string, value any, allowed string) {
		if bad {
			errs = append(errs, fmt.Errorf("fleet: %s is %v: allowed is %s", option, value, allowed))
		}
	}
	const form = "1 to 64 lower-case letters, digits, '-' and '_'"
	refuse(!names.MatchString(c.name), "WithName", fmt.Sprintf("%q", c.name), form)
	refuse(!names.MatchString(c.replica), "WithReplica", fmt.Sprintf("%q", c.replica), form)
	for _, d := range []struct {
		option      string
		value       time.Duration
		least, most time.Duration
	}{
		{"WithHeartbeat", c.heartbeat, MinTTL, time.Hour},
		{"WithProbeLease", c.lease, MinTTL, time.Hour},
		{"WithHoldBound", c.bound, 1, time.Hour},
		{"WithReleaseJitter", c.jitter, 0, time.Hour},
		{"WithTimeout", c.timeout, 10 * time.Millisecond, time.Minute},
	} {
		refuse(d.value < d.least || d.value > d.most, d.option, d.value, fmt.Sprintf("%v to %v", d.least, d.most))
	}
	refuse(c.maxReplicas < 1 || c.maxReplicas > 10_000, "WithMaxReplicas", c.maxReplicas, "1 to 10000")
	return errors.Join(errs...)
}
