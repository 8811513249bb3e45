package collector

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// stuck is a provider that ends only when it is released.
type stuck struct {
	release chan struct{}
	flushes atomic.Int32
}

func (s *stuck) ForceFlush(context.Context) error { s.flushes.Add(1); <-s.release; return nil }
func (s *stuck) Shutdown(context.Context) error   { <-s.release; return nil }

func newStuckPipeline() (*Pipeline, *stuck) {
	s := &stuck{release: make(chan struct{})}
	p := &Pipeline{
		errors:   &errorLog{},
		stages:   []stage{{logs, s}},
		flushing: make(chan struct{}, 1),
		ended:    make(chan struct{}),
	}
	p.stop, p.abort = context.WithCancelCause(context.Background())
	return p, s
}

func TestG14_ShutdownWithoutDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newStuckPipeline()
		defer close(s.release)
		begin := time.Now()
		err := p.Shutdown(context.Background())
		if d := time.Since(begin); d != 5*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", d, err)
		}
	})
}

func TestG14_ShutdownWaitsForNoLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newStuckPipeline()
		close(s.release)
		w := stuckWriter{make(chan struct{})}
		defer close(w.release)
		p.errors = &errorLog{logger: slog.New(slog.NewTextHandler(w, nil)), next: time.Now().Add(time.Hour)}
		p.errors.Handle(errors.New("an error"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_ = p.Shutdown(ctx)
		if d := time.Since(begin); d > time.Second+maxMargin {
			t.Errorf("took %v", d)
		}
	})
}

// Exports end a little before the deadline, so that their loss can be told in time.
func TestG14_ExportsEndBeforeTheDeadline(t *testing.T) {
	for deadline, want := range map[time.Duration]time.Duration{
		10 * time.Second:       10*time.Second - 100*time.Millisecond,
		100 * time.Millisecond: 90 * time.Millisecond,
	} {
		synctest.Test(t, func(t *testing.T) {
			p, s := newStuckPipeline()
			begin := time.Now()
			var stopped time.Duration
			context.AfterFunc(p.stop, func() {
				stopped = time.Since(begin)
				close(s.release)
			})
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			if err := p.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			if stopped != want || !errors.Is(context.Cause(p.stop), context.DeadlineExceeded) {
				t.Errorf("%v: stopped after %v by %v, want %v", deadline, stopped, context.Cause(p.stop), want)
			}
		})
	}
}

func TestShutdownSecondCallWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newStuckPipeline()
		go func() {
			if err := p.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while the first is under way: %v", err)
		}
		close(s.release)
		if err := p.Shutdown(t.Context()); err != nil {
			t.Errorf("after the first: %v", err)
		}
	})
}

// Flushes behind a receiver that hangs do not pile up.
func TestG14_FlushesDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newStuckPipeline()
		begin := time.Now()
		for range 10 {
			if err := p.ForceFlush(context.Background()); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		if d := time.Since(begin); d != 50*time.Second || s.flushes.Load() != 1 {
			t.Errorf("%d flushes under way after %v, want 1 after 50s", s.flushes.Load(), d)
		}
		close(s.release)
		synctest.Wait()
		if err := p.ForceFlush(context.Background()); err != nil || s.flushes.Load() != 2 {
			t.Errorf("once released: %d flushes, %v", s.flushes.Load(), err)
		}
	})
}

// What has not come out of its queue in time is lost, too.
func TestG14_ShutdownTellsOfWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newStuckPipeline()
		defer close(s.release)
		o := p.newOutlet(logs, otlpExporter, plan{}, 10)
		for range 12 {
			o.admit()
		}
		err := p.Shutdown(context.Background())
		if err == nil || err.Error() != "collector: logs: 10 not delivered: context deadline exceeded" {
			t.Errorf("error: %v", err)
		}
		if n := o.dropped.Load(); n != 2 {
			t.Errorf("%d dropped for want of room, want 2", n)
		}
	})
}

// The queue behind an inlet takes sampled spans only, in silence: another would never leave the count of pending ones.
func TestInletTakesSampledSpansOnly(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	o := &outlet{limit: 10, log: &errorLog{}}
	inlet := spanInlet{recorder, o}
	inlet.OnEnd(tracetest.SpanStub{}.Snapshot())
	if n := o.pending.Load(); n != 0 || len(recorder.Ended()) != 0 {
		t.Errorf("%d pending, %d passed on", n, len(recorder.Ended()))
	}
	inlet.OnEnd(tracetest.SpanStub{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceFlags: trace.FlagsSampled})}.Snapshot())
	if n := o.pending.Load(); n != 1 || len(recorder.Ended()) != 1 {
		t.Errorf("sampled: %d pending, %d passed on", n, len(recorder.Ended()))
	}
}
