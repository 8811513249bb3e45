package transport

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/net/http/httpguts"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// DefaultClassify is how calls are judged where [WithClassify] does not say otherwise: errors, 5xx and 429 are
// failures, all else is a success. It is here for others to build on.
//
// A rejection by another breaker on the way is ignored, for nothing was sent to the server: its error, where that one is
// in the same process, and the 503 that [Unavailable] has made in a proxy. Any server can mark its own 503 so. All that
// it gains is to go unjudged, as it could by answering 200: its Retry-After is not asked for, an open breaker stays open
// until a probe has succeeded, and nobody else's calls are touched. A classification that does not trust it asks for the
// status itself.
func DefaultClassify(res *http.Response, err error) breaker.Outcome {
	switch {
	case err != nil && errors.Is(err, breaker.ErrOpen), err == nil && marked(res):
		return breaker.Ignored
	case err != nil, res.StatusCode/100 == 5, res.StatusCode == http.StatusTooManyRequests:
		return breaker.Failure
	}
	return breaker.Success
}

// answered judges a response by its headers.
func (t *Transport) answered(res *http.Response, elapsed time.Duration) breaker.Result {
	r := breaker.Result{Outcome: t.outcome(res, nil), Elapsed: elapsed}
	if r.Outcome == breaker.Failure {
		r.ErrorType = strconv.Itoa(res.StatusCode)
		if res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable {
			r.RetryAfter = retryAfter(res.Header, time.Now())
		}
	}
	return r
}

// failed judges an error, of the round trip or of reading the body.
func (t *Transport) failed(by caller, err error, elapsed time.Duration) breaker.Result {
	r := breaker.Result{Outcome: t.outcome(nil, err), Err: err, Elapsed: elapsed}
	switch {
	case r.Outcome != breaker.Failure:
	case by.cancelled():
		r.Outcome = breaker.Ignored
	case by.timedOut():
		r.ErrorType = breaker.ErrorTypeTimeout // whatever the transport beneath calls it
	}
	return r
}

// outcome classifies; what is no outcome counts as a failure, as it does for a breaker.
func (t *Transport) outcome(res *http.Response, err error) breaker.Outcome {
	if o := t.classify(res, err); o <= breaker.Ignored {
		return o
	}
	return breaker.Failure
}

// caller is whoever waits for the call. It can end the call in two ways: by the context, and by Request.Cancel, which
// http.Client still uses for its Timeout, and which may come a moment before the context's own deadline.
type caller struct {
	ctx    context.Context
	cancel <-chan struct{}
}

func callerOf(req *http.Request) caller {
	return caller{req.Context(), req.Cancel} //nolint:staticcheck // deprecated for those who set it
}

// cancelled tells whether the caller itself gave up.
func (c caller) cancelled() bool {
	if err := c.ctx.Err(); err != nil {
		return errors.Is(err, context.Canceled)
	}
	return c.ended() && !c.timedOut()
}

// timedOut tells whether the caller's deadline ended the call.
func (c caller) timedOut() bool {
	deadline, has := c.ctx.Deadline()
	return has && (c.ctx.Err() != nil || c.ended()) && !time.Now().Before(deadline)
}

// ended tells whether Request.Cancel is closed.
func (c caller) ended() bool {
	select {
	case <-c.cancel:
		return true
	default:
		return false
	}
}

// sendable tells whether a request is formed so that it can be sent. It is asked only when it was not, and checks what
// net/http does: users' input may end up in a header, and must not open the breaker of a server that never saw it. What
// the client of HTTP/2 refuses it tells by its text alone.
func sendable(req *http.Request, err error) bool {
	if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong { // the body's own limit
		return false
	}
	if text := err.Error(); strings.HasPrefix(text, "http2: invalid ") || strings.HasPrefix(text, "http2: request ") {
		return false
	}
	if req.Header == nil || req.Method != "" && !httpguts.ValidHeaderFieldName(req.Method) { // both are tokens
		return false
	}
	for _, fields := range []http.Header{req.Header, req.Trailer} {
		for name, values := range fields {
			if !httpguts.ValidHeaderFieldName(name) {
				return false
			}
			for _, v := range values {
				if !httpguts.ValidHeaderFieldValue(v) {
					return false
				}
			}
		}
	}
	return true
}

// endsWithHeaders tells whether there is no body to wait for, or one that is the beginning of another protocol.
func endsWithHeaders(req *http.Request, res *http.Response) bool {
	switch res.StatusCode {
	case http.StatusSwitchingProtocols, http.StatusNoContent, http.StatusNotModified:
		return true
	}
	return res.Body == nil || res.Body == http.NoBody || res.ContentLength == 0 || req.Method == http.MethodHead
}

// retryAfter gives the pause that a response asks for, in seconds or until a date; 0 where it asks for none. A date is
// taken by the server's own clock where the response tells it, so that it matters not whether ours is right.
func retryAfter(h http.Header, now time.Time) time.Duration {
	asked := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(asked, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, math.MaxInt64/uint64(time.Second))) * time.Second
	}
	until, err := http.ParseTime(asked)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return max(0, until.Sub(now))
}

// traced gives the context that bears the call's trace: the caller's or, where the caller has none, that of the span
// which otelhttp beneath began. Where the response is of the very request that was sent there is none beneath.
func traced(sent *http.Request, res *http.Response) context.Context {
	ctx := sent.Context()
	if res.Request == nil || res.Request == sent || trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return res.Request.Context()
}
