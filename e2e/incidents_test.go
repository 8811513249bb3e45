package e2e

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/otelbreaker/otelbreaker/e2e/internal/incident"
	"github.com/otelbreaker/otelbreaker/e2e/internal/matrix"
)

var writeSignal = flag.Bool("signal", false, "write what the incidents came to into docs/signal.md")

// Alerts, without what all their names begin with.
const (
	alertPrefix    = "CircuitBreaker"
	open           = "CircuitBreakerOpen"
	fleetOpen      = "CircuitBreakerFleetOpen"
	disagree       = "CircuitBreakerReplicasDisagree"
	flapping       = "CircuitBreakerFlapping"
	failureRate    = "CircuitBreakerHighFailureRate"
	blocked        = "CircuitBreakerTrafficBlocked"
	stuckOpen      = "CircuitBreakerStuckOpen"
	stuckHalfOpen  = "CircuitBreakerStuckHalfOpen"
	notRecovering  = "CircuitBreakerNotRecovering"
	slowRecovery   = "CircuitBreakerSlowRecovery"
	telemetryGone  = "CircuitBreakerTelemetryGone"
	overrideLeftOn = "CircuitBreakerOverrideLeftOn"
)

// expected is what has to come of each incident, and nothing else may. It is written by hand, and is the specification:
// Paged, somebody is told; Fired, somebody has been told already by another alert, which holds this one back; Held is the
// same where the outage ends at about the time at which the alert would fire.
var expected = matrix.Matrix{
	incident.CleanOutage:       {open: matrix.Paged, failureRate: matrix.Fired, blocked: matrix.Held},
	incident.Flapping:          {flapping: matrix.Paged},
	incident.SlowFailureRate:   {failureRate: matrix.Paged},
	incident.StuckOpen:         {open: matrix.Paged, failureRate: matrix.Fired, blocked: matrix.Fired, stuckOpen: matrix.Paged},
	incident.NotRecovering:     {open: matrix.Paged, failureRate: matrix.Fired, blocked: matrix.Fired, notRecovering: matrix.Paged},
	incident.SlowRecovery:      {open: matrix.Paged, failureRate: matrix.Fired, blocked: matrix.Fired, slowRecovery: matrix.Paged},
	incident.FleetOutage:       {fleetOpen: matrix.Paged, open: matrix.Fired, failureRate: matrix.Held, blocked: matrix.Held},
	incident.BrokenReplica:     {open: matrix.Paged, disagree: matrix.Paged, notRecovering: matrix.Fired},
	incident.ForgottenDisabled: {overrideLeftOn: matrix.Paged},
	incident.ForgottenOpen:     {open: matrix.Paged, blocked: matrix.Fired, stuckOpen: matrix.Paged, overrideLeftOn: matrix.Fired},
	incident.TelemetryGone:     {telemetryGone: matrix.Paged},
	incident.Restart:           {},
	incident.QuietRestart:      {},
	incident.Drill:             {},
	incident.QuietHalfOpen:     {},
	incident.WedgedHalfOpen:    {blocked: matrix.Paged, stuckHalfOpen: matrix.Paged},
	incident.HealthyDay:        {},
}

// order is how incidents are shown, and by which none is forgotten.
var order = []string{
	incident.CleanOutage, incident.Flapping, incident.SlowFailureRate, incident.StuckOpen, incident.NotRecovering,
	incident.SlowRecovery, incident.FleetOutage, incident.BrokenReplica, incident.ForgottenDisabled, incident.ForgottenOpen,
	incident.TelemetryGone, incident.Restart, incident.QuietRestart, incident.Drill, incident.QuietHalfOpen, incident.WedgedHalfOpen,
	incident.HealthyDay,
}

// story is how long it takes, in minutes of its own: an override is left on for an hour, and what is silent has to be
// silent for as long.
const story = 75

// TestIncidents plays all incidents at once, by both routes, against the real stack with the rules and the
// configurations of deploy/ in shortened time, and checks what became of them: which alerts fired and which told
// somebody, what the notifications say, and that every transition is found in Loki and every outage in Jaeger.
func TestIncidents(t *testing.T) {
	th := openTheatre(t)
	t.Logf("time scale 1/%.0f: %v", 1/by, th.scale)
	accounts := th.play(t)

	alerts := th.alerts(t)
	t.Run("alerts", func(t *testing.T) {
		for _, route := range routes {
			got := th.got(t, route)
			t.Logf("%s:\n%s", route, matrix.Table(got, order, alerts, alertPrefix))
			differences := matrix.Diff(expected, got, order, alerts)
			for _, difference := range differences {
				t.Errorf("%s: %s", route, difference)
			}
			for _, name := range order {
				if slices.ContainsFunc(differences, func(d string) bool { return strings.HasPrefix(d, name+":") }) {
					th.tell(t, route, name, accounts[route].Onsets[name])
				}
			}
		}
	})
	t.Run("notifications", func(t *testing.T) { th.checkPosts(t, accounts) })
	t.Run("transitions", func(t *testing.T) { th.checkFound(t, accounts) })
	t.Run("document", func(t *testing.T) { th.document(t, alerts, accounts) })
}

