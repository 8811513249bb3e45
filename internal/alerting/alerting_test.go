package alerting

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/otelbreaker/otelbreaker/deploy"
)

const every = 5 * time.Second

var target = map[string]string{"job": "shop", "instance": "a:1"}

// scrapes feeds rules as time goes by.
type scrapes struct {
	t     *testing.T
	rules *Rules
	now   time.Time
}

func start(t *testing.T, file string) *scrapes {
	t.Helper()
	rules, err := New([]byte(file), every)
	if err != nil {
		t.Fatal(err)
	}
	return &scrapes{t, rules, time.Unix(1_700_000_000, 0)}
}

// scrape has a page scraped once.
func (s *scrapes) scrape(page string) {
	s.t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		s.t.Fatal(err)
	}
	s.rules.Evaluate(s.t.Context(), s.now, families, target)
	s.now = s.now.Add(every)
	for _, status := range s.rules.Statuses() {
		if status.Error != "" {
			s.t.Fatalf("%s: %s", status.Name, status.Error)
		}
	}
}

func (s *scrapes) of(name string) Status {
	s.t.Helper()
	for _, status := range s.rules.Statuses() {
		if status.Name == name {
			return status
		}
	}
	s.t.Fatalf("there is no rule %s", name)
	return Status{}
}

// stands goes on scraping until an alert is in a state, and tells how long it took.
func (s *scrapes) stands(name string, want State, page func() string) time.Duration {
	s.t.Helper()
	before := s.now
	for s.now.Sub(before) < time.Hour {
		s.scrape(page())
		if s.of(name).State == want {
			return s.now.Sub(before) - every
		}
	}
	s.t.Fatalf("%s is not %s after an hour, but %+v", name, want, s.of(name))
	return 0
}

// breakerPage is what a process exposes of one breaker.
type breakerPage struct {
	state                     int
	success, failure, blocked int
	opened, closed, open      int
}

func (p *breakerPage) String() string {
	return strings.NewReplacer("STATE", itoa(p.state), "SUCCESS", itoa(p.success), "FAILURE", itoa(p.failure), "BLOCKED", itoa(p.blocked),
		"OPENED", itoa(p.opened), "CLOSED", itoa(p.closed), "SECONDS", itoa(p.open)).Replace(`
# TYPE circuit_breaker_state gauge
circuit_breaker_state{service="payments",endpoint="http://p"} STATE
# TYPE circuit_breaker_override gauge
circuit_breaker_override{service="payments",endpoint="http://p"} 0
# TYPE circuit_breaker_open_seconds_total counter
circuit_breaker_open_seconds_total{service="payments",endpoint="http://p"} SECONDS
# TYPE circuit_breaker_requests_total counter
circuit_breaker_requests_total{service="payments",endpoint="http://p",outcome="success"} SUCCESS
circuit_breaker_requests_total{service="payments",endpoint="http://p",outcome="failure"} FAILURE
circuit_breaker_requests_total{service="payments",endpoint="http://p",outcome="blocked"} BLOCKED
circuit_breaker_requests_total{service="payments",endpoint="http://p",outcome="ignored"} 0
# TYPE circuit_breaker_transitions_total counter
circuit_breaker_transitions_total{service="payments",endpoint="http://p",from_state="closed",to_state="open"} OPENED
circuit_breaker_transitions_total{service="payments",endpoint="http://p",from_state="half_open",to_state="open"} 0
circuit_breaker_transitions_total{service="payments",endpoint="http://p",from_state="half_open",to_state="closed"} CLOSED
`)
}

func itoa(n int) string { return model.SampleValue(n).String() }

func TestShippedRules(t *testing.T) {
	s := start(t, string(deploy.AlertRules))
	p := &breakerPage{}
	healthy := func() string { p.success += 40; return p.String() }
	for range 60 {
		s.scrape(healthy())
	}
	for _, status := range s.rules.Statuses() {
		if status.State != Inactive || len(status.Alerts) > 0 {
			t.Errorf("while all is healthy: %+v", status)
		}
	}

	p.state, p.opened = 2, 1
	outage := func() string { p.blocked += 40; p.open += int(every.Seconds()); return p.String() }
	if took := s.stands("CircuitBreakerOpen", Firing, outage); took < time.Minute || took > time.Minute+3*every {
		t.Errorf("CircuitBreakerOpen fires after %v, want a minute", took)
	}
	open := s.of("CircuitBreakerOpen")
	if len(open.Alerts) != 1 || open.Alerts[0].Summary != "Circuit breaker to payments (http://p) is open on 1 of 1 instances" || open.Severity != "warning" {
		t.Errorf("it says %+v", open)
	}
	s.stands("CircuitBreakerTrafficBlocked", Pending, outage)
	pending := s.of("CircuitBreakerTrafficBlocked")
	if took := s.stands("CircuitBreakerTrafficBlocked", Firing, outage); took < 2*time.Minute-every || took > 2*time.Minute {
		t.Errorf("CircuitBreakerTrafficBlocked fires after %v, want two minutes", took)
	}
	if fires := s.of("CircuitBreakerTrafficBlocked").Alerts[0]; !fires.Since.Equal(pending.Alerts[0].Since) || fires.FiredAt.Sub(fires.Since) != 2*time.Minute {
		t.Errorf("it holds since %v and fires since %v", fires.Since, fires.FiredAt)
	}

	p.state, p.closed = 0, 1
	if took := s.stands("CircuitBreakerOpen", Inactive, healthy); took < 30*time.Second || took > 30*time.Second+2*every { // keep_firing_for
		t.Errorf("CircuitBreakerOpen goes after %v, want half a minute", took)
	}
	if took := s.stands("CircuitBreakerTrafficBlocked", Inactive, healthy); took > 6*time.Minute {
		t.Errorf("CircuitBreakerTrafficBlocked goes after %v", took)
	}
}

