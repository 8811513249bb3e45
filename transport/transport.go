// Package transport puts circuit breakers under an [http.Client], one for each scheme, host and port that it calls.
//
//	guarded, err := transport.New(otelhttp.NewTransport(http.DefaultTransport))
//	...
//	client := &http.Client{Transport: guarded}
//	res, err := client.Get("https://payments.example/v1/charges")
//	if open, ok := errors.AsType[*breaker.OpenError](err); ok {
//		// not sent: try again in open.RetryAfter()
//	}
//
// Metrics, log records and span events leave by the global OpenTelemetry providers, unless options name others.
//
// # Over otelhttp or under it
//
// Over it, as above, a blocked call makes no client span: nothing was sent. The caller's span gets the event that says
// so, with a link to the call that opened the breaker.
//
//	guarded, err := transport.New(http.DefaultTransport)
//	...
//	client := &http.Client{Transport: otelhttp.NewTransport(guarded)}
//
// Under it, as here, a blocked call is a failed client span with error.type circuit_open, counts in
// http.client.request.duration, and the events are on the client span.
//
// # What counts as what
//
// Errors, 5xx and 429 are failures, all else is a success; [WithClassify] judges otherwise. A bad status is judged when
// the headers are in, a good one when the body has ended: at its end, when it is closed, or when it breaks off, which is
// a failure and nothing but a failure. So bodies have to be closed, as ever; one that is forgotten is judged when it is
// garbage. An upgrade (101) is judged at its headers. A probe whose stream outlives the lease is a success shortly before
// the lease ends. Whether a call was slow is judged by the time to the headers.
//
// What the caller cancelled is ignored, also while it reads or where it closes a body that it has cancelled; a deadline
// that passed is a failure, be it the context's or http.Client's Timeout. A request that could not be sent because its
// method or its headers are malformed is ignored too: it says nothing about the server. A request without a proper host
// goes past the breakers.
//
// The pause that a failing 429 or 503 asks for (Retry-After) lengthens the open period, up to
// [breaker.Config.MaxRecoveryTimeout].
//
// # Query strings
//
// otelhttp writes the URL with its query, and whatever secret that holds, on the client span. The transport takes
// query and fragment off again; [WithFullURL] leaves them. Under otelhttp that covers every call. Over otelhttp it covers
// those that had a response: the span of one that failed has ended before anything outside can reach it. Put
// [RedactURL] beneath otelhttp to cover these too.
package transport

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Transport is an [http.RoundTripper] that guards another one with circuit breakers. Make it with [New]. All methods
// may be called concurrently.
//
// It keeps to the contract of http.RoundTripper: requests are not modified, a blocked request's body is closed unread,
// no response is made up and nothing is buffered. A response comes back as it is where the call is judged at its headers,
// otherwise as a copy with another Body, which notes how it ends.
type Transport struct {
	next     http.RoundTripper
	breakers *breaker.Group
	key      func(*http.Request) string
	classify func(*http.Response, error) breaker.Outcome
	fullURL  bool
	close    func() error
}

// New guards next, or [http.DefaultTransport] where it is nil. The error tells of every option that is wrong.
func New(next http.RoundTripper, options ...Option) (*Transport, error) {
	if next == nil {
		next = http.DefaultTransport
	}
	s, err := newSettings(options)
	if err != nil {
		return nil, err
	}
	breakers, err := breaker.NewGroup(s.config, s.group...)
	if err != nil {
		return nil, err
	}
	unobserve, err := observe(breakers, s)
	if err != nil {
		return nil, err
	}
	return &Transport{
		next:     next,
		breakers: breakers,
		key:      s.key,
		classify: s.classify,
		fullURL:  s.fullURL,
		close:    sync.OnceValue(unobserve),
	}, nil
}

// RoundTrip makes the call, unless its breaker blocks it: then the error is a [*breaker.OpenError], which errors.As
// finds also in what http.Client makes of it.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if !t.fullURL {
		redactURL(ctx, req)
	}
	if req.URL == nil {
		return t.next.RoundTrip(req) // which says what is wrong with it
	}
	key := t.key(req)
	if key == "" {
		return t.next.RoundTrip(req)
	}
	permit, err := t.breakers.Acquire(ctx, key)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // the error to tell of is the rejection
		}
		return nil, err
	}
	var res *http.Response
	judged := false
	defer func() {
		if !judged { // a panic or Goexit, of the transport beneath or of the classification
			permit.DoneWith(ctx, breaker.Result{Outcome: breaker.Failure, ErrorType: breaker.ErrorTypePanic})
			if res != nil && res.Body != nil {
				_ = res.Body.Close()
			}
		}
	}()

	start := time.Now()
	res, err = t.next.RoundTrip(req)
	elapsed := max(time.Since(start), 1) // 0 would stand for the time to the end of the body
	if err == nil && res == nil {
		err = fmt.Errorf("transport: %T returned neither a response nor an error", t.next)
	}
	if err != nil {
		result := t.failed(callerOf(req), err, elapsed)
		if result.Outcome == breaker.Failure && !sendable(req) {
			result.Outcome = breaker.Ignored
		}
		permit.DoneWith(ctx, result)
		judged = true
		return res, err
	}
	if !t.fullURL && res.Request != nil {
		redactURL(res.Request.Context(), req)
	}
	result := t.answered(res, elapsed)
	if result.Outcome != breaker.Success || endsWithHeaders(req, res) {
		permit.DoneWith(traced(ctx, res), result)
	} else {
		res = watch(res, t.await(&permit, req, res, elapsed))
	}
	judged = true
	return res, nil
}

// Breakers gives the breakers, for a health page, to subscribe to, or to override.
func (t *Transport) Breakers() *breaker.Group { return t.breakers }

// CloseIdleConnections closes those of the transport beneath, where that can. Note that otelhttp's cannot: call it on
// the one beneath that.
func (t *Transport) CloseIdleConnections() { closeIdleConnections(t.next) }

func closeIdleConnections(of http.RoundTripper) {
	if closer, ok := of.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// Close ends the telemetry: the breakers' metrics vanish at the next collection, and no more log records and span
// events are written for them. Calls go on being guarded, and the listeners of [WithListeners] being told. A second
// Close does nothing and returns the first one's error.
func (t *Transport) Close() error { return t.close() }
