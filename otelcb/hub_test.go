package otelcb

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// However many breakers come and go, what is kept is what is there, and what waits for the garbage collector.
func TestG12_NothingIsKeptOfBreakersThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places, between = 3, 10
		g, err := breaker.NewGroup(breaker.Config{Service: "payments"}, breaker.WithMaxEndpoints(places))
		if err != nil {
			t.Fatal(err)
		}
		u := &turnover{}
		for _, src := range []Source{g, u} {
			r, err := Observe(src, WithMeterProvider(noop.NewMeterProvider()))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Unregister() }()
			for i := range 500 {
				g.Get(fmt.Sprintf("host-%d", i))
				u.replace(t)
				if i%between == 0 {
					runtime.GC()
				}
				if err := r.hub.collect(context.Background(), noop.Observer{}); err != nil {
					t.Fatal(err)
				}
				kept := 0
				for _, s := range r.hub.series {
					kept += len(s.gone)
				}
				base := len(r.hub.readers[0].base)
				if m, s, f := len(r.hub.members), len(r.hub.series), len(r.events.followed); m > places+2 || f > 2 ||
					s > places+2+2*between || kept > 100 || base > s {
					t.Fatalf("after %d: %d breakers, %d series, %d followed, %d kept, %d begun again", i, m, s, f, kept, base)
				}
			}
		}
	})
}

// A reader that collects no more, or too seldom for a flood of hosts, is remembered a bounded number of series.
func TestG12_ALateReaderIsWaitedForWithinBounds(t *testing.T) {
	g, err := breaker.NewGroup(breaker.Config{Service: "payments"}, breaker.WithMaxEndpoints(100))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Observe(g, WithMeterProvider(noop.NewMeterProvider()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Unregister() }()
	late, busy := &pipeline{}, &pipeline{}
	for i := range 3 * mostEnded {
		g.Get(fmt.Sprintf("host-%d", i))
		if i%90 == 0 || i == 3*mostEnded-1 {
			if i == 0 {
				_ = r.hub.collect(context.Background(), observer{pipeline: late})
			}
			_ = r.hub.collect(context.Background(), observer{pipeline: busy})
		}
	}
	if n, most := len(r.hub.series), mostEnded+101; n > most {
		t.Errorf("%d series are remembered, want at most %d", n, most)
	}
	if h := r.hub; len(h.readers) != 2 || h.series[name{"payments", fmt.Sprintf("host-%d", 3*mostEnded-200)}] == nil {
		t.Errorf("%d readers, want 2, and the newest of what has ended", len(h.readers))
	}
	runtime.GC()
	for range 2 { // now it has collected, and nothing is left of them but what the group has
		for _, p := range []*pipeline{late, busy} {
			_ = r.hub.collect(context.Background(), observer{pipeline: p})
		}
	}
	for _, one := range r.hub.readers {
		if len(r.hub.series) > 101 || len(one.base) > 0 {
			t.Errorf("%d series, %d begun again", len(r.hub.series), len(one.base))
		}
	}
}

// turnover has one breaker that stays and one of the same name that is always another.
type turnover struct{ stays, other *breaker.Breaker }

func (u *turnover) replace(t *testing.T) {
	var err error
	if u.stays == nil {
		if u.stays, err = breaker.New(breaker.Config{}); err != nil {
			t.Fatal(err)
		}
	}
	if u.other, err = breaker.New(breaker.Config{}); err != nil {
		t.Fatal(err)
	}
}

func (u *turnover) All() iter.Seq[*breaker.Breaker] {
	return func(yield func(*breaker.Breaker) bool) { _ = yield(u.stays) && yield(u.other) }
}

// pipeline is a reader's own, in the way of an SDK.
type pipeline struct{ _ int }

// observer is like that of the SDK: made anew at each collection, and holding on to the pipeline.
type observer struct {
	noop.Observer
	pipeline *pipeline
	taken    map[string]bool
}

// wrapper is like that of the global provider.
type wrapper struct {
	noop.Observer
	inner metric.Observer
}

func TestReadersAreToldApart(t *testing.T) {
	one, other := &pipeline{}, &pipeline{}
	wrapped := func(p *pipeline) metric.Observer {
		return &wrapper{inner: wrapper{inner: observer{pipeline: p, taken: map[string]bool{}}}}
	}
	direct := func(p *pipeline) metric.Observer { return observer{pipeline: p, taken: map[string]bool{}} }
	for name, by := range map[string]func(*pipeline) metric.Observer{"direct": direct, "wrapped": wrapped} {
		if a, again, b := identity(by(one)), identity(by(one)), identity(by(other)); a != again || a == b || a == 0 {
			t.Errorf("%s: one is %x and then %x, the other %x", name, a, again, b)
		}
	}
	itself := &wrapper{}
	itself.inner = itself
	for name, o := range map[string]metric.Observer{
		"nil": nil, "no pointer in it": noop.Observer{}, "holds itself": itself, "nil pointer": (*wrapper)(nil),
	} {
		if id := identity(o); id != 0 {
			t.Errorf("%s: is %x, want 0", name, id)
		}
	}

	// Where each collection seems to be another reader's, they count as one.
	h := &hub{readers: map[uintptr]*reader{}}
	for range 10 * mostReaders {
		h.readerOf(&wrapper{})
	}
	if len(h.readers) != 1 || h.readers[0] == nil {
		t.Errorf("%d readers, want one", len(h.readers))
	}
}
