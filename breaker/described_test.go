package breaker_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// countedError counts how often it is asked what it is.
type countedError struct{ asked *atomic.Int64 }

func (countedError) Error() string { return "down" }

func (e countedError) ErrorType() string {
	e.asked.Add(1)
	return "503"
}

// A failure that moves nothing is spared the price, and the one that does names itself.
func TestAnErrorIsAskedWhatItIsWhereThatIsTold(t *testing.T) {
	var asked atomic.Int64
	r := new(recorder)
	b := mustNew(t, breaker.Config{FailureThreshold: 3}, r)
	for call, want := range []int64{0, 0, 1} {
		_ = b.Do(t.Context(), func(context.Context) error { return countedError{&asked} })
		if got := asked.Load(); got != want {
			t.Errorf("after failure %d the error was asked %d times, want %d", call+1, got, want)
		}
	}
	_ = b.Flush(t.Context())
	if e := r.all(); len(e) != 1 || e[0].ErrorType != "503" {
		t.Errorf("events %+v, want one with the error type 503", e)
	}
}

// goexitError ends the goroutine that asks.
type goexitError struct{}

func (goexitError) Error() string { return "down" }

func (goexitError) ErrorType() string {
	runtime.Goexit()
	return ""
}

func TestG08_AnErrorThatEndsTheGoroutineIsCounted(t *testing.T) {
	for name, call := range map[string]func(*breaker.Breaker){
		"Do": func(b *breaker.Breaker) {
			_ = b.Do(context.Background(), func(context.Context) error { return goexitError{} })
		},
		"permit": func(b *breaker.Breaker) {
			p, _ := b.Acquire(context.Background())
			p.DoneErr(context.Background(), goexitError{})
		},
	} {
		b := mustNew(t, breaker.Config{FailureThreshold: 1})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			call(b)
		}()
		<-ended
		if s := b.Snapshot(); s.Failure != 1 || s.State != breaker.Open {
			t.Errorf("%s: %d failures, %v, want 1 and open", name, s.Failure, s.State)
		}
	}
}

// The time of a failure is worked out when it is asked for, and stays what it was.
func TestTheTimeOfAFailureIsThatOfTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustNew(t, breaker.Config{})
		if at := b.Snapshot().LastFailure; !at.IsZero() {
			t.Errorf("before any failure: %v", at)
		}
		for range 2 {
			time.Sleep(time.Minute)
			failed := time.Now()
			_ = b.Do(t.Context(), fail)
			for range 2 {
				time.Sleep(time.Hour)
				if at := b.Snapshot().LastFailure; !at.Equal(failed) {
					t.Errorf("the failure was at %v, told is %v", failed, at)
				}
			}
		}
	})
}
