package transport

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// RejectionHeader marks a 503 that [Unavailable] has made, by the value open, so that nobody takes it for the server's own.
const RejectionHeader = "Circuit-Breaker"

const rejectionMark = "open"

// Unavailable is a fallback for [WithFallback] that answers like a server that is not available, for those who proxy:
// 503 without a body, not to be stored, with the header Circuit-Breaker: open and a Retry-After of the seconds until
// a probe will be let through, rounded up, 1 at least.
func Unavailable(req *http.Request, rejection *breaker.OpenError) (*http.Response, error) {
	seconds := max(0, rejection.RetryAfter()-1)/time.Second + 1 // rounded up, without overflowing
	return &http.Response{
		Status:     "503 " + http.StatusText(http.StatusServiceUnavailable),
		StatusCode: http.StatusServiceUnavailable,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			RejectionHeader: {rejectionMark},
			"Retry-After":   {strconv.FormatInt(int64(seconds), 10)},
			"Cache-Control": {"no-store"},
		},
		Body:    http.NoBody,
		Request: req,
	}, nil
}

// marked tells whether a response is one of a breaker on the way rather than of a server.
func marked(res *http.Response) bool {
	return res.StatusCode == http.StatusServiceUnavailable && res.Header.Get(RejectionHeader) == rejectionMark
}

// blocked gives the answer to a blocked call, by the fallback if there is one.
func (t *Transport) blocked(req *http.Request, err error) (*http.Response, error) {
	rejection, is := err.(*breaker.OpenError) //nolint:errorlint // as the group gives it, wrapped in nothing
	if t.fallback == nil || !is {
		if req.Body != nil {
			_ = req.Body.Close() // the error to tell of is the rejection
		}
		return nil, err
	}
	return fallBack(t.fallback, req, rejection)
}

// fallBack lends the request to the fallback and sees to it that a whole answer comes of it.
func fallBack(fallback Fallback, req *http.Request, rejection *breaker.OpenError) (*http.Response, error) {
	lent := req
	var body *lentBody
	if req.Body != nil {
		body = &lentBody{inner: req.Body}
		lent = req.WithContext(req.Context()) // a copy
		lent.Body = body
		defer func() { body.takeBack() }()
	}
	res, err := fallback(lent, rejection)
	switch {
	case err != nil:
		if res != nil && res.Body != nil {
			_ = res.Body.Close()
		}
		return nil, err
	case res == nil:
		return nil, fmt.Errorf("transport: the fallback returned neither a response nor an error: %w", rejection)
	}
	answer := res
	if res.Body == nil || res.Header == nil || res.Request == nil {
		whole := *res // which may be one that the user gives to all
		if whole.Body == nil {
			whole.Body = http.NoBody
		}
		if whole.Header == nil {
			whole.Header = http.Header{}
		}
		if whole.Request == nil {
			whole.Request = req
		}
		answer = &whole
	}
	if body != nil {
		answer = body.leaveTo(answer, res)
	}
	return answer, nil
}

// lentBody is a request's body in the hands of a fallback, which may leave it alone or send it elsewhere. Whatever it
// does, the body is closed once.
type lentBody struct {
	inner   io.ReadCloser
	reading atomic.Bool // begun, and not at its end
	left    bool        // to whoever closes the answer
	closing sync.Once
	failed  error // of closing
}

func (b *lentBody) Read(p []byte) (int, error) {
	n, err := b.inner.Read(p)
	b.reading.Store(err == nil)
	return n, err
}

func (b *lentBody) Close() error {
	b.closing.Do(func() { b.failed = b.inner.Close() })
	return b.failed
}

// leaveTo leaves the body to the answer: a server that it was sent to may answer before it has read any of it, and it
// is closed with the answer's own. An answer without one, or that is the beginning of another protocol, leaves it to
// whoever has begun to read it. The answer may be the copy of one that was made beneath.
func (b *lentBody) leaveTo(answer, made *http.Response) *http.Response {
	if _, writable := answer.Body.(io.Writer); writable || answer.Body == http.NoBody {
		b.left = b.reading.Load()
		return answer
	}
	b.left = true
	with := *answer // which may be one that the user gives to all
	with.Body = answerBody{answer.Body, b, &with, made}
	return &with
}

// takeBack closes what the fallback leaves open.
func (b *lentBody) takeBack() {
	if !b.left {
		_ = b.Close()
	}
}

// answerBody is an answer's body that ends with the request's.
type answerBody struct {
	io.ReadCloser
	lent         *lentBody
	answer, made *http.Response
}

func (b answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && b.answer.Trailer == nil {
		b.answer.Trailer = b.made.Trailer // those that were not announced
	}
	return n, err
}

func (b answerBody) Close() error {
	defer func() { _ = b.lent.Close() }()
	return b.ReadCloser.Close()
}
