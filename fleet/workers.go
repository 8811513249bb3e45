package fleet

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// workerCount is how many operations on the engine may wait for it at a time.
const workerCount = 4

// workers do what has to wait for the engine.
type workers struct {
	mu     sync.Mutex
	some   sync.Cond
	queue  []func()
	closed bool
}

func (w *workers) init() { w.some.L = &w.mu }

func (w *workers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed, w.queue = true, nil
	w.some.Broadcast()
}

func (w *workers) next() (func(), bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 && !w.closed {
		w.some.Wait()
	}
	if w.closed {
		return nil, false
	}
	next := w.queue[0]
	w.queue = w.queue[1:]
	return next, true
}

func (m *Member) works() {
	for {
		next, ok := m.work.next()
		if !ok {
			return
		}
		next()
	}
}

// operation is what can go wrong with the engine, for the metric of errors.
type operation string

const (
	opPut    operation = "put"
	opSwap   operation = "swap"
	opDelete operation = "delete"
	opWatch  operation = "watch"
	opValue  operation = "value" // what somebody else has written
)

var operations = []operation{opPut, opSwap, opDelete, opWatch, opValue}

// do has a worker do something to the engine, and then the loop take the result. Of one breaker there is one operation
// at a time, and one of the replica's own key, so no more than that many wait. An urgent one goes first.
func (m *Member) do(urgent bool, op operation, f func(context.Context) error, then func(err error, now time.Time)) {
	task := func() {
		ctx, cancel := context.WithTimeout(m.ctx, m.config.timeout)
		defer cancel()
		err := contained(func() error { return f(ctx) })
		if err != nil && m.ctx.Err() == nil {
			m.telemetry.failed(op)
		}
		m.post(func(now time.Time) { then(err, now) })
	}
	m.work.mu.Lock()
	defer m.work.mu.Unlock()
	if urgent {
		m.work.queue = append([]func(){task}, m.work.queue...)
	} else {
		m.work.queue = append(m.work.queue, task)
	}
	m.work.some.Signal()
}

// contained keeps a panic in an engine from ending the process.
func contained(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("fleet: the engine panicked with a %T", p)
		}
	}()
	return f()
}
