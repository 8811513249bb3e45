package transport

import (
	"io"
	"net/http"
	"sync/atomic"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// body is the body of a response whose headers were good: it tells its call how it ends. Read and Close may be called
// at the same time, as those of net/http may.
//
// It comes with a response of its own, a copy, because net/http holds on to the one it made until the body has ended:
// set into that one, a body that the caller has forgotten would never become garbage.
type body struct {
	res   http.Response  // the caller's
	made  *http.Response // by the transport beneath, with the body that is read
	call  *call          // of the one who takes it
	taken atomic.Bool    // rather than an atomic pointer, which takes its time to set in memory that is new
}

// writableBody is one that can be written to. WriterTo, on the other hand, is not passed on: its error does not tell
// whether reading failed or writing.
type writableBody struct{ *body }

func (b writableBody) Write(p []byte) (int, error) { return b.made.Body.(io.Writer).Write(p) }

// watch gives the response to hand to the caller, whose body settles the call. A nil body makes one.
func (b *body) watch(res *http.Response, c *call) *http.Response {
	if b == nil {
		b = new(body)
	}
	b.res, b.made, b.call = *res, res, c
	b.res.Body = b
	if _, writable := res.Body.(io.Writer); writable {
		b.res.Body = writableBody{b}
	}
	return &b.res
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.made.Body.Read(p)
	switch err {
	case nil:
	case io.EOF:
		if c := b.take(); c != nil {
			if b.res.Trailer == nil {
				b.res.Trailer = b.made.Trailer // those that were not announced
			}
			c.end(breaker.Result{Outcome: breaker.Success, Elapsed: c.elapsed})
		}
	default:
		if c := b.take(); c != nil {
			c.breakOff(err)
		}
	}
	return n, err
}

// Close settles first, for closing may take its time, and a Read that it ends must not count as broken off.
func (b *body) Close() error {
	if c := b.take(); c != nil {
		c.end(c.unfinished())
	}
	return b.made.Body.Close()
}

// take gives the call to the first who asks, to settle it.
func (b *body) take() *call {
	if b.taken.Load() || !b.taken.CompareAndSwap(false, true) {
		return nil
	}
	c := b.call
	b.call = nil // which another response will have
	return c
}
