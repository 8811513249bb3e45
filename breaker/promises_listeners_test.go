package breaker_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func TestG07_AListenerMayCallTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *breaker.Breaker
		states := make(chan breaker.State, 1)
		b = mustNew(t, breaker.Config{}, breaker.ListenerFunc(func(breaker.Event) {
			_ = b.Do(context.Background(), succeed)
			_ = b.Snapshot()
			cancel := b.Subscribe(breaker.ListenerFunc(func(breaker.Event) {}))
			cancel()
			states <- b.State()
		}))
		trip(t, b)
		if got := <-states; got != breaker.Open {
			t.Errorf("the listener saw %v", got)
		}
	})
}

func TestG07_APanicOrGoexitInAListenerHarmsNobody(t *testing.T) {
	var log strings.Builder
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	synctest.Test(t, func(t *testing.T) {
		first, last := new(recorder), new(recorder)
		b := mustNew(t, breaker.Config{}, first,
			breaker.ListenerFunc(func(breaker.Event) { panic("secret") }),
			breaker.ListenerFunc(func(breaker.Event) { runtime.Goexit() }), last)
		halfOpen(t, b)
		_ = b.Do(t.Context(), succeed)
		want := []string{"closed>open consecutive_failures", "open>half_open delay_elapsed", "half_open>closed probes_succeeded"}
		wantStory(t, b, first, want...)
		wantStory(t, b, last, want...)
	})
	if text := log.String(); strings.Count(text, "listener panicked") != 3 || strings.Contains(text, "secret") {
		t.Errorf("logged: %s", text)
	}
}

// brokenLog panics where a panic is logged.
type brokenLog struct{ slog.Handler }

func (brokenLog) Handle(context.Context, slog.Record) error { panic("no log") }

func TestG07_ALoggerThatPanicsHarmsNobodyEither(t *testing.T) {
	before := slog.Default()
	slog.SetDefault(slog.New(brokenLog{before.Handler()}))
	defer slog.SetDefault(before)
	synctest.Test(t, func(t *testing.T) {
		r := new(recorder)
		b := mustNew(t, breaker.Config{}, breaker.ListenerFunc(func(breaker.Event) { panic("first") }), r)
		b.ForceOpen("")
		b.Reset()
		wantStory(t, b, r, "closed>open forced", "open>closed reset")
	})
}

func TestG07_ABlockedListenerSlowsNoCallAndTheOldestEventsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := new(recorder)
		entered := make(chan struct{}, 1)
		b := mustNew(t, breaker.Config{}, breaker.ListenerFunc(func(breaker.Event) {
			select {
			case entered <- struct{}{}:
			default:
			}
			<-release
		}), r)
		b.ForceOpen("first")
		<-entered
		start := time.Now()
		const more = 2000
		for range more / 2 {
			b.Reset()
			b.ForceOpen("again")
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the breaker waited %v for its listener", took)
		}
		if got := b.Snapshot().EventsDropped; got != more-1024 {
			t.Errorf("%d events dropped, want %d", got, more-1024)
		}
		timeout, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Flush(timeout); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush while the listener blocks: %v", err)
		}
		close(release)
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		events := r.all()
		if len(events) != 1+1024 {
			t.Fatalf("%d events were delivered, want the first and the last 1,024", len(events))
		}
		for i := 2; i < len(events); i++ {
			if events[i].From != events[i-1].To {
				t.Fatalf("event %d goes from %v, but the one before went to %v", i, events[i].From, events[i-1].To)
			}
		}
	})
}

func TestG07_NoEventIsBegunOnceCancelHasReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		cancelled, kept := new(recorder), new(recorder)
		b := mustNew(t, breaker.Config{}, breaker.ListenerFunc(func(breaker.Event) { <-release }))
		cancel := b.Subscribe(cancelled)
		b.Subscribe(kept)
		b.ForceOpen("")
		b.Reset()
		synctest.Wait() // the first listener has the first event, and both wait for the others
		cancel()
		close(release)
		wantStory(t, b, kept, "closed>open forced", "open>closed reset")
		wantStory(t, b, cancelled)
	})
}

func TestG07_FlushWaitsForTheNewestEventAndForNoneThatWasDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		b := mustNew(t, breaker.Config{}, breaker.ListenerFunc(func(breaker.Event) { <-next }))
		b.ForceOpen("")
		synctest.Wait() // the listener has the first event
		const waiting, dropped = 1024, 10
		for range (waiting + dropped) / 2 {
			b.Reset()
			b.ForceOpen("")
		}
		flushed := make(chan error, 1)
		go func() { flushed <- b.Flush(t.Context()) }()
		for range waiting {
			next <- struct{}{}
			synctest.Wait()
			if len(flushed) > 0 {
				t.Fatal("Flush returned while events were waiting")
			}
		}
		next <- struct{}{}
		synctest.Wait()
		if len(flushed) != 1 || <-flushed != nil {
			t.Error("Flush waits for more than there is")
		}
		if got := b.Snapshot().EventsDropped; got != dropped {
			t.Errorf("%d events dropped, want %d", got, dropped)
		}
	})
}

func TestG07_CallListenersRunOnTheCallAndMayPanic(t *testing.T) {
	l := &callRecorder{}
	b := mustNew(t, breaker.Config{FailureThreshold: 1}, l)
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "mine")
	_ = b.Do(ctx, fail)
	if l.transitions != 1 || l.ctx.Value(key{}) != "mine" {
		t.Errorf("the tripping call noted %d transitions", l.transitions)
	}
	if err := b.Do(ctx, succeed); !errors.Is(err, breaker.ErrOpen) || l.blocked != 1 {
		t.Errorf("the blocked call noted %d, and got %v", l.blocked, err)
	}
	cancelled := mustNew(t, breaker.Config{FailureThreshold: 1})
	cancelled.Subscribe(l)()
	_ = cancelled.Do(ctx, fail)
	_ = cancelled.Do(ctx, fail)
	if l.transitions != 1 || l.blocked != 1 {
		t.Error("a cancelled subscription was still called")
	}
}

type callRecorder struct {
	transitions, blocked int
	ctx                  context.Context
}

func (*callRecorder) OnTransition(breaker.Event) {}
func (l *callRecorder) OnCallTransition(ctx context.Context, _ breaker.Event) {
	l.ctx = ctx
	l.transitions++
	panic("harmless")
}
func (l *callRecorder) OnBlocked(context.Context, *breaker.OpenError) {
	l.blocked++
	panic("harmless")
}
