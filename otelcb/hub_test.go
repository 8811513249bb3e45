package otelcb

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// However many breakers come and go, what is kept is what is there.
func TestG12_NothingIsKeptOfBreakersThatAreGone(t *testing.T) {
	const places = 3
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
			if i%10 == 0 {
				runtime.GC()
			}
			if err := r.hub.collect(context.Background(), noop.Observer{}); err != nil {
				t.Fatal(err)
			}
			kept := 0
			for _, s := range r.hub.series {
				kept += len(s.gone)
			}
			if m, s, f := len(r.hub.members), len(r.hub.series), len(r.events.followed); m > places+2 || s > places+2 ||
				f > 2 || kept > 100 {
				t.Fatalf("after %d: %d breakers, %d series, %d followed, %d kept", i, m, s, f, kept)
			}
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
