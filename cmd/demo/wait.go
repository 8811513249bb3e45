package main

import (
	"context"
	"time"
)

// pause waits for d, or for the end of ctx if that is sooner.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
