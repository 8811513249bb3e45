package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// run is one schedule on its way, applied to a breaker and to the model.
type run struct {
	b       *breaker.Breaker
	m       *model
	config  breaker.Config // as it was given last
	started time.Time
	permits []permit
	heard   *heard
	step    int
	tracing bool
	trace   []string
	wrong   error
	outside outside
	hurry   bool // the next operation comes at this very instant, before timers may have run
}

type permit struct {
	real  *breaker.Permit
	model *modelCall
}

// perform runs a schedule in a bubble of its own, and gives its steps and the first disagreement.
func perform(t *testing.T, data []byte, tracing bool) (trace []string, wrong error) {
	synctest.Test(t, func(*testing.T) {
		r := &run{tracing: tracing}
		defer func() {
			trace, wrong = r.trace, r.wrong
			if p := recover(); p != nil {
				wrong = fmt.Errorf("panic: %v\n%s", p, stack())
			}
		}()
		r.perform(data)
	})
	return trace, wrong
}

func stack() string {
	text := make([]byte, 4096)
	return string(text[:runtime.Stack(text, false)])
}

func (r *run) perform(data []byte) {
	var head [headSize]byte
	n := copy(head[:], data)
	steps := data[n:]
	r.started = time.Now()
	r.config = decodeConfig(head[:])
	r.heard = &heard{started: r.started}
	var err error
	if r.b, err = breaker.New(r.config, r.heard); err != nil {
		r.wrong = fmt.Errorf("New(%+v): %w", r.config, err)
		return
	}
	r.m = newModel(r.config)
	r.say("New(%+v)", modelDefaults(r.config))
	// To look at a breaker may move it, so some schedules look at its events alone, or only at the end.
	closely := head[7] % 4
	operations := ofAll
	if head[7]&4 != 0 {
		operations = ofCallers
	}
	if head[7]&8 != 0 {
		operations = slices.Concat(operations, ofSiblings)
	}
	for r.step = 1; len(steps) > 0 && r.step <= maxSteps && r.wrong == nil; r.step++ {
		var s [stepSize]byte
		steps = steps[copy(s[:], steps):]
		r.hurry = false
		pick(operations, s[0])(r, s[1], s[2])
		if r.hurry {
			continue
		}
		r.settle()
		if closely < 3 {
			r.compareEvents()
		}
		if closely < 2 {
			r.compareSnapshot()
			r.compareLeases()
		}
	}
	r.finish()
}

// finish compares what is left to compare at the end.
func (r *run) finish() {
	r.settle()
	if err := r.b.Flush(context.Background()); err != nil {
		r.differ("Flush: %v", err)
	}
	r.compareEvents()
	r.compareSnapshot()
	r.compareConfig()
}

func (r *run) now() time.Duration { return time.Since(r.started) }

func (r *run) say(format string, args ...any) {
	if !r.tracing {
		return
	}
	r.trace = append(r.trace, fmt.Sprintf("%3d %-14v ", r.step, r.now())+fmt.Sprintf(format, args...))
}

// differ notes the first disagreement.
func (r *run) differ(format string, args ...any) {
	if r.wrong == nil {
		r.wrong = fmt.Errorf("step %d: "+format, append([]any{r.step}, args...)...)
	}
}

// expect compares one thing.
func expect[T comparable](r *run, what string, got, want T) {
	if got != want {
		r.differ("%s:\n  breaker %+v\n  model   %+v", what, got, want)
	}
}

// settle lets the breaker do all that it has to do at this instant, and brings the model to the same instant.
func (r *run) settle() {
	r.translate()
	r.m.advance(r.now())
}

// translate lets the breaker do all that it has to do at this instant, and takes note of what it told.
func (r *run) translate() {
	synctest.Wait()
	r.heard.translate()
	r.m.actual = r.heard.events
}

// compareEvents compares what has been told, which must not take a look at the breaker to come out.
func (r *run) compareEvents() {
	r.compareLists("event", r.heard.events, r.m.events)
	r.compareLists("transition told to a call", r.heard.calls, r.m.onCall)
	expect(r, "calls told that they are blocked", r.heard.blocked, r.m.blocked)
	expect(r, "events told in a wrong way", r.heard.strayed, 0)
}

