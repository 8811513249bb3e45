package transport

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// call is one whose headers were good and whose body has yet to end. The body holds it, and not the other way round,
// so that it becomes garbage with the body. Whoever takes it from the body settles it, and nobody else has it then.
type call struct {
	transport *Transport
	permit    breaker.Permit
	by        caller
	traced    context.Context
	elapsed   time.Duration // to the headers
	probe     bool
	settled   atomic.Bool // a probe, by its timer or otherwise
}

// calls are used again, for the sake of their finalizers, which take as long to set and to lift as all the rest. A body
// that nobody reads or closes settles by it when it is garbage. What finalizers ask for holds: a call is in no cycle, and
// what it keeps is small. That of a call which the pool has dropped finds nothing to settle.
var calls = sync.Pool{New: func() any {
	c := new(call)
	runtime.SetFinalizer(c, (*call).forget)
	return c
}}

// await takes over the permit until the body of res ends.
func (t *Transport) await(permit *breaker.Permit, sent *http.Request, res *http.Response, elapsed time.Duration) *call {
	c := calls.Get().(*call)
	c.transport = t
	c.permit = permit.Move()
	c.by = callerOf(sent)
	c.traced = traced(sent, res)
	c.elapsed = elapsed
	if left, probe := c.permit.Lease(); probe {
		c.probe = true
		c.settleBefore(left)
	}
	return c
}

// settleBefore has a probe succeed shortly before its lease ends, should the body live that long: there was a good
// answer, and a stream may go on for ever. A tenth of the lease, up to a second, is for a timer that comes late.
func (c *call) settleBefore(end time.Duration) {
	// Weak, so that a call is none the longer in memory, and one whose body is forgotten becomes garbage.
	still := weak.Make(c)
	time.AfterFunc(end-min(end/10, time.Second), func() {
		if c := still.Value(); c != nil {
			c.settle(c.unfinished())
		}
	})
}

// forget settles a call whose body is garbage: there was a good answer. Whether the caller had cancelled is not asked,
// for the goroutine of the finalizers must not touch the context of a testing/synctest bubble.
func (c *call) forget() { c.settle(breaker.Result{Outcome: breaker.Success, Elapsed: c.elapsed}) }

// unfinished judges a body that is read no further: there was a good answer, unless the caller has given it all up.
func (c *call) unfinished() breaker.Result {
	r := breaker.Result{Outcome: breaker.Success, Elapsed: c.elapsed}
	if c.by.cancelled() {
		r.Outcome = breaker.Ignored
	}
	return r
}

// breakOff ends a call whose body failed.
func (c *call) breakOff(err error) {
	r := breaker.Result{Outcome: breaker.Failure, ErrorType: breaker.ErrorTypePanic, Elapsed: c.elapsed}
	defer func() { c.end(r) }() // also where the user's classification panics
	if !c.settled.Load() {
		r = c.transport.failed(c.by, err, c.elapsed)
	}
}

// end settles on behalf of whoever held the body, and gives the call back.
func (c *call) end(r breaker.Result) {
	c.settle(r)
	if c.probe { // its timer may still have it
		runtime.SetFinalizer(c, nil)
		return
	}
	*c = call{}
	calls.Put(c)
}

// settle reports the result, of which the permit takes the first.
func (c *call) settle(r breaker.Result) {
	c.permit.DoneWith(c.traced, r)
	if c.probe {
		c.settled.Store(true)
	}
}
