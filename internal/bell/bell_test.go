package bell_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/otelbreaker/otelbreaker/internal/bell"
)

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bell.Bell
		b.Ring() // nobody waits
		n := 0
		done := make(chan error)
		go func() { done <- b.Until(t.Context(), func() bool { n++; return n == 3 }) }()
		for range 2 {
			synctest.Wait()
			b.Ring()
		}
		if err := <-done; err != nil || n != 3 {
			t.Errorf("asked %d times, error %v", n, err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { done <- b.Until(ctx, func() bool { return false }) }()
		synctest.Wait()
		late := errors.New("too late")
		cancel(late)
		if err := <-done; err != late {
			t.Errorf("the end of the wait is %v, want %v", err, late)
		}
	})
}
