package breaker_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func mustGroup(tb testing.TB, c breaker.Config, options ...breaker.GroupOption) *breaker.Group {
	tb.Helper()
	g, err := breaker.NewGroup(c, options...)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func endpoints(g *breaker.Group) string {
	var all []string
	for b := range g.All() {
		all = append(all, b.Snapshot().Endpoint)
	}
	return strings.Join(all, " ")
}

func TestGroupGivesEachEndpointItsOwnBreaker(t *testing.T) {
	g := mustGroup(t, breaker.Config{FailureThreshold: 1})
	a := g.Get("https://a.example")
	if g.Get("https://a.example") != a || g.Get("https://b.example") == a {
		t.Error("breakers are not one an endpoint")
	}
	_ = a.Do(t.Context(), fail)
	wantState(t, a, breaker.Open)
	wantState(t, g.Get("https://b.example"), breaker.Closed)
	if s := a.Snapshot(); s.Service != "a.example" || s.Endpoint != "https://a.example" {
		t.Errorf("named %q %q", s.Service, s.Endpoint)
	}
	if s := mustGroup(t, breaker.Config{Service: "pay"}).Get("https://a.example").Snapshot(); s.Service != "pay" {
		t.Errorf("service is %q", s.Service)
	}
	if g.Get("") != g.Get("") || g.Get("").Snapshot().Endpoint != "default" {
		t.Error("the empty endpoint has no breaker of its own")
	}
	if got := g.Get("\xff").Snapshot().Endpoint; got != "\uFFFD" {
		t.Errorf("a name that is not valid UTF-8 became %q", got)
	}
}

func TestG15_GroupKeepsSecretsOutOfNames(t *testing.T) {
	g := mustGroup(t, breaker.Config{})
	b := g.Get("https://user:hunter2@a.example:8443/path?token=hunter2#hunter2")
	if got := b.Snapshot().Endpoint; got != "https://a.example:8443/path" {
		t.Errorf("named %q", got)
	}
	if b != g.Get("https://a.example:8443/path") {
		t.Error("the same endpoint with credentials has another breaker")
	}
	if _, err := breaker.NewGroup(breaker.Config{Endpoint: "https://user:hunter2@a.example"}); err == nil ||
		!strings.Contains(err.Error(), "Config.Endpoint") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a group with an endpoint: %v", err)
	}
}

func TestG12_AGroupIsBoundedAndEvictsOnlyIdleClosedBreakers(t *testing.T) {
	g := mustGroup(t, breaker.Config{FailureThreshold: 1}, breaker.WithMaxEndpoints(4))
	_ = g.Get("open").Do(t.Context(), fail)
	g.Get("forced").ForceOpen("")
	g.Get("disabled").Disable("")
	for i := range 10_000 {
		stranger := g.Get(fmt.Sprintf("stranger-%d", i))
		_ = stranger.Do(t.Context(), succeed)
		if s := stranger.Snapshot(); s.Endpoint == breaker.OverflowEndpoint || s.Success != 1 {
			t.Fatalf("stranger %d got the breaker of %q", i, s.Endpoint)
		}
	}
	if got := endpoints(g); got != "open forced disabled stranger-9999" {
		t.Errorf("the group holds %s", got)
	}
	_ = g.Get("stranger-9999").Do(t.Context(), fail)
	over := g.Get("one too many")
	if over.Snapshot().Endpoint != "other" || g.Get("and another") != over || g.Get("other") != over {
		t.Error("a full group has no overflow breaker that is shared")
	}
	if got := endpoints(g); got != "open forced disabled stranger-9999 other" {
		t.Errorf("the group holds %s", got)
	}
}

func TestG12_ABreakerInUseOutlivesAFloodOfStrangers(t *testing.T) {
	g := mustGroup(t, breaker.Config{}, breaker.WithMaxEndpoints(8))
	used := g.Get("used")
	for i := range 1000 {
		_ = used.Do(t.Context(), succeed)
		g.Get(fmt.Sprintf("stranger-%d", i))
	}
	if g.Get("used") != used {
		t.Error("the breaker that was called all the time was evicted")
	}
}

func TestGroupHandsEveryBreakerToItsListeners(t *testing.T) {
	first, later := new(recorder), new(recorder)
	g := mustGroup(t, breaker.Config{FailureThreshold: 1}, breaker.WithListeners(first))
	a := g.Get("a")
	cancel := g.Subscribe(later)
	b := g.Get("b")
	for _, cb := range []*breaker.Breaker{a, b} {
		_ = cb.Do(t.Context(), fail)
		_ = cb.Flush(t.Context())
	}
	if len(first.all()) != 2 || len(later.all()) != 2 {
		t.Errorf("listeners were told %v and %v", first.story(), later.story())
	}
	cancel()
	a.Reset()
	_ = g.Get("c").Do(t.Context(), fail)
	_ = a.Flush(t.Context())
	_ = g.Get("c").Flush(t.Context())
	if len(first.all()) != 4 || len(later.all()) != 2 {
		t.Errorf("after cancel they were told %v and %v", first.story(), later.story())
	}
	g.Subscribe(nil)()
}

func TestGroupIteratesWhileItChangesConcurrentSafe(t *testing.T) {
	g := mustGroup(t, breaker.Config{}, breaker.WithMaxEndpoints(50))
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 500 {
				_ = g.Get(fmt.Sprint(w, i%100)).Do(t.Context(), succeed)
			}
		})
		all.Go(func() {
			for range 100 {
				n := 0
				for b := range g.All() {
					if b.Snapshot().Endpoint == "" {
						t.Error("a breaker without a name")
					}
					n++
				}
				if n > 51 {
					t.Errorf("%d breakers in a group of 50 and an overflow", n)
				}
				for range g.All() {
					break
				}
			}
		})
		all.Go(func() {
			for range 100 {
				g.Subscribe(new(recorder))()
			}
		})
	}
	all.Wait()
}

func TestG18_BadGroupOptionsAreRefused(t *testing.T) {
	for want, option := range map[string]breaker.GroupOption{
		"WithMaxEndpoints is 0: allowed is 1 or more": breaker.WithMaxEndpoints(0),
		"listener 1 is nil":                           breaker.WithListeners(new(recorder), nil),
		"group option 0 is nil":                       nil,
	} {
		if _, err := breaker.NewGroup(breaker.Config{}, option); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	var bad *breaker.ConfigError
	if _, err := breaker.NewGroup(breaker.Config{Jitter: -1}); !errors.As(err, &bad) || bad.Field != "Jitter" {
		t.Errorf("a bad Config: %v", err)
	}
}
