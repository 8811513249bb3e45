package signals

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// Subject is a breaker in the hands of a program that counts its calls itself.
type Subject struct {
	Source  otelcb.Source
	Ways    []Call               // to make a call
	Calm    []Call               // further ones, for calls that neither panic nor end by Goexit
	Refused func(err error) bool // tells that this is the breaker's refusal
	Ignored breaker.Outcome      // what becomes of ErrIgnored
	Wedged  func() bool          // tells that calls which end in a panic or by Goexit would keep a probe's place; nil: never

	Callers, Each int
}

// Told is what came of a Subject: the transitions in order, how many before them were dropped, and how many calls had each
// outcome.
type Told struct {
	Events  []breaker.Event
	Dropped int
	Calls   map[string]int64
}

// Enough adds up what came of many runs, and has it be enough to have shown something.
func Enough(t *testing.T, runs []Told) {
	t.Helper()
	events, calls := 0, map[string]int64{}
	for _, told := range runs {
		events += len(told.Events)
		for outcome, n := range told.Calls {
			calls[outcome] += n
		}
	}
	if events < 5*len(runs) || calls["success"] == 0 || calls["failure"] == 0 || calls["blocked"] == 0 {
		t.Errorf("too little has happened in %d runs: %d transitions, %v", len(runs), events, calls)
	}
}

// tally is what the program counted: the outcomes by their order, and what was refused.
type tally struct {
	outcomes [3]atomic.Uint64
	refused  atomic.Uint64
}

// InVirtualTime makes the calls of a random schedule, in which they take from no time to two minutes, so that they overlap,
// probe, come late, and are refused. What was exported must be what the program counted.
func (s Subject) InVirtualTime(t *testing.T, seed uint64) Told {
	t.Helper()
	return s.run(t, rand.New(rand.NewPCG(seed, 7)), func(r *rand.Rand) {
		switch r.IntN(4) {
		case 0:
		case 1:
			time.Sleep(time.Duration(r.IntN(120_000)) * time.Millisecond)
		default:
			time.Sleep(time.Duration(r.IntN(3_000)) * time.Millisecond)
		}
	}, synctest.Wait)
}

// AtOnce makes the calls as fast as the machine can, for the race detector.
func (s Subject) AtOnce(t *testing.T) Told {
	t.Helper()
	return s.run(t, rand.New(rand.NewPCG(1, 8)), func(*rand.Rand) { runtime.Gosched() }, func() {})
}

func (s Subject) run(t *testing.T, r *rand.Rand, pause func(*rand.Rand), settle func()) (told Told) {
	t.Helper()
	c := New()
	observed, err := c.Observe(s.Source)
	if err != nil {
		t.Fatal(err)
	}
	var b *breaker.Breaker
	for b = range s.Source.All() {
	}
	b.Subscribe(breaker.ListenerFunc(func(e breaker.Event) { told.Events = append(told.Events, e) }))
	var counted tally
	var over atomic.Bool
	var scraping, calling sync.WaitGroup
	for i := range s.Callers {
		own := rand.New(rand.NewPCG(r.Uint64(), uint64(i)))
		calling.Go(func() {
			for range s.Each {
				s.call(t, own, pause, &counted)
				pause(own)
			}
		})
	}
	scraper := rand.New(rand.NewPCG(r.Uint64(), 9))
	scraping.Go(func() {
		for !over.Load() {
			if _, err := c.series(); err != nil {
				t.Error(err)
			}
			pause(scraper)
		}
	})
	calling.Wait()
	over.Store(true)
	scraping.Wait()
	for b.State() == breaker.Open { // until it moves no more
		pause(r)
	}
	settle()
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	told.Dropped = int(b.Snapshot().EventsDropped)
	told.Calls = counted.compare(t, c)
	told.check(t, b)
	if err := observed.Unregister(); err != nil {
		t.Fatal(err)
	}
	return told
}

