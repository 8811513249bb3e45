package collector

import (
	"context"
	"regexp"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/otelbreaker/otelbreaker/internal/redact"
)

// spanRedactor keeps the secrets of URLs from an exporter: otelhttp writes the query on its client span, and the errors of
// http.Client have it in their text.
type spanRedactor struct{ sdktrace.SpanExporter }

func (r spanRedactor) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	redacted := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		redacted[i] = redactedSpan{s}
	}
	return r.SpanExporter.ExportSpans(ctx, redacted)
}

type redactedSpan struct{ sdktrace.ReadOnlySpan }

// target finds the target of a request, with a query, in the name of a span: GET /path?query.
var target = regexp.MustCompile(`(\s/[^\s?#]*|^/[^\s?#]*)[?#]\S*`)

func (s redactedSpan) Name() string {
	return target.ReplaceAllString(redact.Text(s.ReadOnlySpan.Name()), "$1")
}

func (s redactedSpan) Attributes() []attribute.KeyValue {
	return redactAttributes(s.ReadOnlySpan.Attributes())
}

func (s redactedSpan) Events() []sdktrace.Event {
	events := slices.Clone(s.ReadOnlySpan.Events())
	for i := range events {
		events[i].Name = redact.Text(events[i].Name)
		events[i].Attributes = redactAttributes(events[i].Attributes)
	}
	return events
}

func (s redactedSpan) Links() []sdktrace.Link {
	links := slices.Clone(s.ReadOnlySpan.Links())
	for i := range links {
		links[i].Attributes = redactAttributes(links[i].Attributes)
	}
	return links
}

func (s redactedSpan) Status() sdktrace.Status {
	status := s.ReadOnlySpan.Status()
	status.Description = redact.Text(status.Description)
	return status
}
