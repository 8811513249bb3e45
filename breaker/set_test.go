package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func named(t *testing.T, service, endpoint string) *breaker.Breaker {
	t.Helper()
	return mustNew(t, breaker.Config{Service: service, Endpoint: endpoint, FailureThreshold: 1})
}

func TestASetIsManySourcesAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group := mustGroup(t, breaker.Config{Service: "users", FailureThreshold: 1})
		own, other := named(t, "payments", "https://payments.example"), mustMirror(t, breaker.Config{Service: "search"})
		var set breaker.Set
		var told []string
		cancel := set.Subscribe(breaker.ListenerFunc(func(e breaker.Event) { told = append(told, e.Service+" "+e.Endpoint+" "+e.To.String()) }))
		if err := set.Add(own, group); err != nil {
			t.Fatal(err)
		}
		if err := set.Add(other); err != nil {
			t.Fatal(err)
		}
		later := group.Get("https://users.example")
		if got := slices.Collect(set.All()); !slices.Equal(got, []*breaker.Breaker{own, later, other.Breaker()}) {
			t.Errorf("it has %v", got)
		}
		for range set.All() {
			break // who looks may stop
		}
		fails := func(b *breaker.Breaker) {
			_ = b.Do(t.Context(), func(context.Context) error { return errors.New("down") })
			if err := set.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		fails(own)
		fails(later)
		other.Move(t.Context(), breaker.Move{To: breaker.Open})
		synctest.Wait()
		if !set.Remove(other) || set.Remove(other) || set.Remove(nil) {
			t.Error("it was not removed once")
		}
		other.Move(t.Context(), breaker.Move{To: breaker.Closed})
		cancel()
		fails(named(t, "payments", "elsewhere"))
		own.Reset()
		synctest.Wait()
		want := []string{"payments https://payments.example open", "users https://users.example open", "search default open"}
		if !slices.Equal(told, want) {
			t.Errorf("listeners heard %q, want %q", told, want)
		}
		if err := set.Add(other); err != nil {
			t.Errorf("added once more: %v", err)
		}
		cancelled, stop := context.WithCancel(t.Context())
		stop()
		if err := set.Flush(cancelled); err != nil {
			t.Errorf("nothing is under way, and yet: %v", err)
		}
	})
}

// incomparable is a source that cannot be found again.
type incomparable []*breaker.Breaker

func (s incomparable) All() iter.Seq[*breaker.Breaker]          { return slices.Values(s) }
func (incomparable) Subscribe(breaker.Listener) (cancel func()) { return func() {} }

func TestG13_ASetRefusesWhatCouldNotBeToldApart(t *testing.T) {
	own := named(t, "payments", "https://payments.example")
	set := &breaker.Set{MaxSources: 4}
	if err := set.Add(own); err != nil {
		t.Fatal(err)
	}
	group := mustGroup(t, breaker.Config{Service: "payments"})
	group.Get("https://payments.example")
	for part, err := range map[string]error{
		`service "payments", endpoint "https://payments.example"`: set.Add(named(t, "payments", "https://payments.example")),
		"give each a name of its own":                             set.Add(group),
		"source 1 (*breaker.Mirror)":                              set.Add(named(t, "a", ""), mustMirror(t, breaker.Config{Service: "a"})),
		"it is there already":                                     set.Add(own),
		"is there already":                                        set.Add(&wrapped{own}),
		"a set itself":                                            set.Add(new(breaker.Set)),
		"nil":                                                     set.Add(nil, (*breaker.Group)(nil)),
		"cannot be compared":                                      set.Add(incomparable{}),
		"allowed are 4":                                           set.Add(make([]breaker.Source, 4)...),
		"MaxSources":                                              (&breaker.Set{MaxSources: -1}).Add(own),
	} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not tell of %s", err, part)
		}
	}
	if set.Remove(incomparable{}) {
		t.Error("what cannot be there was removed")
	}
	if n := len(slices.Collect(set.All())); n != 1 {
		t.Errorf("%d are there, of what was refused, too", n)
	}
}

// wrapped is another source of the same breaker.
type wrapped struct{ *breaker.Breaker }

func TestG19_ASetIsConcurrentSafe(t *testing.T) {
	set, all := new(breaker.Set), new(sync.WaitGroup)
	for i := range 4 {
		mine := named(t, fmt.Sprint("service ", i), "")
		all.Go(func() {
			for range 100 {
				if err := set.Add(mine); err != nil {
					t.Error(err)
				}
				for range set.All() {
				}
				cancel := set.Subscribe(breaker.ListenerFunc(func(breaker.Event) {}))
				mine.ForceOpen("")
				cancel()
				if !set.Remove(mine) {
					t.Error("it was not there")
				}
			}
		})
	}
	all.Wait()
	if n := len(slices.Collect(set.All())); n != 0 {
		t.Errorf("%d are left", n)
	}
}
