package benchmarks

import (
	"errors"
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// TestSubjectsDoWhatTheCasesSay keeps a benchmark from measuring something else than its name says: a breaker that has
// opened, say, or one that lets calls through that it should refuse.
func TestSubjectsDoWhatTheCasesSay(t *testing.T) {
	const calls = 10_000
	for _, s := range subjects {
		for _, c := range cases {
			setting := c.of(s)
			if setting == nil {
				continue
			}
			t.Run(s.name+"/"+c.name, func(t *testing.T) {
				once := setting(t)
				var succeeded, failed, refused int
				for range calls {
					switch err := once(); {
					case err == nil:
						succeeded++
					case errors.Is(err, errDown):
						failed++
					default:
						refused++
					}
				}
				as := succeeded
				switch c.name {
				case "Mixed":
					if failed > 0 && failed < calls/64 && refused == 0 {
						return
					}
				case "Rejected":
					as = refused
				case "Failing":
					as = failed
				}
				if as < calls-calls/1000 { // those that decide by chance may let one in a thousand through
					t.Errorf("of %d calls %d succeeded, %d failed, %d were refused", calls, succeeded, failed, refused)
				}
			})
		}
	}
}

// TestEverythingIsObserved shows that the subject called otelbreaker pays for all that it is said to pay for: each of
// the three signals comes out at the other end.
func TestEverythingIsObserved(t *testing.T) {
	p := newPipeline(t)
	b := newBreaker(t, breaker.Config{FailureThreshold: 1})
	p.observe(t, b)
	ctx, span := p.spans.Tracer("test").Start(t.Context(), "call")
	_ = b.Do(ctx, failCtx)
	span.End()
	b.Reset()
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.metrics.ForceFlush(t.Context()), p.spans.ForceFlush(t.Context()), p.logs.ForceFlush(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := p.collections.Load(); n < 1 {
		t.Errorf("%d collections of metrics, want one or more", n)
	}
	if n := p.spansOut.Load(); n != 2 {
		t.Errorf("%d spans, want the call's and the outage's", n)
	}
	if n := p.recordsOut.Load(); n != 2 {
		t.Errorf("%d log records, want those of the opening and of the closing", n)
	}
}

// TestCallsOfOursAllocateNothing holds for the observed breaker, too; its collections and exports allocate, but on
// their own goroutines.
func TestCallsOfOursAllocateNothing(t *testing.T) {
	for _, c := range cases {
		once := c.of(subjects[0])(t)
		if n := testing.AllocsPerRun(1000, func() { _ = once() }); n != 0 {
			t.Errorf("%s: %v allocations a call", c.name, n)
		}
	}
}
