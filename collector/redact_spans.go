package collector

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
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

func (s redactedSpan) Attributes() []attribute.KeyValue {
	return redactAttributes(s.ReadOnlySpan.Attributes())
}

func (s redactedSpan) Events() []sdktrace.Event {
	events := slices.Clone(s.ReadOnlySpan.Events())
	for i := range events {
		events[i].Attributes = redactAttributes(events[i].Attributes)
	}
	return events
}

func (s redactedSpan) Status() sdktrace.Status {
	status := s.ReadOnlySpan.Status()
	status.Description = redactText(status.Description)
	return status
}

// redactAttributes leaves its argument as it is, which belongs to the span.
func redactAttributes(attrs []attribute.KeyValue) []attribute.KeyValue {
	copied := false
	for i, a := range attrs {
		if a.Value.Type() != attribute.STRING {
			continue
		}
		was := a.Value.AsString()
		is := redactValue(a.Key, was)
		if is == was {
			continue
		}
		if !copied {
			attrs, copied = slices.Clone(attrs), true
		}
		attrs[i].Value = attribute.StringValue(is)
	}
	return attrs
}

// redactValue knows the attributes of the semantic conventions that hold URLs or parts of them, those of old (http.url,
// http.target) among them.
func redactValue(key attribute.Key, value string) string {
	switch key {
	case "url.full", "http.url":
		return bareURL(value)
	case "http.target":
		return beforeQuery(value)
	case "url.query", "url.fragment":
		return ""
	case "exception.message", "exception.stacktrace":
		return redactText(value)
	}
	return value
}

// textURL finds a URL in a text: in quotation marks, as the errors of net/http write it, or bare.
var textURL = regexp.MustCompile(`"[A-Za-z][\w+.-]*://(?:[^"\\]|\\.)*"|[A-Za-z][\w+.-]*://[^\s"'<>]*`)

func redactText(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	return textURL.ReplaceAllStringFunc(text, func(found string) string {
		if quoted := strings.HasPrefix(found, `"`); quoted {
			return `"` + bareURL(strings.Trim(found, `"`)) + `"`
		}
		return bareURL(found)
	})
}

// bareURL gives a URL without user info, query and fragment, however malformed.
func bareURL(text string) string {
	text = beforeQuery(text)
	scheme, rest, has := strings.Cut(text, "://")
	if !has {
		return text
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	return scheme + "://" + authority[strings.LastIndexByte(authority, '@')+1:] + path
}

func beforeQuery(text string) string {
	if i := strings.IndexAny(text, "?#"); i >= 0 {
		return text[:i]
	}
	return text
}
