package control

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
)

const eventType = "circuit_control"

// use is one use of the handler, as the audit has it.
type use struct {
	at       time.Time
	address  string
	operator string
	order    order
	before   breaker.Config
	status   int    // 0: nobody asked, it came by itself
	err      string // empty if it was done
}

// audit writes a record of each use, by OpenTelemetry and by slog.
type audit struct {
	otel     log.Logger
	slog     *slog.Logger // nil: the default one
	heldBack atomic.Uint64
}

func newAudit(s *settings) *audit {
	p := s.loggers
	if p == nil {
		p = otel.GetLoggerProvider()
	}
	return &audit{otel: p.Logger(ScopeName, log.WithInstrumentationVersion(Version)), slog: s.slog}
}

// record writes to both, also if one of them panics, or the client has gone, whose context some exporters heed: what was
// done has been done by then.
func (a *audit) record(ctx context.Context, u use) {
	ctx = context.WithoutCancel(ctx)
	attributes := u.attributes()
	if n := a.heldBack.Swap(0); n > 0 {
		attributes = append(attributes, attribute.Int64("held_back", int64(n)))
	}
	guarded(func() { a.toSlog(ctx, u, attributes) })
	guarded(func() { a.toOTel(ctx, u, attributes) })
}

func guarded(write func()) {
	defer func() {
		if r := recover(); r != nil {
			defer func() { _ = recover() }() // a logger that panics in turn is left be
			slog.Default().Error("control: the audit log panicked", "panic_type", fmt.Sprintf("%T", r))
		}
	}()
	write()
}

func (a *audit) toOTel(ctx context.Context, u use, attributes []attribute.KeyValue) {
	var r log.Record
	r.SetEventName(eventType)
	r.SetTimestamp(u.at)
	r.SetSeverity(log.SeverityInfo)
	r.SetSeverityText("INFO")
	if u.err != "" {
		r.SetSeverity(log.SeverityWarn)
		r.SetSeverityText("WARN")
	}
	r.SetBody(attribute.StringValue(u.body()))
	r.AddAttributes(attributes...)
	a.otel.Emit(ctx, r)
}

func (a *audit) toSlog(ctx context.Context, u use, attributes []attribute.KeyValue) {
	l := a.slog
	if l == nil {
		l = slog.Default()
	}
	level := slog.LevelInfo
	if u.err != "" {
		level = slog.LevelWarn
	}
	if !l.Enabled(ctx, level) {
		return
	}
	r := slog.NewRecord(u.at, level, u.body(), 0)
	for _, at := range attributes {
		if at.Value.Type() == attribute.INT64 {
			r.AddAttrs(slog.Int64(string(at.Key), at.Value.AsInt64()))
		} else {
			r.AddAttrs(slog.String(string(at.Key), at.Value.AsString()))
		}
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	_ = l.Handler().Handle(ctx, r) // as slog itself does: there is nobody to tell
}

func (u use) body() string {
	if u.err != "" {
		return "Circuit breaker control refused"
	}
	return "Circuit breaker control applied"
}

// attributes leaves out what is not known.
func (u use) attributes() []attribute.KeyValue {
	result := "applied"
	if u.err != "" {
		result = "refused"
	}
	a := []attribute.KeyValue{
		attribute.String("component", "circuit_breaker"),
		attribute.String("event_type", eventType),
		attribute.String("result", result),
	}
	if u.status != 0 {
		a = append(a, attribute.Int("http.response.status_code", u.status))
	}
	duration := ""
	if u.order.duration > 0 {
		duration = u.order.duration.String()
	}
	before := ""
	if u.order.action == reconfigure && u.before.RecoveryTimeout != 0 { // a breaker was found
		text, _ := json.Marshal(u.before) // no number in force is beyond JSON
		before = string(text)
	}
	for _, f := range []struct{ key, value string }{
		{"client.address", u.address},
		{"operator", u.operator},
		{"action", u.order.action},
		{"service", u.order.service},
		{"endpoint", u.order.endpoint},
		{"note", u.order.reason},
		{"for", duration},
		{"configuration", string(u.order.configuration)},
		{"configuration_before", before},
		{"refusal", u.err}, // not "error": error.type is a field as well, and a backend of objects has but one of the two
	} {
		if f.value != "" {
			a = append(a, attribute.String(f.key, strings.ToValidUTF8(f.value, "\uFFFD")))
		}
	}
	return a
}
