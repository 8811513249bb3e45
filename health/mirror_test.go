package health_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/health"
)

// What is not known of a breaker of another make is left out: neither zeros nor our defaults stand in for it.
func TestHandler_ABreakerOfAnotherMake(t *testing.T) {
	for _, c := range []struct {
		known breaker.Config
		want  map[string]any
	}{
		{breaker.Config{}, map[string]any{}},
		{breaker.Config{FailureThreshold: 6, RecoveryTimeout: time.Minute, SuccessThreshold: 2, MaxProbes: 2},
			map[string]any{"failure_threshold": 6.0, "recovery_timeout": "1m0s", "success_threshold": 2.0, "max_probes": 2.0}},
	} {
		c.known.Service, c.known.Endpoint = "s", "e"
		m, err := breaker.NewMirror("another <b>", c.known)
		if err != nil {
			t.Fatal(err)
		}
		h := health.Handler(m)
		m.Count(t.Context(), breaker.Result{Outcome: breaker.Failure, ErrorType: "timeout"})
		m.Move(t.Context(), breaker.Move{To: breaker.Open, Reason: breaker.Reason{Rule: "own_word"}, ErrorType: "timeout"})
		m.Blocked(t.Context())
		flush(t, m.Breaker())
		e := get(t, h).CircuitBreakers["s"]["e"]
		if e.Engine != "another <b>" || e.State != "open" || e.FailureCount != 1 || e.BlockedCount != 1 || e.NextProbeTime != nil {
			t.Errorf("%+v", e)
		}
		if !maps.Equal(e.Configuration, c.want) {
			t.Errorf("the configuration is %v, want %v", e.Configuration, c.want)
		}
		if len(e.LastTransitions) != 1 || e.LastTransitions[0].Reason != "own_word" {
			t.Errorf("transitions: %+v", e.LastTransitions)
		}
		text := htmlOf(t, ask(h, "", "text/html").Body.String())
		if !strings.Contains(text, "open, says another <b>") {
			t.Errorf("the page does not name the engine:\n%s", text)
		}
	}
	if e := get(t, health.Handler(newBreaker(t, breaker.Config{}))).CircuitBreakers["default"]["default"]; e.Engine != "" {
		t.Errorf("a breaker of our own has engine %q", e.Engine)
	}
}
