package breaker_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// adjust makes a change from text, as an operator would give it.
func adjust(b *breaker.Breaker, text string) error {
	return b.Adjust(func(c *breaker.Config) error { return json.Unmarshal([]byte(text), c) })
}

func TestAdjust_DefaultsFollowWhatIsChanged(t *testing.T) {
	classified := 0
	given := breaker.Config{Service: "s", Endpoint: "e", FailureRate: 0.5, BackoffFactor: 2,
		Classify: func(error) breaker.Outcome { classified++; return breaker.Success }}
	g := given
	g.Service, g.Endpoint = "", ""
	for name, b := range map[string]*breaker.Breaker{
		"a breaker": mustNew(t, given), "a group's": mustGroup(t, g).Get("https://s.example"),
	} {
		if c := b.Snapshot().Config; c.WindowCalls != 100 || c.MinCalls != 10 || c.MaxRecoveryTimeout != time.Hour {
			t.Fatalf("%s starts with %+v", name, c)
		}
		for _, step := range []struct {
			change string
			check  func(breaker.Config) bool
		}{
			{`{"window_duration":"10s"}`, func(c breaker.Config) bool { return c.WindowCalls == 0 && c.MinCalls == 10 }},
			{`{"window_duration":"0s","window_calls":4}`, func(c breaker.Config) bool { return c.WindowDuration == 0 && c.MinCalls == 4 }},
			{`{"recovery_timeout":"1h"}`, func(c breaker.Config) bool { return c.MaxRecoveryTimeout == 10*time.Hour }},
			{`{"failure_rate":0,"window_calls":0}`, func(c breaker.Config) bool { return c.FailureThreshold == 5 && c.WindowCalls == 0 }},
			{`{}`, func(c breaker.Config) bool { return c.BackoffFactor == 2 && c.RecoveryTimeout == time.Hour }},
		} {
			if err := adjust(b, step.change); err != nil {
				t.Errorf("%s, %s: %v", name, step.change, err)
			}
			if c := b.Snapshot().Config; !step.check(c) {
				t.Errorf("%s, after %s: %+v", name, step.change, c)
			}
		}
		before := classified
		_ = b.Do(t.Context(), fail)
		if classified != before+1 {
			t.Errorf("%s has lost its Classify", name)
		}
	}
}

func TestAdjust_StartsFromWhatReconfigureWasGiven(t *testing.T) {
	b := mustNew(t, breaker.Config{Service: "s", FailureThreshold: 7})
	if err := b.Reconfigure(breaker.Config{SuccessThreshold: 3}); err != nil {
		t.Fatal(err)
	}
	if err := adjust(b, `{"max_probes":2}`); err != nil {
		t.Fatal(err)
	}
	if c := b.Snapshot().Config; c.FailureThreshold != 5 || c.SuccessThreshold != 3 || c.MaxProbes != 2 || c.Service != "s" {
		t.Errorf("it is %+v", c)
	}
}

func TestG18_AdjustRefusesByNameAndChangesNothing(t *testing.T) {
	g := mustGroup(t, breaker.Config{FailureRate: 0.5})
	b := g.Get("e")
	before := b.Snapshot().Config
	stop := errors.New("stop")
	if err := b.Adjust(func(c *breaker.Config) error { c.MaxProbes = 9; return stop }); err != stop {
		t.Errorf("change's own error became %v", err)
	}
	if err := b.Adjust(nil); err == nil {
		t.Error("no function was taken")
	}
	for change, field := range map[string]string{
		`{"failure_rate":2}`: "FailureRate", `{"window_calls":5,"window_duration":"1s"}`: "WindowDuration",
		`{"service":"x"}`: "Service", `{"endpoint":"x"}`: "Endpoint", `{"min_calls":101}`: "MinCalls",
	} {
		var wrong *breaker.ConfigError
		if err := adjust(b, change); !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%s: %v", change, err)
		}
	}
	if after := b.Snapshot().Config; after.MaxProbes != before.MaxProbes || after.FailureRate != before.FailureRate {
		t.Errorf("it is %+v", after)
	}
	if c := g.Get("another").Snapshot().Config; c.MaxProbes != 1 {
		t.Errorf("another of the group is %+v", c)
	}
}

// TestAdjust_NoneIsLost has many change one field each by one.
func TestAdjust_NoneIsLost(t *testing.T) {
	b := mustNew(t, breaker.Config{FailureThreshold: 1})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if err := b.Adjust(func(c *breaker.Config) error { c.FailureThreshold++; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if c := b.Snapshot().Config; c.FailureThreshold != 801 {
		t.Errorf("threshold %d, want 801", c.FailureThreshold)
	}
}

func TestAdjust_ChangeMayCallTheBreaker(t *testing.T) {
	b := mustNew(t, breaker.Config{FailureThreshold: 2})
	err := b.Adjust(func(c *breaker.Config) error {
		c.FailureThreshold = b.Snapshot().Config.FailureThreshold + 1
		return b.Do(t.Context(), func(context.Context) error { return nil })
	})
	if c := b.Snapshot().Config; err != nil || c.FailureThreshold != 3 {
		t.Errorf("%v, %+v", err, c)
	}
}
