package breaker_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// configFaults names the fields that the documentation of Config does not allow as they are.
func configFaults(c breaker.Config) map[string]bool {
	faults := map[string]bool{}
	wrong := func(field string, is bool) {
		if is {
			faults[field] = true
		}
	}
	share := func(x float64) bool { return x >= 0 && x <= 1 }
	rated := c.FailureRate > 0 || c.SlowCallRate > 0
	wrong("FailureThreshold", c.FailureThreshold < 0)
	wrong("FailureRate", !share(c.FailureRate))
	wrong("SlowCallRate", !share(c.SlowCallRate))
	wrong("SlowCallDuration", c.SlowCallDuration < 0 || c.SlowCallRate > 0 && c.SlowCallDuration == 0)
	wrong("WindowCalls", c.WindowCalls < 0 || c.WindowCalls > 1_000_000 || c.WindowCalls > 0 && !rated)
	wrong("WindowDuration", c.WindowDuration < 0 || c.WindowDuration > 0 && c.WindowDuration < time.Millisecond ||
		c.WindowDuration > 0 && (!rated || c.WindowCalls > 0))
	calls := c.WindowCalls
	if calls == 0 {
		calls = 100
	}
	wrong("MinCalls", c.MinCalls < 0 || c.MinCalls > 0 && !rated || rated && c.WindowDuration == 0 && c.MinCalls > calls)
	wrong("RecoveryTimeout", c.RecoveryTimeout < 0)
	wrong("BackoffFactor", c.BackoffFactor != 0 && !(c.BackoffFactor >= 1 && c.BackoffFactor <= math.MaxFloat64))
	recovery := c.RecoveryTimeout
	if recovery == 0 {
		recovery = 30 * time.Second
	}
	wrong("MaxRecoveryTimeout", c.MaxRecoveryTimeout < 0 || c.MaxRecoveryTimeout > 0 && c.MaxRecoveryTimeout < recovery)
	wrong("Jitter", !share(c.Jitter))
	wrong("SuccessThreshold", c.SuccessThreshold < 0)
	wrong("MaxProbes", c.MaxProbes < 0 || c.MaxProbes > 10_000)
	wrong("ProbeTimeout", c.ProbeTimeout < 0)
	return faults
}

// FuzzConfig puts arbitrary values into a Config: New says which fields are wrong, exactly, or gives a breaker that
// opens, recovers and can be operated as they say.
func FuzzConfig(f *testing.F) {
	f.Fuzz(func(t *testing.T, service, endpoint string, failureThreshold int, failureRate, slowCallRate float64,
		slowCallDuration int64, windowCalls int, windowDuration int64, minCalls int, recoveryTimeout int64,
		backoffFactor float64, maxRecoveryTimeout int64, jitter float64, successThreshold, maxProbes int, probeTimeout int64) {
		c := breaker.Config{Service: service, Endpoint: endpoint, FailureThreshold: failureThreshold,
			FailureRate: failureRate, SlowCallRate: slowCallRate, SlowCallDuration: time.Duration(slowCallDuration),
			WindowCalls: windowCalls, WindowDuration: time.Duration(windowDuration), MinCalls: minCalls,
			RecoveryTimeout: time.Duration(recoveryTimeout), BackoffFactor: backoffFactor,
			MaxRecoveryTimeout: time.Duration(maxRecoveryTimeout), Jitter: jitter, SuccessThreshold: successThreshold,
			MaxProbes: maxProbes, ProbeTimeout: time.Duration(probeTimeout)}
		synctest.Test(t, func(t *testing.T) {
			b, err := breaker.New(c)
			if checkFaults(t, c, err); err == nil {
				checkWorks(t, b, c)
			}
		})
	})
}

// checkFaults holds what New says of a configuration against the documentation.
func checkFaults(t *testing.T, c breaker.Config, err error) {
	t.Helper()
	want := configFaults(c)
	got := map[string]bool{}
	for _, fault := range faultsIn(err) {
		if _, exists := reflect.TypeFor[breaker.Config]().FieldByName(fault.Field); !exists || fault.Allowed == "" ||
			!strings.Contains(err.Error(), "Config."+fault.Field) {
			t.Errorf("%+v is no clear error: %v", fault, err)
		}
		got[fault.Field] = true
	}
	for _, name := range []struct{ field, value string }{{"Service", c.Service}, {"Endpoint", c.Endpoint}} {
		if clean := !strings.ContainsAny(name.value, ":/?#@") && utf8.ValidString(name.value); clean && got[name.field] {
			t.Errorf("%s %q was refused: %v", name.field, name.value, err)
		}
		if !utf8.ValidString(name.value) && !got[name.field] {
			t.Errorf("%s %q was not refused", name.field, name.value)
		}
		delete(got, name.field) // what may be a secret is for the tests of G15
	}
	if !maps.Equal(got, want) {
		t.Errorf("New(%+v) names %v, want %v", c, got, want)
	}
}

// faultsIn takes a joined error apart.
func faultsIn(err error) []*breaker.ConfigError {
	var all []*breaker.ConfigError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			all = append(all, faultsIn(one)...)
		}
	} else if fault := (*breaker.ConfigError)(nil); errors.As(err, &fault) {
		all = append(all, fault)
	}
	return all
}

const (
	// What checkWorks tries at most: more would take long, or end the virtual clock.
	mostCalls = 2000
	mostSleep = 50 * 365 * 24 * time.Hour

	rounding = 1e-12 // what a delay of years may lose on its way through a float
)