func (r *run) compareLists(what string, got, want []modelEvent) {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(want):
			r.differ("%s too many: %+v", what, got[i])
		case i >= len(got):
			r.differ("%s too few: %+v", what, want[i])
		case got[i] != want[i]:
			r.differ("%s %d:\n  breaker %+v\n  model   %+v", what, i+1, got[i], want[i])
		}
	}
}

func (r *run) compareSnapshot() {
	expect(r, "State()", r.b.State(), r.m.snapshot().State)
	s := r.b.Snapshot()
	got := modelSnapshot{State: s.State, Override: s.Override, Note: s.OverrideNote,
		Success: int(s.Success), Failure: int(s.Failure), Ignored: int(s.Ignored), Blocked: int(s.Blocked),
		Slow: int(s.Slow), WouldOpen: int(s.WouldOpen), WouldBlock: int(s.WouldBlock),
		Consecutive: s.ConsecutiveFailures, Transitions: int(s.Transitions), Probes: s.ProbesInFlight,
		Outage: r.heard.outage(s.OutageID), OpenedAt: r.since(s.OpenedAt), OpenTime: s.OpenTime,
		LastFailure: r.since(s.LastFailure), RetryAt: r.since(s.RetryAt), RetryAfter: s.RetryAfter,
		Held: s.Held, Advice: s.Advice, Dropped: int(s.EventsDropped)}
	for from := range s.Edges {
		for to, n := range s.Edges[from] {
			got.Edges[from][to] = int(n)
		}
	}
	expect(r, "Snapshot()", got, r.m.snapshot())
}

// compareConfig compares the configuration in force.
func (r *run) compareConfig() {
	if got := r.b.Snapshot().Config; !reflect.DeepEqual(got, r.m.config) {
		r.differ("Snapshot().Config:\n  breaker %+v\n  model   %+v", got, r.m.config)
	}
}

// compareLeases compares what the permits say of themselves.
func (r *run) compareLeases() {
	for i, p := range r.permits {
		left, probe := p.real.Lease()
		var want time.Duration
		if c := p.model; c.probe && !c.reported && !c.void {
			want = max(0, c.lease-r.m.now)
		}
		if probe != p.model.probe || left != want {
			r.differ("Lease of permit %d: breaker %v %v, model %v %v", i+1, left, probe, want, p.model.probe)
		}
	}
}

// since turns a time into the model's.
func (r *run) since(t time.Time) time.Duration {
	if t.IsZero() {
		return never
	}
	return t.Sub(r.started)
}

// --- steps ---

type contextKey struct{}

// numbered is a context that can be told from others.
func numbered(n int) context.Context { return context.WithValue(context.Background(), contextKey{}, n) }

func numberOf(ctx context.Context) int {
	if n, ok := ctx.Value(contextKey{}).(int); ok {
		return n
	}
	return background
}

func (r *run) acquire(a, _ byte) {
	for range 1 + a%4/2*2 { // one or three
		p, err := r.b.Acquire(numbered(r.step))
		r.say("Acquire: %v", err)
		if c := r.admit(err); c != nil {
			r.permits = append(r.permits, permit{&p, c})
		}
	}
}

// admit lets the model decide on a call, too. err is what the breaker said.
func (r *run) admit(err error) *modelCall {
	r.translate()
	var open *breaker.OpenError
	if errors.As(err, &open) && open.State == breaker.HalfOpen {
		// At the very instant at which a lease ends, a call may be blocked before that as well as after.
		r.m.advance(r.now() - 1)
		r.m.now = r.now()
	} else {
		r.m.advance(r.now())
	}
	c, rejection := r.m.acquire(r.step)
	if open == nil || rejection == nil {
		expect(r, "whether the call was blocked", err != nil, rejection != nil)
		return c
	}
	expect(r, "whether a rejection is ErrOpen", errors.Is(err, breaker.ErrOpen), true)
	expect(r, "rejection", modelRejection{State: open.State, RetryAfter: open.RetryAfter(),
		Outage: r.heard.outage(open.OutageID), Reason: open.Reason, OpenedBy: numberOf(open.OpenedBy())}, *rejection)
	return nil
}

