package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

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
	if none, again := g.Get(""), g.Get(""); none != again || none.Snapshot().Endpoint != "default" {
		t.Error("the empty endpoint has no breaker of its own")
	}
	if got := g.Get("\xff").Snapshot().Endpoint; got != "\uFFFD" {
		t.Errorf("a name that is not valid UTF-8 became %q", got)
	}
}

func TestG15_GroupKeepsSecretsOutOfNames(t *testing.T) {
	g := mustGroup(t, breaker.Config{})
	b := g.Get("https://user:hunter2@a.example:8443/path?token=hunter2#hunter2")
	for name, want := range map[string]string{
		"https://user:hunter2/ss@a.example":  "https://a.example",
		"https://user:hunter2?x@a.example":   "invalid",
		"//user:hunter2@a.example":           "//a.example",
		"https:user:hunter2@a.example":       "a.example",
		"@channel":                           "@channel",
		"<b>who? #1 a:b@c</b>":               "<b>who? #1 a:b@c</b>",
		"user:hunter2@tcp(db:3306)/x":        "tcp(db:3306)/x",
		"a.example/v1?api_key=hunter2":       "a.example/v1",
		"GET /orders/{id}":                   "GET /orders/{id}",
		"https://a.example?user=x@y.example": "https://a.example",
		"https://?token=hunter2":             "https://",
		"a.example/v1?key=hunter2//x":        "a.example/v1",
		"?token=hunter2":                     "default",
	} {
		if got := g.Get(name).Snapshot().Endpoint; got != want {
			t.Errorf("a name with a secret became %q, want %q", got, want)
		}
	}
	if got := b.Snapshot().Endpoint; got != "https://a.example:8443/path" {
		t.Errorf("named %q", got)
	}
	if b != g.Get("https://a.example:8443/path") {
		t.Error("the same endpoint with credentials has another breaker")
	}
	if _, err := breaker.NewGroup(breaker.Config{Endpoint: "https://user:hunter2@a.example"}); err == nil ||
		strings.Count(err.Error(), "Config.Endpoint") != 1 || strings.Contains(err.Error(), "hunter2") {
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
	for i := range 6 {
		_ = g.Get(fmt.Sprintf("early-%d", i)).Do(t.Context(), succeed)
	}
	kept, asked := g.Get("kept"), g.Get("asked")
	for i := range 1000 {
		_ = kept.Do(t.Context(), succeed)
		_ = g.Get("asked").Do(t.Context(), succeed)
		_ = g.Get(fmt.Sprintf("stranger-%d", i)).Do(t.Context(), succeed)
	}
	if g.Get("kept") != kept || g.Get("asked") != asked {
		t.Error("a breaker that was called all the time was evicted")
	}
}

func TestG12_TheOneAskedForTheLongestTimeAgoMakesRoom(t *testing.T) {
	g := mustGroup(t, breaker.Config{}, breaker.WithMaxEndpoints(3))
	for _, step := range []struct{ asked, want string }{
		{"a", "a"}, {"b", "a b"}, {"c", "a b c"},
		{"d", "b c d"},
		{"b", "b c d"}, {"e", "b d e"},
		{"b", "b d e"}, {"d", "b d e"}, {"e", "b d e"}, {"f", "d e f"}, // all since the newest came: in the order of their coming
	} {
		g.Get(step.asked)
		if got := endpoints(g); got != step.want {
			t.Fatalf("after %q the group holds %q, want %q", step.asked, got, step.want)
		}
	}
}

func TestG12_AnEndpointThatWasDroppedGetsANewBreaker(t *testing.T) {
	g := mustGroup(t, breaker.Config{}, breaker.WithMaxEndpoints(1))
	first := g.Get("a")
	g.Get("b")
	p, err := g.Acquire(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	p.Done(t.Context(), breaker.Success)
	if again := g.Get("a"); again == first || again.Snapshot().Success != 1 || endpoints(g) != "a" {
		t.Errorf("the old breaker %v, %d calls in the new one, and the group holds %q", again == first,
			again.Snapshot().Success, endpoints(g))
	}
}

func TestG12_AFloodOfStrangersKeepsNoFailingDependencyFromTripping(t *testing.T) {
	g := mustGroup(t, breaker.Config{}, breaker.WithMaxEndpoints(2))
	for i := range 10 {
		for _, name := range []string{"payments", "cart"} {
			_ = g.Get(name).Do(t.Context(), fail)
		}
		_ = g.Get(fmt.Sprintf("stranger-%d", i)).Do(t.Context(), succeed)
	}
	wantState(t, g.Get("payments"), breaker.Open)
	wantState(t, g.Get("cart"), breaker.Open)
}

func TestG12_HostsThatFailedOnceMakeRoomInTheEnd(t *testing.T) {
	g := mustGroup(t, breaker.Config{}, breaker.WithMaxEndpoints(4))
	for i := range 4 {
		_ = g.Get(fmt.Sprintf("dead-%d", i)).Do(t.Context(), fail)
	}
	if got := g.Get("early").Snapshot().Endpoint; got != breaker.OverflowEndpoint {
		t.Fatalf("%s: failures were forgotten early", endpoints(g))
	}
	if got := g.Get("payments").Snapshot().Endpoint; got != "payments" {
		t.Errorf("payments got the breaker of %q: hosts that failed once keep their places for ever", got)
	}
}

func TestG12_ACallInFlightKeepsItsBreaker(t *testing.T) {
	g := mustGroup(t, breaker.Config{FailureThreshold: 1}, breaker.WithMaxEndpoints(1))
	p, err := g.Acquire(t.Context(), "payments")
	if err != nil {
		t.Fatal(err)
	}
	moved := p.Move()
	if got := g.Get("stranger").Snapshot().Endpoint; got != breaker.OverflowEndpoint {
		t.Errorf("the stranger got the breaker of %q", got)
	}
	moved.Done(t.Context(), breaker.Success)
	if got := g.Get("stranger").Snapshot().Endpoint; got != "stranger" {
		t.Errorf("with no call in flight, the stranger got the breaker of %q", got)
	}
	_ = g.Get("stranger").Do(t.Context(), fail)
	if _, err := g.Acquire(t.Context(), "stranger"); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("open, it let a call through: %v", err)
	}
	g.Get("stranger").Reset()
	if got := g.Get("another").Snapshot().Endpoint; got != "another" {
		t.Error("a blocked call keeps its breaker in the group")
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

func TestACancelledListenerOfAGroupHearsNoDroppedBreakerEither(t *testing.T) {
	r := new(recorder)
	g := mustGroup(t, breaker.Config{FailureThreshold: 1}, breaker.WithMaxEndpoints(1))
	dropped := g.Get("a")
	cancel := g.Subscribe(r)
	g.Get("b")
	cancel()
	_ = dropped.Do(t.Context(), fail)
	wantStory(t, dropped, r)
}

func TestNobodyHoldsOnToACancelledListener(t *testing.T) {
	b := mustNew(t, breaker.Config{})
	g := mustGroup(t, breaker.Config{})
	member := g.Get("a")
	ofCalls, ofFailures, ofGroup := new(callRecorder), new(failureRecorder), new(recorder)
	calls, failures, group := weak.Make(ofCalls), weak.Make(ofFailures), weak.Make(ofGroup)
	b.Subscribe(ofCalls)()
	b.Subscribe(ofFailures)()
	g.Subscribe(ofGroup)()
	runtime.GC()
	for what, there := range map[string]bool{
		"a breaker's CallListener":    calls.Value() != nil,
		"a breaker's FailureListener": failures.Value() != nil,
		"a group's Listener":          group.Value() != nil,
	} {
		if there {
			t.Errorf("%s is still held after its cancel", what)
		}
	}
	runtime.KeepAlive(b)
	runtime.KeepAlive(g)
	runtime.KeepAlive(member)
}

func TestABlockedCallKeepsNoPlaceInTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := mustGroup(t, breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Second}, breaker.WithMaxEndpoints(1))
		b := g.Get("payments")
		_ = b.Do(t.Context(), fail)
		for _, later := range []time.Duration{0, time.Second - 1} { // so near the end of the delay that a call looks at the clock
			time.Sleep(later)
			synctest.Wait()
			if _, err := g.Acquire(t.Context(), "payments"); !errors.Is(err, breaker.ErrOpen) {
				t.Errorf("open, it let a call through: %v", err)
			}
			var none context.Context
			if _, err := g.Acquire(none, "payments"); err == nil || !strings.Contains(err.Error(), "the context is nil") {
				t.Errorf("without a context: %v", err)
			}
		}
		b.Reset()
		if got := g.Get("another").Snapshot().Endpoint; got != "another" {
			t.Errorf("another endpoint got the breaker of %q", got)
		}
	})
}

func TestGroupFlushesEveryBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := new(recorder)
		g := mustGroup(t, breaker.Config{}, breaker.WithMaxEndpoints(2),
			breaker.WithListeners(breaker.ListenerFunc(func(breaker.Event) { <-release }), r))
		for _, name := range []string{"quiet", "loud"} {
			g.Get(name)
		}
		g.Get("loud").ForceOpen("")
		timeout, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Flush(timeout); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while a listener blocks: %v", err)
		}
		close(release)
		if err := g.Flush(t.Context()); err != nil || len(r.all()) != 1 {
			t.Errorf("flushed: %v, and %d events were delivered", err, len(r.all()))
		}
	})
}

func TestABreakerYieldsItself(t *testing.T) {
	b := mustNew(t, breaker.Config{})
	if got := slices.Collect(b.All()); len(got) != 1 || got[0] != b {
		t.Errorf("got %v", got)
	}
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
	_, err := breaker.NewGroup(breaker.Config{}, nil, breaker.WithMaxEndpoints(-1))
	if err == nil || !strings.Contains(err.Error(), "option 0 is nil") || !strings.Contains(err.Error(), "is -1") {
		t.Errorf("of two faults this is reported: %v", err)
	}
	var bad *breaker.ConfigError
	if _, err := breaker.NewGroup(breaker.Config{Jitter: -1}); !errors.As(err, &bad) || bad.Field != "Jitter" {
		t.Errorf("a bad Config: %v", err)
	}
}
