package breaker_test

import (
	"fmt"
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func TestG12_ALookupMakesNoBreaker(t *testing.T) {
	g := mustGroup(t, breaker.Config{})
	a, none := g.Get("https://a.example"), g.Get("")
	for name, want := range map[string]*breaker.Breaker{
		"https://a.example":                    a,
		"https://user:hunter2@a.example?x=y#z": a, // named as for Get
		"":                                     none,
		"default":                              none,
		"https://a.exmaple":                    nil,
		"https://a.example/":                   nil,
		"HTTPS://A.EXAMPLE":                    nil, // a key is a text; a transport makes them alike before
		"other":                                nil, // there is no overflow breaker yet
		"\xff":                                 nil,
	} {
		if got, found := g.Lookup(name); got != want || found != (want != nil) {
			t.Errorf("Lookup(%q) found %v, %t", name, got, found)
		}
	}
	if got := endpoints(g); got != "https://a.example default" {
		t.Errorf("after looking, the group holds %s", got)
	}
}

func TestLookupFindsTheOverflowBreakerByItsNameAlone(t *testing.T) {
	g := mustGroup(t, breaker.Config{FailureThreshold: 1}, breaker.WithMaxEndpoints(1))
	_ = g.Get("open").Do(t.Context(), fail)
	over := g.Get("one too many")
	if got, found := g.Lookup("other"); got != over || !found {
		t.Errorf("other is %v, %t", got, found)
	}
	if got, found := g.Lookup("one too many"); found {
		t.Errorf("an endpoint without a breaker of its own has %v", got)
	}
}

func TestALookupKeepsNoBreakerInAFullGroup(t *testing.T) {
	g := mustGroup(t, breaker.Config{}, breaker.WithMaxEndpoints(2))
	g.Get("a")
	g.Get("b")
	for range 10 {
		g.Lookup("a")
	}
	g.Get("c")
	if got := endpoints(g); got != "b c" {
		t.Errorf("the group holds %s", got)
	}
}

func TestAGroupCanBeginDisabled(t *testing.T) {
	var told recorder
	g := mustGroup(t, breaker.Config{FailureThreshold: 1}, breaker.WithMaxEndpoints(2),
		breaker.WithDisabled("trial"), breaker.WithListeners(&told))
	b := g.Get("a")
	for range 3 {
		if err := b.Do(t.Context(), fail); err != errDown {
			t.Errorf("a call of a disabled breaker gave %v", err)
		}
	}
	s := b.Snapshot()
	if s.Override != breaker.Disabled || s.OverrideNote != "trial" || s.State != breaker.Closed || s.Failure != 3 ||
		s.WouldOpen != 1 || s.WouldBlock != 2 {
		t.Errorf("it is %+v", s)
	}
	if err := g.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if events := told.all(); len(events) != 0 {
		t.Errorf("transitions that were none were told: %+v", events)
	}
	b.Reset()
	_ = b.Do(t.Context(), fail)
	wantState(t, b, breaker.Open)
	if s := g.Get("c").Snapshot(); s.Override != breaker.Disabled {
		t.Errorf("one that came later is %v", s.Override)
	}
	_ = g.Get("c").Do(t.Context(), fail)
	if s := g.Get("d").Snapshot(); s.Endpoint != "other" || s.Override != breaker.Disabled {
		t.Errorf("the overflow breaker is %q, %v", s.Endpoint, s.Override)
	}
}

func TestG12_AGroupThatBeganDisabledMakesRoomAsAnyOther(t *testing.T) {
	g := mustGroup(t, breaker.Config{FailureThreshold: 1}, breaker.WithMaxEndpoints(4), breaker.WithDisabled(""))
	g.Get("live").Reset() // would come back disabled
	g.Get("forced").ForceOpen("")
	_ = g.Get("would be open").Do(t.Context(), fail)
	for i := range 1000 {
		_ = g.Get(fmt.Sprintf("stranger-%d", i)).Do(t.Context(), succeed)
	}
	if got := endpoints(g); got != "live forced would be open stranger-999" {
		t.Errorf("the group holds %s", got)
	}
}