func (r *run) succeed(a, _ byte) { r.done(a, breaker.Success) }
func (r *run) fail(a, _ byte)    { r.done(a, breaker.Failure) }
func (r *run) ignore(a, _ byte)  { r.done(a, breaker.Ignored) }

func (r *run) done(a byte, o breaker.Outcome) {
	r.end(a, modelResult{outcome: o}, func(p *breaker.Permit, ctx context.Context) { p.Done(ctx, o) })
}

// end reports a result for a permit, ended already or not: the newest for 0, and so on back.
func (r *run) end(a byte, result modelResult, report func(*breaker.Permit, context.Context)) {
	if len(r.permits) == 0 {
		return
	}
	n := len(r.permits) - 1 - int(a)%len(r.permits)
	p := r.permits[n]
	r.say("Done of permit %d: %v, elapsed %v, Retry-After %v, error type %q", n+1,
		result.outcome, result.elapsed, result.retryAfter, result.errorType)
	report(p.real, numbered(r.step))
	r.settle()
	result.ctx = r.step
	r.m.done(p.model, result)
}

func (r *run) doneWith(a, b byte) {
	result := breaker.Result{
		Outcome:    breaker.Outcome(b % 3),
		ErrorType:  pick([]string{"", "503"}, b>>1),
		RetryAfter: pick(asks, b>>2),
		Elapsed:    pick([]time.Duration{0, time.Millisecond, 500*time.Millisecond + 1, time.Second, time.Second + 1, time.Hour}, b>>3),
	}
	r.end(a, modelResult{outcome: result.Outcome, elapsed: result.Elapsed, retryAfter: result.RetryAfter, errorType: result.ErrorType},
		func(p *breaker.Permit, ctx context.Context) { p.DoneWith(ctx, result) })
}

// move puts a permit elsewhere. What it was does nothing any more.
func (r *run) move(a, _ byte) {
	if n := len(r.permits); n > 0 {
		p := &r.permits[int(a)%n]
		r.say("Move of permit %d", int(a)%n+1)
		moved := p.real.Move()
		p.real.Done(numbered(r.step), breaker.Failure)
		if !p.model.reported { // else it is the zero Permit that came back
			p.real = &moved
		}
	}
}

// ending is a way in which a guarded function can end, and what that means.
type ending struct {
	name   string
	err    error
	by     func() // called instead of returning err
	cancel bool   // the caller gives up first
	result modelResult
}

var endings = []ending{
	{name: "success", result: modelResult{outcome: breaker.Success}},
	{name: "an error", err: errors.New("an error"), result: modelResult{outcome: breaker.Failure, errorType: "*errors.errorString"}},
	{name: "a timeout", err: context.DeadlineExceeded, result: modelResult{outcome: breaker.Failure, errorType: "timeout"}},
	{name: "cancelled by the callee", err: context.Canceled, result: modelResult{outcome: breaker.Failure, errorType: "*errors.errorString"}},
	{name: "cancelled by the caller", err: context.Canceled, cancel: true, result: modelResult{outcome: breaker.Ignored}},
	{name: "success after all", cancel: true, result: modelResult{outcome: breaker.Success}},
	{name: "busy", err: busy{}, result: modelResult{outcome: breaker.Failure, errorType: "429", retryAfter: 4 * time.Second}},
	{name: "panic", by: func() { panic("a panic") }, result: modelResult{outcome: breaker.Failure, errorType: "panic"}},
	{name: "Goexit", by: runtime.Goexit, result: modelResult{outcome: breaker.Failure, errorType: "panic"}},
}

const returning = 7 // so many of the endings return

type busy struct{}

func (busy) Error() string             { return "busy" }
func (busy) ErrorType() string         { return "429" }
func (busy) RetryAfter() time.Duration { return 4 * time.Second }

