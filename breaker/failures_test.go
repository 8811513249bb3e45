package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// failureRecorder remembers transitions and failed calls, in one order.
type failureRecorder struct {
	limit uint
	block chan struct{} // nil, or delivery waits until it is closed

	mu     sync.Mutex
	failed []breaker.FailedCall
	lines  []string
}

func (r *failureRecorder) FailuresPerMinute() uint { return r.limit }

func (r *failureRecorder) OnFailure(f breaker.FailedCall) {
	r.note(fmt.Sprintf("failed %v %s", f.State, f.ErrorType), f)
}

func (r *failureRecorder) OnTransition(e breaker.Event) { r.note(fmt.Sprintf("%v>%v", e.From, e.To)) }

func (r *failureRecorder) OnNotice(e breaker.Event) {
	if e.Shadow {
		r.note(fmt.Sprintf("would %v>%v", e.From, e.To))
	}
}

func (r *failureRecorder) note(line string, failed ...breaker.FailedCall) {
	if r.block != nil {
		<-r.block
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	r.failed = append(r.failed, failed...)
}

// take gives what was told since it was last asked.
func (r *failureRecorder) take(t *testing.T, b *breaker.Breaker) (lines []string, failed []breaker.FailedCall) {
	t.Helper()
	if err := b.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	lines, failed = r.lines, r.failed
	r.lines, r.failed = nil, nil
	return lines, failed
}

// failures counts calls that were told, and those that the told ones account for.
func failures(failed []breaker.FailedCall) (told, accounted int) {
	for _, f := range failed {
		told++
		accounted += 1 + int(f.HeldBack)
	}
	return told, accounted
}

func TestFailedCallsAreToldBeforeWhatTheyBringAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &failureRecorder{}
		b := mustNew(t, breaker.Config{Service: "payments", Endpoint: "https://pay.example", FailureThreshold: 4,
			RecoveryTimeout: time.Minute, ProbeTimeout: time.Second}, r)
		type key struct{}
		start := time.Now()
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "mine"))
		late, _ := b.Acquire(ctx)
		_ = b.Do(ctx, succeed)
		_ = b.Do(ctx, fail)
		time.Sleep(time.Second)
		_ = b.Do(ctx, func(context.Context) error { return context.DeadlineExceeded })
		func() {
			defer func() { _ = recover() }()
			_ = b.Do(ctx, func(context.Context) error { panic("token=secret") })
		}()
		p, _ := b.Acquire(ctx)
		cancel()
		_ = b.Do(ctx, fail) // the caller gave up
		p.Done(ctx, breaker.Failure)
		_ = b.Do(ctx, succeed) // blocked
		late.DoneErr(t.Context(), errDown)

		lines, failed := r.take(t, b)
		want := []string{"failed closed *errors.errorString", "failed closed timeout", "failed closed panic", "failed closed ",
			"closed>open", "failed open *errors.errorString"}
		if !slices.Equal(lines, want) {
			t.Fatalf("told\n%q, want\n%q", lines, want)
		}
		for i, f := range failed {
			at, outage := start.Add(time.Second), ""
			if i == 0 {
				at = start
			}
			if i == 4 {
				outage = b.Snapshot().OutageID
			} else if f.Context.Value(key{}) != "mine" {
				t.Errorf("%d: has not the call's values", i)
			}
			if f.Service != "payments" || f.Endpoint != "https://pay.example" || !f.At.Equal(at) || f.OutageID != outage ||
				f.HeldBack != 0 || f.Context.Err() != nil {
				t.Errorf("%d: told of %+v, want the time %v and the outage %q", i, f, at, outage)
			}
		}

		time.Sleep(time.Minute)
		probe, _ := b.Acquire(t.Context())
		time.Sleep(time.Second) // runs out of its lease
		synctest.Wait()
		probe.DoneErr(t.Context(), errDown) // void
		time.Sleep(time.Minute)
		_ = b.Do(t.Context(), fail)
		lines, failed = r.take(t, b)
		want = []string{"open>half_open", "failed half_open timeout", "half_open>open", "open>half_open",
			"failed half_open *errors.errorString", "half_open>open"}
		if !slices.Equal(lines, want) {
			t.Errorf("told\n%q, want\n%q", lines, want)
		}
		for _, f := range failed {
			if f.OutageID != b.Snapshot().OutageID {
				t.Errorf("a failed probe is of outage %q", f.OutageID)
			}
		}

		b.Disable("trying")
		for range 5 {
			_ = b.Do(t.Context(), fail)
		}
		lines, _ = r.take(t, b)
		want = append([]string{"open>closed"}, slices.Repeat([]string{"failed closed *errors.errorString"}, 5)...)
		if want = slices.Insert(want, 5, "would closed>open"); !slices.Equal(lines, want) {
			t.Errorf("disabled, told\n%q, want\n%q", lines, want)
		}
		wantCounts(t, b, 1, 12, 1, 1)
	})
}

func TestFailedCallsAreLimitedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		few, more, all := &failureRecorder{limit: 6}, &failureRecorder{limit: 60}, &failureRecorder{}
		b := mustNew(t, breaker.Config{FailureThreshold: 1 << 60}, few, more, all)
		failing := func(n int) {
			for range n {
				_ = b.Do(t.Context(), fail)
				if err := b.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		want := func(r *failureRecorder, wantTold, wantAccounted int) {
			t.Helper()
			_, failed := r.take(t, b)
			if told, accounted := failures(failed); told != wantTold || accounted != wantAccounted {
				t.Errorf("limit %d: %d calls told for %d, want %d for %d", r.limit, told, accounted, wantTold, wantAccounted)
			}
		}
		failing(1000)
		want(few, 6, 6)
		want(more, 60, 60)
		want(all, 1000, 1000)
		time.Sleep(time.Second - 1)
		failing(1)
		want(more, 0, 0)
		time.Sleep(time.Nanosecond)
		failing(2)
		want(few, 0, 0)
		want(more, 1, 942)
		time.Sleep(time.Hour)
		failing(100)
		want(few, 6, 1003) // of 1,003 before, 997 had been held back
		want(more, 60, 61)
		want(all, 103, 103)
	})
}

// Whatever the number of failed calls and however slow the listener, they cost no transition its place, and each of
// them is accounted for.
func TestG07_FailedCallsTakeNoTransitionsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &failureRecorder{block: make(chan struct{})}
		b := mustNew(t, breaker.Config{FailureThreshold: 2}, r)
		start := time.Now()
		b.Reset()
		_ = b.Do(t.Context(), fail)
		synctest.Wait() // it is on its way, and stuck
		const outages = 500
		for range outages {
			_ = b.Do(t.Context(), fail)
			_ = b.Do(t.Context(), fail)
			b.Reset()
		}
		if dropped := b.Snapshot().EventsDropped; dropped != 0 {
			t.Errorf("%d events dropped, although there is room for all", dropped)
		}
		for range outages {
			b.ForceOpen("")
			b.Reset()
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the breaker waited %v for its listener", took)
		}
		dropped := b.Snapshot().EventsDropped
		close(r.block)
		lines, failed := r.take(t, b)
		if transitions := len(lines) - len(failed); transitions != 1024 || dropped != 4*outages-1024 {
			t.Errorf("%d transitions told and %d dropped, want 1,024 of %d", transitions, dropped, 4*outages)
		}
		_ = b.Do(t.Context(), fail)
		_, last := r.take(t, b)
		told, accounted := failures(append(failed, last...))
		if uint64(accounted) != b.Snapshot().Failure || told > 130 {
			t.Errorf("%d failed calls told for %d, want at most 130 for %d", told, accounted, b.Snapshot().Failure)
		}
	})
}

