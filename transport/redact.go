package transport

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

const urlFull = attribute.Key("url.full")

// RedactURL goes beneath otelhttp, whose client span it rids of the URL's query and fragment before the request is sent:
//
//	transport.New(otelhttp.NewTransport(transport.RedactURL(http.DefaultTransport)))
//
// The request itself goes on as it is. A nil next is [http.DefaultTransport]. It works on spans that tell their attributes,
// as those of the OpenTelemetry SDK do. A [Transport] that is itself beneath otelhttp needs no other.
func RedactURL(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return redactor{next}
}

type redactor struct{ next http.RoundTripper }

func (r redactor) RoundTrip(req *http.Request) (*http.Response, error) {
	redactURL(req.Context(), req)
	return r.next.RoundTrip(req)
}

func (r redactor) CloseIdleConnections() { closeIdleConnections(r.next) }

// redactURL takes query and fragment off the url.full of the context's span, where it is one that has such a thing.
func redactURL(ctx context.Context, req *http.Request) {
	if req.URL == nil || req.URL.RawQuery == "" && req.URL.Fragment == "" {
		return
	}
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	telling, ok := span.(interface{ Attributes() []attribute.KeyValue })
	if !ok {
		return
	}
	for _, a := range telling.Attributes() {
		if a.Key != urlFull {
			continue
		}
		full := a.Value.AsString()
		if i := strings.IndexAny(full, "?#"); i >= 0 {
			span.SetAttributes(urlFull.String(full[:i]))
		}
		return
	}
}