// checkWorks takes a breaker through an outage: opening, a probe that hangs, closing; and through an operator's acts.
func checkWorks(t *testing.T, b *breaker.Breaker, given breaker.Config) {
	t.Helper()
	c := b.Snapshot().Config
	want := modelDefaults(given)
	want.Service, want.Endpoint = c.Service, c.Endpoint
	if wide, is := float64(want.MaxRecoveryTimeout), float64(c.MaxRecoveryTimeout); math.Abs(is-wide) <= rounding*wide {
		want.MaxRecoveryTimeout = c.MaxRecoveryTimeout
	}
	if !reflect.DeepEqual(c, want) || c.Service == "" || c.Endpoint == "" {
		t.Fatalf("the configuration in force is %+v, want %+v", c, want)
	}
	if err := b.Reconfigure(c); err != nil || !reflect.DeepEqual(b.Snapshot().Config, c) {
		t.Fatalf("Reconfigure with what is in force: %v, then %+v", err, b.Snapshot().Config)
	}
	b.ForceOpen("by hand")
	wantState(t, b, breaker.Open)
	if _, err := b.Acquire(t.Context()); !errors.Is(err, breaker.ErrOpen) {
		t.Fatalf("forced open, Acquire says %v", err)
	}
	b.Disable("by hand")
	wantState(t, b, breaker.Closed)
	b.Reset()
	if !opens(t, b, c) {
		return
	}
	if !reopens(t, b, c, 0) {
		return
	}
	probes := make([]breaker.Permit, c.MaxProbes)
	for i := range probes {
		var err error
		if probes[i], err = b.Acquire(t.Context()); err != nil {
			t.Fatalf("probe %d of %d: %v", i+1, c.MaxProbes, err)
		}
	}
	if _, err := b.Acquire(t.Context()); !errors.Is(err, breaker.ErrOpen) {
		t.Fatalf("a probe more than %d: %v", c.MaxProbes, err)
	}
	if c.ProbeTimeout > mostSleep {
		return
	}
	time.Sleep(c.ProbeTimeout)
	wantState(t, b, breaker.Open)
	if !reopens(t, b, c, 1) || c.SuccessThreshold > mostCalls {
		return
	}
	for range c.SuccessThreshold {
		if err := b.Do(t.Context(), succeed); err != nil {
			t.Fatal(err)
		}
	}
	wantState(t, b, breaker.Closed)
}

// opens makes calls fail until a rule must be met, and tells whether that could be done.
func opens(t *testing.T, b *breaker.Breaker, c breaker.Config) bool {
	t.Helper()
	needed := c.FailureThreshold
	if c.FailureRate > 0 && (needed == 0 || c.MinCalls < needed) {
		needed = c.MinCalls
	}
	if needed == 0 || needed > mostCalls {
		return false
	}
	for range needed {
		wantState(t, b, breaker.Closed)
		if err := b.Do(t.Context(), fail); !errors.Is(err, errDown) {
			t.Fatal(err)
		}
	}
	wantState(t, b, breaker.Open)
	return true
}

// reopens checks the open delay, which so many reopenings have lengthened, and waits for its end, if it comes.
func reopens(t *testing.T, b *breaker.Breaker, c breaker.Config, reopenings int) bool {
	t.Helper()
	most := min(float64(c.RecoveryTimeout)*math.Pow(c.BackoffFactor, float64(reopenings)), float64(c.MaxRecoveryTimeout))
	least := max(1, (1-c.Jitter)*most)
	after := b.Snapshot().RetryAfter
	if got := float64(after); got > most*(1+rounding)+1 || got < least*(1-rounding)-1 || after < 1 {
		t.Fatalf("the delay is %v, want %v to %v", after, time.Duration(least), time.Duration(most))
	}
	if after > mostSleep {
		return false
	}
	time.Sleep(after - time.Nanosecond)
	wantState(t, b, breaker.Open)
	time.Sleep(time.Nanosecond)
	wantState(t, b, breaker.HalfOpen)
	return true
}

// TestG06_DelaysKeepToTheirBounds lets outages with random delays grow long: every delay lies within its jitter, and
// jitter is used.
func TestG06_DelaysKeepToTheirBounds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		c := modelDefaults(breaker.Config{FailureThreshold: 1, RecoveryTimeout: time.Duration(1 + random.IntN(1e10)),
			BackoffFactor: 1 + 2*random.Float64(), Jitter: random.Float64()})
		synctest.Test(t, func(t *testing.T) {
			b := mustNew(t, c)
			low, high := 0, 0
			for n := range 40 {
				if err := b.Do(context.Background(), fail); !errors.Is(err, errDown) {
					t.Fatal(err)
				}
				middle := min(float64(c.RecoveryTimeout)*math.Pow(c.BackoffFactor, float64(n)), float64(c.MaxRecoveryTimeout)) * (1 - c.Jitter/2)
				if float64(b.Snapshot().RetryAfter) < middle {
					low++
				} else {
					high++
				}
				if !reopens(t, b, c, n) {
					t.Fatalf("a delay of %v", b.Snapshot().RetryAfter)
				}
			}
			if low < 5 || high < 5 {
				t.Errorf("of 40 delays %d lie in the lower half of the jitter and %d in the upper: %+v", low, high, c)
			}
		})
	}
}