func TestG07_FewFailedCallsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &failureRecorder{block: make(chan struct{})}
		b := mustNew(t, breaker.Config{FailureThreshold: 1 << 60}, r)
		_ = b.Do(t.Context(), fail)
		synctest.Wait() // it is on its way, and stuck
		for range 1000 {
			_ = b.Do(t.Context(), fail)
		}
		close(r.block)
		_, failed := r.take(t, b)
		_ = b.Do(t.Context(), fail)
		_, last := r.take(t, b)
		if len(failed) != 1+128 || len(last) != 1 || last[0].HeldBack != 1000-128 {
			t.Errorf("%d calls told, and then %+v, want 129 and then one with 872 held back", len(failed), last)
		}
	})
}

func TestG07_AFailedCallThatIsDroppedHandsOnWhatItStoodFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &failureRecorder{limit: 1, block: make(chan struct{})}
		b := mustNew(t, breaker.Config{FailureThreshold: 1 << 60}, r)
		for range 4 { // the first is on its way, and stuck; three are held back
			_ = b.Do(t.Context(), fail)
		}
		time.Sleep(time.Minute)
		_ = b.Do(t.Context(), fail) // stands for itself and for those three, and waits
		for range 1024 {
			b.ForceOpen("")
			b.Reset()
		}
		close(r.block)
		if _, failed := r.take(t, b); len(failed) != 1 || failed[0].HeldBack != 0 {
			t.Errorf("told of %+v, want the first failed call alone", failed)
		}
		time.Sleep(time.Minute)
		_ = b.Do(t.Context(), fail)
		if _, failed := r.take(t, b); len(failed) != 1 || failed[0].HeldBack != 4 {
			t.Errorf("told of %+v, want one failed call with four held back", failed)
		}
	})
}

func TestFailureListenersStandAmongOthers(t *testing.T) {
	first, last := &failureRecorder{}, &failureRecorder{}
	b := mustNew(t, breaker.Config{}, new(recorder), first, new(recorder), last)
	_ = b.Do(t.Context(), fail)
	for name, r := range map[string]*failureRecorder{"first": first, "last": last} {
		if _, failed := r.take(t, b); len(failed) != 1 {
			t.Errorf("the %s is told of %d calls, want 1", name, len(failed))
		}
	}
}

func TestFailureListenersComeAndGo(t *testing.T) {
	first, second := &failureRecorder{limit: 1}, &failureRecorder{limit: 1}
	g, err := breaker.NewGroup(breaker.Config{FailureThreshold: 1 << 60}, breaker.WithListeners(first))
	if err != nil {
		t.Fatal(err)
	}
	a, b := g.Get("a"), g.Get("b")
	want := func(b *breaker.Breaker, r *failureRecorder, want int) {
		t.Helper()
		_ = b.Do(t.Context(), fail)
		if _, failed := r.take(t, b); len(failed) != want {
			t.Errorf("%s: %d calls told, want %d", b.Snapshot().Endpoint, len(failed), want)
		}
	}
	want(a, first, 1)
	want(b, first, 1) // each breaker has the whole limit
	cancel := g.Subscribe(second)
	want(a, second, 1)
	want(a, first, 0) // and no more of it because of another listener
	want(g.Get("c"), second, 1)
	cancel()
	want(g.Get("d"), second, 0)
	want(b, second, 0)
	a.Subscribe(second)
	want(a, second, 1)
}

type nosyError struct{ b *breaker.Breaker }

func (nosyError) Error() string       { return "" }
func (e nosyError) ErrorType() string { return e.b.State().String() }

func TestG07_AFailedCallsErrorMayCallTheBreaker(t *testing.T) {
	r := &failureRecorder{}
	b := mustNew(t, breaker.Config{}, r)
	_ = b.Do(t.Context(), func(context.Context) error { return nosyError{b} })
	if _, failed := r.take(t, b); len(failed) != 1 || failed[0].ErrorType != "closed" {
		t.Errorf("told of %+v", failed)
	}
}

