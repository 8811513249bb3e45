package transport

import (
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Transport is an [http.RoundTripper] that guards another one with circuit breakers. Make it with [New]. All methods
// may be called concurrently.
//
// It keeps to the contract of http.RoundTripper: requests are not modified, a blocked request's body is closed unread, no
// response is made up, unless by [WithFallback], and nothing is buffered. A response comes back as it is where the call is
// judged at its headers, otherwise as a copy with another Body, which notes how it ends.
type Transport struct {
	next     http.RoundTripper
	breakers *breaker.Group
	key      func(*http.Request) string
	classify func(*http.Response, error) breaker.Outcome
	fallback Fallback
	fullURL  bool
	spans    *urlSpans
	close    func() error
}

// New guards next, or [http.DefaultTransport] where it is nil. The error tells of every option that is wrong.
func New(next http.RoundTripper, options ...Option) (*Transport, error) {
	if next == nil {
		next = http.DefaultTransport
	}
	s, wrong := newSettings(options)
	breakers, err := breaker.NewGroup(s.config, s.group...)
	if err := errors.Join(wrong, err); err != nil {
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
		fallback: s.fallback,
		fullURL:  s.fullURL,
		spans:    newURLSpans(),
		close:    sync.OnceValue(unobserve),
	}, nil
}

// RoundTrip makes the call, unless its breaker blocks it: then the error is a [*breaker.OpenError], which errors.As
// finds also in what http.Client makes of it, or what [WithFallback] says.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	var made *body
	if !t.fullURL {
		made = t.spans.redact(ctx, req.URL)
	}
	if req.URL == nil {
		return t.next.RoundTrip(req) // which says what is wrong with it
	}
	key := t.key(req)
	if key == "" {
		return t.pass(req)
	}
	permit, err := t.breakers.Acquire(ctx, key)
	if err != nil {
		return t.blocked(req, err)
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

	sent, upload := noteUpload(req)
	res, err = t.next.RoundTrip(sent)
	elapsed := permit.Elapsed() // before the body, for whose pace the reader is to blame
	if err == nil && res == nil {
		err = fmt.Errorf("transport: %T returned neither a response nor an error", t.next)
	}
	if err != nil {
		result := t.failed(callerOf(req), err, elapsed)
		if result.Outcome == breaker.Failure && (upload.causes(err) || !sendable(req, err)) {
			result.Outcome = breaker.Ignored
		}
		permit.DoneWith(ctx, result)
		judged = true
		return res, err
	}
	if !t.fullURL {
		made = t.spans.redactBeneath(sent, res, made)
	}
	result := t.answered(res, elapsed)
	if result.Outcome != breaker.Success || endsWithHeaders(req, res) {
		permit.DoneWith(traced(sent, res), result)
	} else {
		res = made.watch(res, t.await(&permit, sent, res, elapsed))
	}
	judged = true
	return res, nil
}

// pass makes a call that no breaker guards.
func (t *Transport) pass(req *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(req)
	if err == nil && res != nil && !t.fullURL {
		t.spans.redactBeneath(req, res, nil)
	}
	return res, err
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
