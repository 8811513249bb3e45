package otelcb

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
)

// listener takes a source's events to spans and to the recovery histogram.
type listener struct {
	recovery metric.Float64Histogram
	limit    *limit // of its series
	tracer   trace.Tracer
}

var _ breaker.CallListener = (*listener)(nil)

func newListener(h *hub, p trace.TracerProvider) *listener {
	return &listener{
		recovery: h.instruments.recovery, limit: &h.limit,
		tracer: p.Tracer(ScopeName, trace.WithInstrumentationVersion(Version)),
	}
}

// OnTransition records a recovery.
func (l *listener) OnTransition(e breaker.Event) {
	if e.To != breaker.Closed {
		return
	}
	n := name{valid(e.Service), valid(e.Endpoint)}
	l.limit.recovered(n)
	l.recovery.Record(e.Context, e.RecoveryDuration.Seconds(), metric.WithAttributes(n.attributes()...))
	l.outage(&e)
}

// outage makes the span of an outage that is over.
func (l *listener) outage(e *breaker.Event) {
	opened, closed := trace.SpanContextFromContext(e.OpenedBy), trace.SpanContextFromContext(e.Context)
	var links []trace.Link
	if opened.IsValid() {
		links = append(links, trace.Link{SpanContext: opened})
	}
	if closed.IsValid() && !closed.Equal(opened) {
		links = append(links, trace.Link{SpanContext: closed})
	}
	_, span := l.tracer.Start(e.OpenedBy, "circuit_breaker.outage",
		trace.WithTimestamp(e.At.Add(-e.RecoveryDuration)),
		trace.WithLinks(links...),
		trace.WithAttributes(
			attribute.String("component", "circuit_breaker"),
			attribute.String("service", valid(e.Service)),
			attribute.String("endpoint", valid(e.Endpoint)),
			attribute.String("reason", e.Reason.Rule),
			attribute.String("outage_id", e.OutageID),
			attribute.Int64("failure_count", int64(e.FailureCount)),
			attribute.Int64("success_count", int64(e.SuccessCount)),
			attribute.Int64("blocked_count", int64(e.BlockedCount)),
			attribute.Float64("recovery_duration_seconds", e.RecoveryDuration.Seconds()),
		))
	span.End(trace.WithTimestamp(e.At))
}

// OnCallTransition notes on the call's span that the call caused a transition.
func (l *listener) OnCallTransition(ctx context.Context, e breaker.Event) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.AddEvent("circuit_breaker.state_change", trace.WithTimestamp(e.At), trace.WithAttributes(logs.Attributes(e)...))
	linkToOpening(e.OpenedBy, span, e.OutageID)
}

// OnBlocked notes on the call's span that the call was blocked, and because of which call. It is called for every
// blocked call and costs next to nothing where the span is not recorded.
func (l *listener) OnBlocked(ctx context.Context, rejection *breaker.OpenError) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.AddEvent("circuit_breaker.blocked", trace.WithAttributes(
		attribute.String("service", valid(rejection.Service)),
		attribute.String("endpoint", valid(rejection.Endpoint)),
		attribute.String("state", rejection.State.String()),
		attribute.String("reason", rejection.Reason.Rule),
		attribute.String("outage_id", rejection.OutageID)))
	linkToOpening(rejection.OpenedBy(), span, rejection.OutageID)
}

// linkToOpening links a span to the call that opened the breaker, unless it is that call's.
func linkToOpening(openedBy context.Context, span trace.Span, outageID string) {
	opened := trace.SpanContextFromContext(openedBy)
	if !opened.IsValid() || opened.Equal(span.SpanContext()) {
		return
	}
	span.AddLink(trace.Link{SpanContext: opened, Attributes: []attribute.KeyValue{attribute.String("outage_id", outageID)}})
}