func TestFailureListenersCostCallsNothingElse(t *testing.T) {
	b := mustNew(t, breaker.Config{FailureThreshold: 1 << 60}, &failureRecorder{limit: 1})
	ctx := context.Background()
	_ = b.Do(ctx, fail)
	_ = b.Flush(ctx)
	for name, fn := range map[string]func(context.Context) error{"success": succeed, "failure beyond the limit": fail} {
		if n := testing.AllocsPerRun(100, func() { _ = b.Do(ctx, fn) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestG08_EveryFailedCallIsAccountedForConcurrentSafe(t *testing.T) {
	r := &failureRecorder{limit: 30_000}
	b := mustNew(t, breaker.Config{FailureThreshold: 3, RecoveryTimeout: time.Nanosecond}, r)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 2000 {
				_ = b.Do(context.Background(), func(context.Context) error {
					if i%4 == 0 {
						return nil
					}
					return errDown
				})
			}
		})
	}
	all.Wait()
	lines, failed := r.take(t, b)
	// What is yet to be accounted for comes with the next one that is told.
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		_ = b.Do(context.Background(), fail)
		more, last := r.take(t, b)
		lines, failed = append(lines, more...), append(failed, last...)
		if len(last) > 0 {
			break
		}
	}
	b.ForceOpen("so that time moves nothing more")
	more, _ := r.take(t, b)
	lines = append(lines, more...)
	told, accounted := failures(failed)
	if s := b.Snapshot(); uint64(accounted) != s.Failure || s.EventsDropped+uint64(len(lines)-told) != s.Transitions {
		t.Errorf("%d failed calls told for %d of %d; %d transitions told and %d dropped of %d", told, accounted, s.Failure,
			len(lines)-told, s.EventsDropped, s.Transitions)
	}
}

// BenchmarkFailure is a failed call where somebody wants to know of some, or of all.
func BenchmarkFailure(b *testing.B) {
	failure := errors.New("failure")
	for _, c := range []struct {
		name      string
		listeners []breaker.Listener
	}{
		{"nobody listens", nil},
		{"transitions only", []breaker.Listener{breaker.ListenerFunc(func(breaker.Event) {})}},
		{"120 a minute", []breaker.Listener{forgetful(120)}},
		{"all", []breaker.Listener{forgetful(0)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			cb := mustNew(b, breaker.Config{FailureThreshold: 1 << 60}, c.listeners...)
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				_ = cb.Do(ctx, func(context.Context) error { return failure })
			}
		})
	}
}

type forgetful uint

func (l forgetful) FailuresPerMinute() uint    { return uint(l) }
func (forgetful) OnFailure(breaker.FailedCall) {}
func (forgetful) OnTransition(breaker.Event)   {}

func TestAFailedCallOfADisabledBreakerIsInNoOutage(t *testing.T) {
	r := &failureRecorder{}
	b := mustNew(t, breaker.Config{FailureThreshold: 1}, r)
	b.Disable("trial")
	for range 2 { // the second while it would have been open
		_ = b.Do(t.Context(), fail)
	}
	_, failed := r.take(t, b)
	for i, f := range failed {
		if f.State != breaker.Closed || f.OutageID != "" {
			t.Errorf("call %d failed %v, in outage %q", i+1, f.State, f.OutageID)
		}
	}
	if len(failed) != 2 {
		t.Errorf("%d failed calls were told, want 2", len(failed))
	}
}

// panickyListener does not even say how much it wants to know.
type panickyListener struct{ failureRecorder }

func (*panickyListener) FailuresPerMinute() uint { panic("no limit") }

func TestG07_AListenerThatPanicsWhenAskedForItsLimitHarmsNobody(t *testing.T) {
	before := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // where the breaker complains of the panic
	defer slog.SetDefault(before)
	r := &panickyListener{}
	b := mustNew(t, breaker.Config{FailureThreshold: 1}, r)
	_ = b.Do(t.Context(), fail)
	if lines, failed := r.take(t, b); !slices.Contains(lines, "closed>open") || len(failed) != 0 {
		t.Errorf("told %q, want the opening alone", lines)
	}
}
