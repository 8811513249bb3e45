package main

import (
	"context"
	"sync"
	"time"
)

// bell wakes all who wait for something to change. The zero bell is ready.
type bell struct {
	mu   sync.Mutex
	next chan struct{}
}

// ring tells that something has changed.
func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// rung closes at the next ring.
func (b *bell) rung() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

// until waits for cond, which it asks now and after every ring, or for the end of ctx, whose cause it then gives.
func (b *bell) until(ctx context.Context, cond func() bool) error {
	for {
		rung := b.rung()
		if cond() {
			return nil
		}
		select {
		case <-rung:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pause waits for d, or for the end of ctx if that is sooner.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
