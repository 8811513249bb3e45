package transport

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
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

// RedactError gives an error whose text has no user info, query or fragment of the URLs that http.Client, or url.Parse,
// has put there. All else stays: errors.Is and errors.As find in it what they found in err. An error without such a URL,
// and nil, comes back as it is. It may be called concurrently.
func RedactError(err error) error {
	failed, has := errors.AsType[*url.Error](err)
	if !has {
		return err
	}
	text := err.Error()
	for ; has; failed, has = errors.AsType[*url.Error](failed.Err) {
		bare := bareURL(failed.URL)
		text = strings.ReplaceAll(text, strings.Trim(strconv.Quote(failed.URL), `"`), bare) // as it writes itself
		text = strings.ReplaceAll(text, failed.URL, bare)
	}
	return redactedError{err, text}
}

type redactedError struct {
	error
	text string
}

func (e redactedError) Error() string { return e.text }
func (e redactedError) Unwrap() error { return e.error }

// bareURL gives scheme, host and path of a URL, and of what is none nothing, for it could be anything.
func bareURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" {
		return "(URL)"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
