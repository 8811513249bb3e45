package logs

import (
	"log/slog"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/log"

	"github.com/otelbreaker/otelbreaker/breaker"
)

const (
	// ScopeName is the instrumentation scope of the records.
	ScopeName = "github.com/otelbreaker/otelbreaker/logs"

	// Version is the version of this module.
	Version = "0.1.0-dev"

	// DefaultLimit is the limit where [WithLimit] sets none: 600 records a minute of one breaker. One that reopens every
	// 200 ms for a whole day stays below it.
	DefaultLimit = 600

	// DefaultFailureLimit is the limit of [WithFailures]: 120 records a minute of one breaker's failed calls.
	DefaultFailureLimit = 120
)

// Option is a setting of [NewListener].
type Option interface{ apply(config) config }

type option func(config) config

func (o option) apply(c config) config { return o(c) }

type config struct {
	toOTel, toSlog bool
	provider       log.LoggerProvider
	logger         *slog.Logger
	limit          uint
	failures       bool
	failureLimit   uint
}

// WithLoggerProvider has records written through p; nil means the global provider. It is what NewListener does where
// no option says where to write, and is needed only for another provider, or together with [WithSlog].
func WithLoggerProvider(p log.LoggerProvider) Option {
	return option(func(c config) config {
		c.toOTel, c.provider = true, p
		return c
	})
}

// WithSlog has records written to l; nil means what [slog.Default] is at the time of each record. Nothing goes through
// OpenTelemetry then, unless [WithLoggerProvider] is given as well.
func WithSlog(l *slog.Logger) Option {
	return option(func(c config) config {
		c.toSlog, c.logger = true, l
		return c
	})
}

// WithLimit bounds the records of transitions, of each breaker by itself: perMinute of them at once, and no more than
// perMinute a minute in the long run. Default is [DefaultLimit]; 0 is no limit. The package documentation says what
// becomes of those held back.
func WithLimit(perMinute uint) Option {
	return option(func(c config) config {
		c.limit = perMinute
		return c
	})
}

// WithFailures has a record written for each failed call as well, up to [DefaultFailureLimit]: call_failed, so that the
// pattern of failures before an opening can be searched for. The listener is a [breaker.FailureListener] then; one that
// wraps it has to be one, too.
func WithFailures() Option { return WithFailureLimit(DefaultFailureLimit) }

// WithFailureLimit is [WithFailures] with another limit, of each breaker by itself: perMinute records at once, and no
// more than perMinute a minute in the long run. 0 is no limit but the breaker's own, on how many may wait.
func WithFailureLimit(perMinute uint) Option {
	return option(func(c config) config {
		c.failures, c.failureLimit = true, perMinute
		return c
	})
}

// NewListener makes a listener that writes a record for each transition, and, being a [breaker.NoticeListener], for
// each override and each transition that would have happened. Without an option it writes through the global
// OpenTelemetry logger provider, also one that is set later. It may serve any number of breakers. Nil options are
// passed over.
func NewListener(opts ...Option) breaker.Listener {
	c := config{limit: DefaultLimit}
	for _, o := range opts {
		if o != nil {
			c = o.apply(c)
		}
	}
	l := &listener{}
	if c.toSlog {
		l.slog = newJournal(slogSink{c.logger}, c.limit)
	}
	if c.toOTel || !c.toSlog {
		if c.provider == nil {
			c.provider = otel.GetLoggerProvider()
		}
		l.otel = newJournal(otelSink{c.provider.Logger(ScopeName, log.WithInstrumentationVersion(Version))}, c.limit)
	}
	if c.failures {
		return failureListener{l, c.failureLimit}
	}
	return l
}

// listener writes to one log or to two, each with a limit of its own, for one may want what the other does not.
type listener struct {
	otel, slog *journal // nil: not written there
}

var _ breaker.NoticeListener = (*listener)(nil)

// OnTransition writes a record.
func (l *listener) OnTransition(e breaker.Event) {
	defer l.otel.transition(e) // deferred, and so done also if the other one panics
	l.slog.transition(e)
}

// OnNotice writes a record of what moved no state.
func (l *listener) OnNotice(e breaker.Event) { l.OnTransition(e) }

// failureListener also writes a record for each failed call that the breaker lets through to it.
type failureListener struct {
	*listener
	limit uint
}

var _ breaker.FailureListener = failureListener{}

func (l failureListener) FailuresPerMinute() uint { return l.limit }

func (l failureListener) OnFailure(f breaker.FailedCall) {
	defer l.otel.failure(&f)
	l.slog.failure(&f)
}

// journal is one log and its limit.
type journal struct {
	sink
	limiter *limiter
}

func newJournal(s sink, perMinute uint) *journal {
	j := &journal{sink: s}
	j.limiter = newLimiter(perMinute, j.write)
	return j
}

func (j *journal) transition(e breaker.Event) {
	if j != nil && j.enabled(e.Context, kindOf(&e)) {
		j.limiter.pass(e)
	}
}

func (j *journal) write(e *breaker.Event, heldBack uint64) {
	j.emit(e.Context, e.At, kindOf(e), withHeldBack(Attributes(*e), heldBack))
}

func (j *journal) failure(f *breaker.FailedCall) {
	if j != nil && j.enabled(f.Context, callFailed) {
		j.emit(f.Context, f.At, callFailed, withHeldBack(failureAttributes(f), f.HeldBack))
	}
}
