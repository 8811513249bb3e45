package logs

import (
	"log/slog"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
)

const (
	// ScopeName is the instrumentation scope of the records.
	ScopeName = "github.com/otelbreaker/otelbreaker/logs"

	// Version is the version of this module.
	Version = "0.1.0-dev"
)

// Option is a setting of [NewListener].
type Option interface{ apply(config) config }

type option func(config) config

func (o option) apply(c config) config { return o(c) }

type config struct {
	toOTel, toSlog bool
	provider       log.LoggerProvider
	logger         *slog.Logger
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

// NewListener makes a listener that writes a record for each transition, and, being a [breaker.NoticeListener], for
// each override and each transition that would have happened. Without an option it writes through the global
// OpenTelemetry logger provider, also one that is set later. It may serve any number of breakers. Nil options are
// passed over.
func NewListener(opts ...Option) breaker.Listener {
	var c config
	for _, o := range opts {
		if o != nil {
			c = o.apply(c)
		}
	}
	l := &listener{toSlog: c.toSlog, slog: c.logger}
	if c.toOTel || !c.toSlog {
		if c.provider == nil {
			c.provider = otel.GetLoggerProvider()
		}
		l.otel = c.provider.Logger(ScopeName, log.WithInstrumentationVersion(Version))
	}
	return l
}

type listener struct {
	otel   log.Logger // nil: not written there
	toSlog bool
	slog   *slog.Logger // nil: the default one
}

var _ breaker.NoticeListener = (*listener)(nil)

// OnTransition writes a record.
func (l *listener) OnTransition(e breaker.Event) {
	k := kindOf(&e)
	defer l.emit(&e, k) // deferred, and so done also if the other one panics
	l.print(&e, k)
}

// OnNotice writes a record of what moved no state.
func (l *listener) OnNotice(e breaker.Event) { l.OnTransition(e) }

func (l *listener) emit(e *breaker.Event, k kind) {
	if l.otel == nil {
		return
	}
	severity, level := log.SeverityInfo, "INFO"
	if k.warn {
		severity, level = log.SeverityWarn, "WARN"
	}
	if !l.otel.Enabled(e.Context, log.EnabledParameters{Severity: severity, EventName: k.eventType}) {
		return
	}
	var r log.Record
	r.SetEventName(k.eventType)
	r.SetTimestamp(e.At)
	r.SetSeverity(severity)
	r.SetSeverityText(level)
	r.SetBody(attribute.StringValue(k.body))
	r.AddAttributes(Attributes(*e)...)
	l.otel.Emit(e.Context, r)
}

func (l *listener) print(e *breaker.Event, k kind) {
	if !l.toSlog {
		return
	}
	logger := l.slog
	if logger == nil {
		logger = slog.Default()
	}
	level := slog.LevelInfo
	if k.warn {
		level = slog.LevelWarn
	}
	if !logger.Enabled(e.Context, level) {
		return
	}
	// Not by logger.Log, whose records have the time of writing, which may be well after that of the transition.
	r := slog.NewRecord(e.At, level, k.body, 0)
	for _, a := range Attributes(*e) {
		r.AddAttrs(slogAttr(a))
	}
	if sc := trace.SpanContextFromContext(e.Context); sc.IsValid() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	_ = logger.Handler().Handle(e.Context, r) // as slog itself does: there is nobody to tell
}

func slogAttr(a attribute.KeyValue) slog.Attr {
	key := string(a.Key)
	switch a.Value.Type() {
	case attribute.INT64:
		return slog.Int64(key, a.Value.AsInt64())
	case attribute.FLOAT64:
		return slog.Float64(key, a.Value.AsFloat64())
	case attribute.BOOL:
		return slog.Bool(key, a.Value.AsBool())
	default:
		return slog.String(key, a.Value.AsString())
	}
}