// call makes one, on a goroutine that it may end.
func (s Subject) call(t *testing.T, r *rand.Rand, pause func(*rand.Rand), counted *tally) {
	n, ending := r.IntN(len(s.Ways)+len(s.Calm)), r.IntN(40)
	way, calm := Call(nil), n >= len(s.Ways)
	if calm {
		way = s.Calm[n-len(s.Ways)]
	} else {
		way = s.Ways[n]
	}
	var alone sync.WaitGroup
	alone.Go(func() {
		ran := false
		defer func() { _ = recover() }()
		err := way(t.Context(), func(context.Context) error {
			ran = true
			pause(r)
			count := func(o breaker.Outcome) { counted.outcomes[o].Add(1) }
			switch {
			case ending < 2 && !calm && (s.Wedged == nil || !s.Wedged()):
				count(breaker.Failure)
				if ending == 0 {
					runtime.Goexit()
				}
				panic("oh")
			case ending < 16:
				count(breaker.Failure)
				return ErrDown
			case ending < 19:
				count(s.Ignored)
				return ErrIgnored
			}
			count(breaker.Success)
			return nil
		})
		switch {
		case s.Refused(err):
			counted.refused.Add(1)
		case !ran:
			t.Errorf("a call was neither made nor refused: %v", err)
		}
	})
	alone.Wait()
}

// compare has the exported totals be those that the program counted.
func (n *tally) compare(t *testing.T, c *Capture) map[string]int64 {
	t.Helper()
	got, err := c.requests()
	if err != nil {
		t.Fatal(err)
	}
	for outcome, want := range map[string]uint64{
		"success": n.outcomes[breaker.Success].Load(), "failure": n.outcomes[breaker.Failure].Load(),
		"ignored": n.outcomes[breaker.Ignored].Load(), "blocked": n.refused.Load(),
	} {
		if got[outcome] != int64(want) {
			t.Errorf("%s: the metrics have %d, the program counted %d", outcome, got[outcome], want)
		}
	}
	return got
}

// check has every transition told once, in order.
func (told Told) check(t *testing.T, b *breaker.Breaker) {
	t.Helper()
	if n := uint64(len(told.Events) + told.Dropped); n != b.Snapshot().Transitions {
		t.Errorf("told of %d transitions of %d", n, b.Snapshot().Transitions)
	}
	for i, e := range told.Events {
		if i > 0 && (e.From != told.Events[i-1].To || e.At.Before(told.Events[i-1].At)) {
			t.Errorf("%v to %v comes after %v to %v", e.From, e.To, told.Events[i-1].From, told.Events[i-1].To)
		}
	}
	last := breaker.Closed
	if n := len(told.Events); n > 0 {
		last = told.Events[n-1].To
	}
	if last != b.State() {
		t.Errorf("it is %v, and was last told to be %v", b.State(), last)
	}
}

// requests gives the exported calls by outcome.
func (c *Capture) requests() (map[string]int64, error) {
	var data metricdata.ResourceMetrics
	if err := c.reader.Collect(context.Background(), &data); err != nil {
		return nil, err
	}
	all := map[string]int64{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok || m.Name != "circuit_breaker.requests" {
				continue
			}
			for _, p := range sum.DataPoints {
				outcome, _ := p.Attributes.Value(attribute.Key("outcome"))
				all[outcome.AsString()] += p.Value
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("signals: no circuit_breaker.requests were exported")
	}
	return all, nil
}

// SameDecisions plays random calls on the breaker of another make, bare and adapted, and compares what came of each call and
// what its callbacks were told. play gives both.
func SameDecisions(t *testing.T, seeds uint64, play func(t *testing.T, r *rand.Rand, adapted bool) (log, told []string)) {
	t.Helper()
	for seed := range seeds {
		var logs, told [2][]string
		for i := range 2 {
			synctest.Test(t, func(t *testing.T) {
				logs[i], told[i] = play(t, rand.New(rand.NewPCG(seed, 3)), i == 1)
			})
		}
		if !slices.Equal(logs[0], logs[1]) || !slices.Equal(told[0], told[1]) {
			t.Fatalf("seed %d:\nbare    %q\nadapted %q\nbare was told    %q\nadapted was told %q", seed, logs[0], logs[1], told[0], told[1])
		}
		if len(logs[0]) == 0 || len(told[0]) == 0 {
			t.Errorf("seed %d: nothing happened", seed)
		}
	}
}