func (r *run) doneErr(a, b byte) {
	e := pick(endings[:returning], b)
	r.end(a, e.result, func(p *breaker.Permit, ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if e.cancel {
			cancel()
		}
		p.DoneErr(ctx, e.err)
	})
}

func (r *run) doSuccess(a, _ byte) { r.do(endings[0], 1+a%4, 0) }
func (r *run) doFailure(a, _ byte) { r.do(endings[1], 1+a%4, 0) }
func (r *run) doOther(a, b byte) {
	r.do(pick(endings, a), 1, pick([]time.Duration{0, time.Second, time.Second + 1, 3 * time.Second}, b))
}

// do makes calls, one after the other, that take so long and end so.
func (r *run) do(e ending, times byte, took time.Duration) {
	for range times {
		ctx, cancel := context.WithCancel(numbered(r.step))
		var c *modelCall
		called, finished := false, make(chan error, 1)
		go func() {
			var err error
			defer func() {
				_ = recover()
				finished <- err
			}()
			err = r.b.Do(ctx, func(context.Context) error {
				called = true
				c = r.admit(nil)
				time.Sleep(took)
				if e.cancel {
					cancel()
				}
				if e.by != nil {
					e.by()
				}
				return e.err
			})
		}()
		err := <-finished
		cancel()
		r.say("Do: %s after %v: %v", e.name, took, err)
		if !called {
			r.admit(err)
			continue
		}
		expect(r, "what Do returns", err, e.err)
		r.settle()
		if c != nil {
			result := e.result
			result.ctx = r.step
			r.m.done(c, result)
		}
	}
}

func (r *run) sleep(a, b byte) { r.pause(pick(pauses, a), b) }

// sleepToDeadline lets time pass to the next moment at which something happens by itself, or hardly so.
func (r *run) sleepToDeadline(a, b byte) {
	r.settle()
	if at, due := r.m.deadline(); due {
		r.pause(at+pick(offsets, a)-r.now(), b)
	}
}

// sleepToWindow lets time pass until a call leaves the window, or hardly so.
func (r *run) sleepToWindow(a, b byte) {
	r.settle()
	if n := len(r.m.ended); n > 0 && r.m.config.WindowDuration > 0 {
		at := r.m.ended[n-1-int(a)%n].ended + r.m.config.WindowDuration
		if b&8 != 0 {
			at -= r.m.config.WindowDuration / 10
		}
		r.pause(at+pick(offsets, a>>4)-r.now(), b)
	}
}

func (r *run) pause(d time.Duration, b byte) {
	if d < 0 {
		return
	}
	r.hurry = b%2 == 1
	time.Sleep(d)
	r.say("%v later, %s", d, map[bool]string{true: "at once", false: "in peace"}[r.hurry])
}

// read looks at the state alone, which must be right at this very instant.
func (r *run) read(_, _ byte) {
	got := r.b.State()
	r.settle()
	r.say("State: %v", got)
	expect(r, "State()", got, r.m.snapshot().State)
}

func (r *run) forceOpen(a, _ byte) {
	note := string('a' + rune(a%3))
	r.say("ForceOpen(%q)", note)
	r.b.ForceOpen(note)
	r.settle()
	r.m.forceOpen(note)
}

func (r *run) disable(a, _ byte) {
	note := string('a' + rune(a%3))
	r.say("Disable(%q)", note)
	r.b.Disable(note)
	r.settle()
	r.m.disable(note)
}

func (r *run) reset(_, _ byte) {
	r.say("Reset")
	r.b.Reset()
	r.settle()
	r.m.reset()
}

func (r *run) reconfigure(a, b byte) {
	c := changeConfig(r.config, a, b)
	err := r.b.Reconfigure(c)
	r.say("Reconfigure(%+v): %v", c, err)
	r.settle()
	expect(r, "whether Reconfigure refuses", err != nil, len(configFaults(c)) > 0)
	if err == nil {
		r.config = c
		r.m.reconfigure(c)
	}
	r.compareConfig()
}
