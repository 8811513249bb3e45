package logs

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/trace"
)

// sink is where records go. It is asked whether it wants one before the record is made.
type sink interface {
	enabled(ctx context.Context, k kind) bool
	emit(ctx context.Context, at time.Time, k kind, attributes []attribute.KeyValue)
}

type otelSink struct{ log.Logger }

func (s otelSink) enabled(ctx context.Context, k kind) bool {
	severity, _ := k.severity()
	return s.Enabled(ctx, log.EnabledParameters{Severity: severity, EventName: k.eventType})
}

func (s otelSink) emit(ctx context.Context, at time.Time, k kind, attributes []attribute.KeyValue) {
	severity, text := k.severity()
	var r log.Record
	r.SetEventName(k.eventType)
	r.SetTimestamp(at)
	r.SetSeverity(severity)
	r.SetSeverityText(text)
	r.SetBody(attribute.StringValue(k.body))
	r.AddAttributes(attributes...)
	s.Emit(ctx, r)
}

func (k kind) severity() (log.Severity, string) {
	if k.warn {
		return log.SeverityWarn, "WARN"
	}
	return log.SeverityInfo, "INFO"
}

type slogSink struct {
	set *slog.Logger // nil: the default one
}

func (s slogSink) logger() *slog.Logger {
	if s.set == nil {
		return slog.Default()
	}
	return s.set
}

func (s slogSink) enabled(ctx context.Context, k kind) bool {
	return s.logger().Enabled(ctx, k.level())
}

func (s slogSink) emit(ctx context.Context, at time.Time, k kind, attributes []attribute.KeyValue) {
	// Not by logger.Log, whose records have the time of writing, which may be well after what they tell of.
	r := slog.NewRecord(at, k.level(), k.body, 0)
	for _, a := range attributes {
		r.AddAttrs(slogAttr(a))
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	_ = s.logger().Handler().Handle(ctx, r) // as slog itself does: there is nobody to tell
}

func (k kind) level() slog.Level {
	if k.warn {
		return slog.LevelWarn
	}
	return slog.LevelInfo
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
