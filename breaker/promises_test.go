package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// The tests of the promises in docs/guarantees.md, each with the promise's id in its name. Time is virtual.

var errDown = errors.New("down")

func fail(context.Context) error { return errDown }

// recorder is a listener that remembers.
type recorder struct {
	mu     sync.Mutex
	events []breaker.Event
}

func (r *recorder) OnTransition(e breaker.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []breaker.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// story gives the transitions as "closed>open consecutive_failures".
func (r *recorder) story() []string {
	var lines []string
	for _, e := range r.all() {
		lines = append(lines, fmt.Sprintf("%v>%v %s", e.From, e.To, e.Reason.Rule))
	}
	return lines
}

func wantStory(t *testing.T, b *breaker.Breaker, r *recorder, want ...string) {
	t.Helper()
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.story(); !slices.Equal(got, want) {
		t.Errorf("transitions:\n  got  %v\n  want %v", got, want)
	}
}

func wantState(t *testing.T, b *breaker.Breaker, want breaker.State) {
	t.Helper()
	if got := b.State(); got != want {
		t.Fatalf("state is %v, want %v", got, want)
	}
	if got := b.Snapshot().State; got != want {
		t.Fatalf("snapshot's state is %v, want %v", got, want)
	}
}

// trip opens b by failures; its threshold must be the default.
func trip(t *testing.T, b *breaker.Breaker) {
	t.Helper()
	for range breaker.DefaultFailureThreshold {
		if err := b.Do(t.Context(), fail); !errors.Is(err, errDown) {
			t.Fatalf("a failing call returned %v", err)
		}
	}
	wantState(t, b, breaker.Open)
}

// halfOpen trips b and waits until its delay has ended.
func halfOpen(t *testing.T, b *breaker.Breaker) {
	t.Helper()
	trip(t, b)
	time.Sleep(b.Snapshot().RetryAfter)
	synctest.Wait()
	wantState(t, b, breaker.HalfOpen)
}

// wantCounts checks the totals: success, failure, ignored, blocked.
func wantCounts(t *testing.T, b *breaker.Breaker, want ...uint64) {
	t.Helper()
	s := b.Snapshot()
	if got := []uint64{s.Success, s.Failure, s.Ignored, s.Blocked}; !slices.Equal(got, want) {
		t.Errorf("success, failure, ignored, blocked are %v, want %v", got, want)
	}
}