func TestRules_Looks(t *testing.T) {
	s := start(t, string(deploy.AlertRules))
	for name, want := range map[string][3]time.Duration{ // for, looks back, every
		"CircuitBreakerHighFailureRate": {2 * time.Minute, 5 * time.Minute, every},
		"CircuitBreakerFlapping":        {0, 20 * time.Minute, every},
		"CircuitBreakerStuckOpen":       {0, 20 * time.Minute, every},
		"CircuitBreakerTelemetryGone":   {5 * time.Minute, 30 * time.Minute, time.Minute},
		"CircuitBreakerOverrideLeftOn":  {0, time.Hour + 5*time.Minute, time.Minute},
	} {
		if got := s.of(name); [3]time.Duration{got.For, got.LooksBack, got.Every} != want {
			t.Errorf("%s: for %v, looks back %v, every %v; want %v", name, got.For, got.LooksBack, got.Every, want)
		}
	}
}

// TestRules_WhatIsGone has a series vanish: it is marked as stale at once, and not seen for five more minutes.
func TestRules_WhatIsGone(t *testing.T) {
	s := start(t, `
groups: [{name: g, rules: [{record: "r:up", expr: up == 1}, {alert: Up, expr: "r:up"}]}]`)
	s.scrape("up 1\n")
	if got := s.of("Up"); got.State != Firing || got.Alerts[0].Labels["job"] != "shop" || got.Alerts[0].Labels["instance"] != "a:1" {
		t.Errorf("%+v", got)
	}
	s.scrape("up 0\n")
	if got := s.of("Up").State; got != Inactive {
		t.Errorf("what is recorded no longer is still seen: %s", got)
	}
	s.scrape("up 1\n")
	s.scrape("")
	if got := s.of("Up").State; got != Inactive {
		t.Errorf("what is no longer exposed is still seen: %s", got)
	}
}

// TestRules_KeepFiring has a condition that is interrupted, and then ends.
func TestRules_KeepFiring(t *testing.T) {
	s := start(t, `
groups: [{name: g, rules: [{alert: Up, expr: up == 1, for: 10s, keep_firing_for: 20s}]}]`)
	for i, c := range []struct {
		page string
		want State
	}{
		{"up 1", Pending}, {"up 0", Inactive}, // what is pending is not kept
		{"up 1", Pending}, {"up 1", Pending}, {"up 1", Firing},
		{"up 0", Firing}, {"up 0", Firing}, {"up 1", Firing}, // goes on, and begins anew
		{"up 0", Firing}, {"up 0", Firing}, {"up 0", Firing}, {"up 0", Firing}, {"up 0", Inactive},
	} {
		s.scrape(c.page + "\n")
		if got := s.of("Up").State; got != c.want {
			t.Errorf("evaluation %d: %s, want %s", i, got, c.want)
		}
	}
}

func TestStore_IsBounded(t *testing.T) {
	s := start(t, `
groups: [{name: g, rules: [{alert: Up, expr: "increase(up[1m] offset 1m) > 0"}]}]`)
	for range 2000 {
		s.scrape("up 1\n")
	}
	for _, one := range s.rules.store.series["up"] {
		if most := int((2*time.Minute+lookback)/every) * 3 / 2; len(one.points) > most {
			t.Errorf("%d samples are kept, want %d at most", len(one.points), most)
		}
	}
	for range 200 {
		s.scrape("")
	}
	if n := len(s.rules.store.series["up"]); n != 0 {
		t.Errorf("%d series are kept of what is long gone", n)
	}
	if _, stored := s.rules.store.series["down"]; stored {
		t.Error("what no rule reads is stored")
	}
}

func TestNew_Refuses(t *testing.T) {
	for file, want := range map[string]string{
		`groups: [{name: g, rules: [{alert: A, expr: "up =="}]}]`:                            "could not parse expression",
		`groups: [{name: g, rules: [{alert: A, expr: up, annotations: {summary: "{{ x"}}]}]`: "annotation",
		`rules: 1`: "rules",
	} {
		if _, err := New([]byte(file), every); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}

// TestRules_AnEvaluationThatFails has a query match two series where one is allowed.
func TestRules_AnEvaluationThatFails(t *testing.T) {
	s := start(t, `
groups: [{name: g, rules: [{alert: A, expr: "up * on (job) group_left () down"}, {alert: B, expr: up}]}]`)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader("up 1\ndown{n=\"1\"} 1\ndown{n=\"2\"} 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	s.rules.Evaluate(t.Context(), s.now, families, target)
	if got := s.of("A"); !strings.Contains(got.Error, "duplicate series") {
		t.Errorf("it says %q", got.Error)
	}
	if got := s.of("B"); got.State != Firing {
		t.Errorf("the rule behind it is %s", got.State)
	}
}

// TestEvaluate_UnevenCalls has calls come a little early or late, as a ticker's do: none may be skipped for that.
func TestEvaluate_UnevenCalls(t *testing.T) {
	s := start(t, `groups:
- name: often
  rules:
  - record: seen
    expr: up
- name: seldom
  interval: 10s
  rules:
  - record: seen_seldom
    expr: up
`)
	begin := s.now
	evaluated := make([]int, len(s.rules.groups))
	for i := range 9 {
		s.now = begin.Add(time.Duration(i)*every - time.Duration(i%4)*time.Millisecond)
		at := s.now
		s.scrape("up 1\n")
		for g, group := range s.rules.groups {
			if group.last.Equal(at) {
				evaluated[g]++
			}
		}
	}
	if evaluated[0] != 9 || evaluated[1] != 5 {
		t.Errorf("of 9 calls the groups used %v, want all, and every second one", evaluated)
	}
}