// play has all incidents played, to the end of the story, and returns what happened by route.
func (th *theatre) play(t *testing.T) map[string]incident.Account {
	t.Helper()
	th.began = time.Now()
	accounts := make(map[string]incident.Account)
	main, second, third, alone := make(map[string]actor), make(map[string]actor), make(map[string]actor), make(map[string]actor)
	for _, route := range routes {
		main[route] = th.enter(t, route, 0, incident.Plan{Scripts: []string{
			incident.CleanOutage, incident.Flapping, incident.SlowFailureRate, incident.StuckOpen, incident.NotRecovering,
			incident.SlowRecovery, incident.FleetOutage, incident.BrokenReplica, incident.ForgottenDisabled,
			incident.ForgottenOpen, incident.Drill, incident.QuietHalfOpen, incident.WedgedHalfOpen, incident.HealthyDay,
		}})
		second[route] = th.enter(t, route, 1, incident.Plan{Scripts: []string{incident.FleetOutage}})
		third[route] = th.enter(t, route, 2, incident.Plan{Scripts: []string{incident.Restart, incident.QuietRestart}})
		for _, sibling := range []int{3, 4} {
			th.enter(t, route, sibling, incident.Plan{Scripts: []string{incident.BrokenReplica}, Well: []string{incident.BrokenReplica}})
		}
		alone[route] = th.enter(t, route, processes-1, incident.Plan{Scripts: []string{incident.TelemetryGone}})
	}
	// In the middle of an outage the third process is restarted, by which its breaker is closed; another one is not made again.
	for _, route := range routes {
		accounts[route] = th.when(t, third[route], incident.Restart+" is to happen", func(a incident.Account) bool { return len(a.Onsets) > 0 })
		third[route].End(t)
		th.enter(t, route, 2, incident.Plan{Scripts: []string{incident.Restart}, Well: []string{incident.Restart}})
	}
	// When the fleet is well again, the second is killed, which nobody is to miss: the program goes on. And the one that is
	// a program of its own.
	for _, route := range routes {
		gone := th.when(t, alone[route], incident.TelemetryGone+" is to happen", func(a incident.Account) bool { return len(a.Ended) == 1 })
		account := th.when(t, second[route], incident.FleetOutage+" is over", func(a incident.Account) bool { return len(a.Ended) == 1 })
		second[route].Kill(t)
		gone.Onsets[incident.TelemetryGone] = time.Now()
		alone[route].Kill(t)
		accounts[route] = merge(accounts[route], merge(account, gone))
	}
	// The rest of the story takes its time: silence is silence for so long. What is late may be so for a while.
	waitAtMost(t, minutes(story+20), "all that the incidents should come to", func() bool {
		if time.Since(th.began) < minutes(story) {
			return false
		}
		for _, route := range routes {
			got := th.got(t, route)
			for name, row := range expected {
				for alert, cell := range row {
					if cell != matrix.Held && got[name][alert] < cell {
						return false
					}
				}
			}
		}
		return true
	})
	failed := query(t, th.Prometheus, fmt.Sprintf(`sum(count_over_time((up == 0)[%s:%s]))`,
		inMilliseconds(time.Since(th.began)), inMilliseconds(minutes(0.25))))
	t.Logf("scrapes that failed, of a process that is gone or not: %v", failed)
	t.Logf("%.0f minutes were played in %v", time.Since(th.began).Minutes()/by, time.Since(th.began).Round(time.Second))
	for _, route := range routes {
		account, err := main[route].account()
		if err != nil {
			t.Fatal(err)
		}
		accounts[route] = merge(account, accounts[route])
		if accounts[route].Dropped > 0 {
			t.Errorf("%s: %d events were dropped", route, accounts[route].Dropped)
		}
		for name, how := range accounts[route].Ended {
			if how != "" {
				t.Errorf("%s: %s did not play to its end: %s", route, name, how)
			}
		}
	}
	return accounts
}

