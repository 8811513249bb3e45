package transport

import (
	"context"
	"errors"
	"hash/maphash"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/internal/redact"
)

const urlFull = attribute.Key("url.full")

// RedactURL goes beneath otelhttp, whose client span it rids of the URL's query and fragment before the request is sent:
//
//	transport.New(otelhttp.NewTransport(transport.RedactURL(http.DefaultTransport)))
//
// The request itself goes on as it is. A nil next is [http.DefaultTransport]. It works on spans that tell their kind and
// attributes, as those of the OpenTelemetry SDK do. A [Transport] that is itself beneath otelhttp needs no other.
func RedactURL(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return redactor{next, newURLSpans()}
}

type redactor struct {
	next  http.RoundTripper
	spans *urlSpans
}

func (r redactor) RoundTrip(req *http.Request) (*http.Response, error) {
	r.spans.redact(req.Context(), req.URL)
	return r.next.RoundTrip(req)
}

func (r redactor) CloseIdleConnections() { closeIdleConnections(r.next) }

const (
	urlSlots = 128
	longURL  = 256 // is none to remember
)

// urlSpans takes query and fragment off the url.full of client spans.
type urlSpans struct {
	// above: otelhttp is above here, as one request has shown. What its span has can then be written without being read
	// first, which is most of the price.
	above atomic.Bool

	// What was written of late, for most requests go to few paths. A URL is remembered when it is seen twice in a row of
	// those that share its slot, so that one with an id in its path leaves nothing but its hash.
	seed  maphash.Seed
	slots [urlSlots]struct {
		last atomic.Uint64
		url  atomic.Pointer[[1]attribute.KeyValue]
	}
}

func newURLSpans() *urlSpans { return &urlSpans{seed: maphash.MakeSeed()} }

// urlBody is the body of a response together with the attribute that was written for it, to be one piece of memory.
type urlBody struct {
	body
	url [1]attribute.KeyValue
}

// redact does so for the span with which the request has come, where that is one for it. The body that it may return is
// there to be used, and says nothing yet.
func (s *urlSpans) redact(ctx context.Context, u *url.URL) *body {
	if u == nil || !redact.Needed(u) {
		return nil
	}
	span := clientSpan(ctx)
	if span == nil {
		return nil
	}
	if !s.above.Load() && !s.look(span, u) {
		return nil
	}
	return s.write(span, u, nil)
}

// redactBeneath does so for the span that otelhttp beneath has begun, if the response is of one.
func (s *urlSpans) redactBeneath(sent *http.Request, res *http.Response, spare *body) *body {
	if res.Request == nil || res.Request == sent || res.Request.URL == nil || !redact.Needed(res.Request.URL) {
		return spare
	}
	span := clientSpan(res.Request.Context())
	if span == nil || span.SpanContext().SpanID() == trace.SpanContextFromContext(sent.Context()).SpanID() {
		return spare
	}
	return s.write(span, res.Request.URL, spare)
}

// clientSpan gives the context's span, where it is a client's. Whether it is recorded is not asked: one of the SDK that is
// not does not tell its kind.
func clientSpan(ctx context.Context) trace.Span {
	span := trace.SpanFromContext(ctx)
	if telling, ok := span.(interface{ SpanKind() trace.SpanKind }); ok && telling.SpanKind() == trace.SpanKindClient {
		return span
	}
	return nil
}

// look tells whether a span has the URL as otelhttp writes it. Another one, as a caller may have written on a span of its
// own, is cut right here.
func (s *urlSpans) look(span trace.Span, u *url.URL) bool {
	telling, ok := span.(interface{ Attributes() []attribute.KeyValue })
	if !ok {
		return false
	}
	for _, a := range telling.Attributes() {
		if a.Key != urlFull {
			continue
		}
		has, whole := a.Value.AsString(), *u
		whole.User = nil
		if has == whole.String() {
			s.above.Store(true)
			return true
		}
		if bare := redact.URL(has); bare != has {
			span.SetAttributes(urlFull.String(bare))
		}
	}
	return false
}

// write writes the attribute, which the SDK copies.
func (s *urlSpans) write(span trace.Span, u *url.URL, spare *body) *body {
	hash := maphash.String(s.seed, u.Path) + 31*maphash.String(s.seed, u.Host)
	slot := &s.slots[hash%urlSlots]
	if known := slot.url.Load(); known != nil && isWhole(known[0].Value.AsString(), u) {
		span.SetAttributes(known[:]...)
		return spare
	}
	text := redact.Of(u)
	if slot.last.Load() == hash && len(text) <= longURL && isWhole(text, u) {
		known := &[1]attribute.KeyValue{urlFull.String(text)}
		slot.url.Store(known)
		span.SetAttributes(known[:]...)
		return spare
	}
	slot.last.Store(hash)
	b := new(urlBody)
	b.url[0] = urlFull.String(text)
	span.SetAttributes(b.url[:]...)
	if spare != nil {
		return spare
	}
	return &b.body
}

// isWhole tells whether text is scheme, host and path of a URL as they are.
func isWhole(text string, u *url.URL) bool {
	scheme, host := len(u.Scheme), len(u.Scheme)+len("://")
	path := host + len(u.Host)
	return u.Opaque == "" && u.RawPath == "" && len(text) == path+len(u.Path) && text[path:] == u.Path && text[host:path] == u.Host &&
		text[scheme:host] == "://" && text[:scheme] == u.Scheme
}

// RedactError gives an error whose text has no user info, query or fragment of a URL in it, be it one that http.Client,
// url.Parse or anybody else has put there, in an error that it wraps or joins, or of a redirect that leads nowhere. What
// looks like a URL and cannot be taken apart is left out. All else stays: errors.Is and errors.As find in it what they
// found in err. An error without such a URL, and nil, comes back as it is. It may be called concurrently.
func RedactError(err error) error {
	if err == nil {
		return nil
	}
	was := err.Error()
	text := redactQuoted(was, err)
	if text = redact.Text(text); text == was {
		return err
	}
	return redactedError{err, text}
}

// redactQuoted cuts the URLs that err is known to have, whatever is in them.
func redactQuoted(text string, err error) string {
	for err != nil {
		if failed, is := err.(*url.Error); is { //nolint:errorlint // each is looked at by itself
			if bare := redact.URL(failed.URL); bare != failed.URL {
				text = strings.ReplaceAll(text, strconv.Quote(failed.URL), `"`+bare+`"`) // as it writes itself
				text = strings.ReplaceAll(text, failed.URL, bare)
			}
		}
		if joined, are := err.(interface{ Unwrap() []error }); are {
			for _, one := range joined.Unwrap() {
				text = redactQuoted(text, one)
			}
			return text
		}
		err = errors.Unwrap(err)
	}
	return text
}

type redactedError struct {
	error
	text string
}

func (e redactedError) Error() string { return e.text }
func (e redactedError) Unwrap() error { return e.error }
