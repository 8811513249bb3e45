// Package bell has goroutines wait for a condition without polling: whoever changes what it is about rings.
package bell

import (
	"context"
	"sync"
)

// Bell wakes all who wait for something to change. The zero Bell is ready. All methods may be called concurrently.
type Bell struct {
	mu   sync.Mutex
	next chan struct{}
}

// Ring tells that something has changed.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// Rung gives a channel that closes at the next ring.
func (b *Bell) Rung() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

// Until waits for cond, which it asks now and after every ring, or for the end of ctx, whose cause it then gives.
func (b *Bell) Until(ctx context.Context, cond func() bool) error {
	for {
		rung := b.Rung()
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