// when returns the account of a process as soon as it shows something.
func (th *theatre) when(t *testing.T, a actor, what string, shows func(incident.Account) bool) (account incident.Account) {
	t.Helper()
	waitUntil(t, what, func() bool {
		var err error
		if account, err = a.account(); err != nil {
			t.Fatal(err)
		}
		return shows(account)
	})
	return account
}

// merge puts what two processes did together; of an incident that both had, what was first.
func merge(a, b incident.Account) incident.Account {
	merged := incident.Account{
		Transitions: append(slices.Clone(a.Transitions), b.Transitions...),
		Onsets:      maps.Clone(a.Onsets),
		Ended:       maps.Clone(a.Ended),
		Dropped:     a.Dropped + b.Dropped,
	}
	for name, at := range b.Onsets {
		if first, found := merged.Onsets[name]; !found || at.Before(first) {
			merged.Onsets[name] = at
		}
	}
	for name, how := range b.Ended {
		merged.Ended[name] += how
	}
	return merged
}

// waitAtMost waits until it is done, or for so long: what is missing then is for others to tell.
func waitAtMost(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	poll := time.NewTicker(250 * time.Millisecond)
	defer poll.Stop()
	timeout := time.After(limit)
	for !done() {
		select {
		case <-poll.C:
		case <-timeout:
			t.Errorf("not %s within %v", what, limit)
			return
		}
	}
}

// alerts are the names of all that there are, in the order of their file.
func (th *theatre) alerts(t *testing.T) (names []string) {
	t.Helper()
	rules, err := th.Prometheus.API.Rules(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			if alert, ok := rule.(v1.AlertingRule); ok {
				names = append(names, alert.Name)
				if alert.Health != v1.RuleHealthGood {
					t.Errorf("%s is not well: %s", alert.Name, alert.LastError)
				}
			}
		}
	}
	return names
}

// got is what the incidents of a route came to so far: what fired, by Prometheus, and what somebody was told, by Slack's
// stand-in.
func (th *theatre) got(t *testing.T, route string) matrix.Matrix {
	t.Helper()
	got := matrix.Matrix{}
	fired := query(t, th.Prometheus, fmt.Sprintf(`count_over_time(ALERTS{alertstate="firing"}[%s])`,
		inMilliseconds(time.Since(th.began)+time.Minute)))
	for _, series := range fired {
		if of(series.Metric, route) {
			got.Set(string(series.Metric["service"]), string(series.Metric[model.AlertNameLabel]), matrix.Fired)
		}
	}
	for _, n := range th.notifications(t) {
		if !n.resolved && n.route == route {
			got.Set(n.incident, n.alert, matrix.Paged)
		}
	}
	return got
}

// tell logs all that was posted and that happened of an incident, for the one who has to find out why.
func (th *theatre) tell(t *testing.T, route, name string, onset time.Time) {
	t.Helper()
	minute := func(at time.Time) float64 { return at.Sub(onset).Minutes() / by }
	for _, n := range th.notifications(t) {
		if n.route == route && n.incident == name {
			t.Logf("%s: %s: %.2f min: %s (over: %t) posted", route, name, minute(n.At), n.alert, n.resolved)
		}
	}
	for _, promQL := range []string{
		fmt.Sprintf(`ALERTS{alertstate="firing",service=%q}`, name), fmt.Sprintf(`circuit_breaker_state{service=%q}`, name),
	} {
		result, _, _, err := th.Prometheus.API.QueryRange(t.Context(), promQL, v1.Range{
			Start: th.began, End: time.Now(), Step: minutes(0.25),
		})
		series, ok := result.(model.Matrix)
		if err != nil || !ok {
			t.Fatal(err)
		}
		for _, s := range series {
			last := time.Time{}
			if !of(s.Metric, route) {
				continue
			}
			for _, v := range s.Values {
				if at := v.Timestamp.Time(); at.Sub(last) > minutes(0.4) {
					t.Logf("%s: %s: %.2f min: %v is there, after %.2f without", route, name, minute(at), s.Metric, minute(at)-minute(last))
				}
				last = v.Timestamp.Time()
			}
			t.Logf("%s: %s: %.2f min: %v was last there", route, name, minute(last), s.Metric)
		}
	}
}

// of tells whether an alert is about a route.
func of(labels model.Metric, route string) bool {
	if endpoint := string(labels["endpoint"]); endpoint != "" {
		return strings.Contains(endpoint, "."+route+".")
	}
	return slices.Contains([]string{shop(route), lone(route)}, string(labels[model.JobLabel]))
}
