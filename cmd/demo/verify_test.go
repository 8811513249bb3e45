package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	paymentsURL = "http://127.0.0.1:1001"
	searchURL   = "http://127.0.0.1:1002"
)

// trueStory is an outage with one early probe, and signals that tell it as it was. page is its /metrics.
func trueStory() (s story, page string) {
	begin := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }
	trace := func(n int) string { return fmt.Sprintf("%032x", n) }
	made := func(outcomes string, from float64) (calls []call) {
		for i, o := range outcomes {
			start := at(from + float64(i)/10)
			calls = append(calls, call{start: start, end: start.Add(20 * time.Millisecond), outcome: outcome(o),
				traceID: trace(len(calls) + 1 + int(from*1000))})
		}
		return calls
	}
	// Opens with the call at 1.0 s, probes at 4.1 s and 7.2 s.
	calls := slices.Concat(made("SSSFISFFFFF", 0), made("BBBB", 1.1), made("F", 4.1), made("BB", 4.2), made("SS", 7.2))
	s = story{
		target: "payments", threshold: 5, recovery: 3 * time.Second,
		endpoints: map[string]string{"payments": paymentsURL, "search": searchURL},
		calls:     map[string][]call{"payments": calls, "search": made("SSSS", 0)},
		states:    []float64{0, 2, 1, 2, 0},
	}
	recovery, blockedCalls := 6.2, 6
	opening, early, closing := calls[10].traceID, calls[15].traceID, calls[18].traceID
	add := func(seconds float64, r record) {
		r.Time, r.Component, r.Service, r.Endpoint = at(seconds), "circuit_breaker", "payments", paymentsURL
		r.OutageID, r.SpanID = "00000000000000aa", "00000000000000bb"
		s.records = append(s.records, r)
	}
	add(1.01, record{Level: "WARN", Message: "Circuit breaker opened", EventType: "circuit_opened", OldState: "closed",
		NewState: "open", Reason: "consecutive_failures", Observed: 5, Threshold: 5, FailureCount: 5, ErrorType: "500", TraceID: opening})
	add(4.01, record{Level: "INFO", Message: "Circuit breaker testing recovery", EventType: "circuit_half_open", OldState: "open",
		NewState: "half_open", Reason: "delay_elapsed", Observed: 3.0001, Threshold: 3, TraceID: opening})
	add(4.11, record{Level: "WARN", Message: "Circuit breaker reopened", EventType: "circuit_reopened", OldState: "half_open",
		NewState: "open", Reason: "probe_failed", Observed: 1, Threshold: 1, ErrorType: "500", TraceID: early})
	add(7.11, record{Level: "INFO", Message: "Circuit breaker testing recovery", EventType: "circuit_half_open", OldState: "open",
		NewState: "half_open", Reason: "delay_elapsed", Observed: 3.0001, Threshold: 3, TraceID: opening})
	add(7.21, record{Level: "INFO", Message: "Circuit breaker closed", EventType: "circuit_closed", OldState: "half_open",
		NewState: "closed", Reason: "probes_succeeded", Observed: 1, Threshold: 1, TraceID: closing,
		RecoveryDuration: &recovery, BlockedCount: &blockedCalls})

	s.health = healthPage{"payments": {}, "search": {}}
	for service, endpoint := range s.endpoints {
		e := s.health[service][endpoint]
		e.State, e.Healthy = "closed", true
		if service == s.target {
			e.Transitions = slices.Clone(s.records)
		}
		s.health[service][endpoint] = e
	}
	return s, truePage()
}

func truePage() string {
	var page strings.Builder
	family := func(name, kind string) { fmt.Fprintf(&page, "# TYPE %s %s\n", name, kind) }
	services := [][2]string{{"payments", paymentsURL}, {"search", searchURL}}
	line := func(name string, of [2]string, labels string, value any) {
		fmt.Fprintf(&page, "%s{endpoint=%q,service=%q%s} %v\n", name, of[1], of[0], labels, value)
	}
	family("circuit_breaker_state", "gauge")
	for _, s := range services {
		line("circuit_breaker_state", s, "", 0)
	}
	family("circuit_breaker_requests_total", "counter")
	counts := map[string][4]int{"payments": {6, 7, 6, 1}, "search": {4, 0, 0, 0}}
	for _, s := range services {
		for i, o := range []string{"success", "failure", "blocked", "ignored"} {
			line("circuit_breaker_requests_total", s, fmt.Sprintf(",outcome=%q", o), counts[s[0]][i])
		}
	}
	family("circuit_breaker_transitions_total", "counter")
	edges := map[string]int{"closed open": 1, "open half_open": 2, "half_open open": 1, "half_open closed": 1,
		"closed half_open": 0, "open closed": 0}
	for _, s := range services {
		for edge, n := range edges {
			if s[0] != "payments" {
				n = 0
			}
			from, to, _ := strings.Cut(edge, " ")
			line("circuit_breaker_transitions_total", s, fmt.Sprintf(",from_state=%q,to_state=%q", from, to), n)
		}
	}
	family("circuit_breaker_open_seconds_total", "counter")
	line("circuit_breaker_open_seconds_total", services[0], "", 6.0002)
	line("circuit_breaker_open_seconds_total", services[1], "", 0)
	family("circuit_breaker_recovery_duration_seconds", "histogram")
	const recovery = "circuit_breaker_recovery_duration_seconds"
	line(recovery+"_bucket", services[0], `,le="2.5"`, 0)
	line(recovery+"_bucket", services[0], `,le="7.5"`, 1)
	line(recovery+"_bucket", services[0], `,le="+Inf"`, 1)
	line(recovery+"_sum", services[0], "", 6.2)
	line(recovery+"_count", services[0], "", 1)
	return page.String()
}

func verified(t *testing.T, s story, page string) []check {
	t.Helper()
	var err error
	if s.metrics, err = parseMetrics([]byte(page)); err != nil {
		t.Fatal(err)
	}
	return verify(s)
}

func TestVerify_ATrueStory(t *testing.T) {
	s, page := trueStory()
	var out strings.Builder
	if !report(&out, verified(t, s, page)) {
		t.Errorf("a true story is not believed:\n%s", &out)
	}
}

// TestVerify_FalseStories tells stories that are false in one point, and wants that point named.
func TestVerify_FalseStories(t *testing.T) {
	replace := func(old, with string) func(*testing.T, *story, *string) {
		return func(t *testing.T, _ *story, page *string) {
			t.Helper()
			if strings.Count(*page, old) != 1 {
				t.Fatalf("%q is %d times in the page, want once", old, strings.Count(*page, old))
			}
			*page = strings.Replace(*page, old, with, 1)
		}
	}
	tell := func(change func(*story)) func(*testing.T, *story, *string) {
		return func(_ *testing.T, s *story, _ *string) { change(s) }
	}
	payments := `{endpoint="` + paymentsURL + `",service="payments"`
	search := `{endpoint="` + searchURL + `",service="search"`
	const (
		outage, gauge, counters = "the client saw", "state gauge", "counters: every call"
		transitions, histogram  = "transition counters", "recovery histogram"
		seconds, order          = "open seconds", "log records: in order"
		reasons, id, traces     = "log records: reasons", "outage id", "trace ids"
		page                    = "health page"
	)
	for _, c := range []struct {
		name   string
		change func(*testing.T, *story, *string)
		fails  []string // names of the checks that have to
		says   string
	}{
		{"no outage", tell(func(s *story) { s.calls["payments"] = s.calls["payments"][:6] }), []string{outage}, "never 5 failures"},
		{"no recovery", tell(func(s *story) { s.calls["payments"] = s.calls["payments"][:18] }), []string{outage}, "no call succeeded"},
		{"blocked without an outage", tell(func(s *story) { s.calls["payments"][0].outcome = blocked }), []string{outage}, "call 1 was blocked"},
		{"nothing blocked", tell(func(s *story) {
			s.calls["payments"] = slices.DeleteFunc(s.calls["payments"], func(c call) bool { return c.outcome == blocked })
		}), []string{outage}, "no call was blocked"},
		{"two outages", tell(func(s *story) {
			s.calls["payments"] = append(s.calls["payments"], slices.Repeat([]call{{outcome: failure}}, 5)...)
		}), []string{outage}, "second outage"},

		{"the gauge is stuck at closed", tell(func(s *story) { s.states = []float64{0} }), []string{gauge}, "never stood at 2"},
		{"the gauge begins open", tell(func(s *story) { s.states = []float64{2, 0} }), []string{gauge}, "did not begin at 0"},
		{"the gauge flaps", tell(func(s *story) { s.states = []float64{0, 2, 0, 2, 0} }), []string{gauge}, "was seen at [0 2 0 2 0]"},
		{"the gauge was never seen", tell(func(s *story) { s.states = nil }), []string{gauge}, "did not begin"},
		{"the gauge stays open", replace("circuit_breaker_state"+payments+"} 0", "circuit_breaker_state"+payments+"} 2"),
			[]string{gauge}, "payments stands at 2"},
		{"another gauge is open", replace("circuit_breaker_state"+search+"} 0", "circuit_breaker_state"+search+"} 2"),
			[]string{gauge}, "search stands at 2"},

		{"a success too many", replace(payments+`,outcome="success"} 6`, payments+`,outcome="success"} 7`), []string{counters}, "is 7, want 6"},
		{"a failure too few", replace(payments+`,outcome="failure"} 7`, payments+`,outcome="failure"} 6`), []string{counters}, "is 6, want 7"},
		{"blocked calls uncounted", replace(payments+`,outcome="blocked"} 6`, payments+`,outcome="blocked"} 0`), []string{counters}, "is 0, want 6"},
		{"ignored calls uncounted", replace(payments+`,outcome="ignored"} 1`, payments+`,outcome="ignored"} 0`), []string{counters}, "is 0, want 1"},
		{"another service is off", replace(search+`,outcome="success"} 4`, search+`,outcome="success"} 5`), []string{counters}, "is 5, want 4"},
		{"a series is missing", replace("circuit_breaker_requests_total"+search+",outcome=\"blocked\"} 0\n", ""), []string{counters}, "has 0 series"},
		{"a foreign series", replace("# TYPE circuit_breaker_transitions_total", `circuit_breaker_requests_total{service="ghost"} 1`+
			"\n# TYPE circuit_breaker_transitions_total"), []string{counters}, "has 9 series, want 8"},

		{"an opening uncounted", replace(payments+`,from_state="closed",to_state="open"} 1`, payments+`,from_state="closed",to_state="open"} 0`),
			[]string{transitions}, "is 0, want 1"},
		{"an edge that cannot be", replace(payments+`,from_state="closed",to_state="half_open"} 0`, payments+`,from_state="closed",to_state="half_open"} 1`),
			[]string{transitions}, "is 1, want 0"},
		{"another service opened", replace(search+`,from_state="closed",to_state="open"} 0`, search+`,from_state="closed",to_state="open"} 1`),
			[]string{transitions}, "is 1, want 0"},
		{"an edge is missing", replace("circuit_breaker_transitions_total"+search+",from_state=\"open\",to_state=\"closed\"} 0\n", ""),
			[]string{transitions}, "has 0 series"},

		{"no recovery recorded", replace("recovery_duration_seconds_count"+payments+"} 1", "recovery_duration_seconds_count"+payments+"} 0"),
			[]string{histogram}, "counted 0 recoveries"},
		{"two recoveries", replace("recovery_duration_seconds_count"+payments+"} 1", "recovery_duration_seconds_count"+payments+"} 2"),
			[]string{histogram}, "counted 2 recoveries"},
		{"too short a recovery", replace("_sum"+payments+"} 6.2", "_sum"+payments+"} 6.1"), []string{histogram}, "tells of 6.100 s"},
		{"too long a recovery", replace("_sum"+payments+"} 6.2", "_sum"+payments+"} 6.3"), []string{histogram}, "tells of 6.300 s"},
		{"the record knows another recovery", tell(func(s *story) { *s.records[4].RecoveryDuration = 6.21 }), []string{histogram}, "the log record of 6.21"},
		{"the record knows no recovery", tell(func(s *story) { s.records[4].RecoveryDuration = nil }), []string{histogram}, "the log record of none"},
		{"another service recovered", replace("circuit_breaker_recovery_duration_seconds_count"+payments, "circuit_breaker_recovery_duration_seconds_count"+search+
			"} 1\ncircuit_breaker_recovery_duration_seconds_count"+payments), []string{histogram}, "recovery of search"},

		{"open too short", replace("open_seconds_total"+payments+"} 6.0002", "open_seconds_total"+payments+"} 3"), []string{seconds}, "open for 3.000 s"},
		{"open too long", replace("open_seconds_total"+payments+"} 6.0002", "open_seconds_total"+payments+"} 7"), []string{seconds}, "open for 7.000 s"},
		{"another service was open", replace("open_seconds_total"+search+"} 0", "open_seconds_total"+search+"} 1"), []string{seconds}, "search was open"},

		{"no records", tell(func(s *story) { s.records = nil }), []string{order, id, traces, page}, "the records are []"},
		{"a record is missing", tell(func(s *story) { s.records = slices.Delete(s.records, 3, 4) }), []string{order, page}, "the records are"},
		{"a record came twice", tell(func(s *story) { s.records = slices.Insert(s.records, 1, s.records[0]) }), []string{order, page}, "the records are"},
		{"records swapped", tell(func(s *story) { s.records[1], s.records[2] = s.records[2], s.records[1] }), []string{order, page}, "the records are"},
		{"time runs backwards", tell(func(s *story) { s.records[1].Time = s.records[0].Time.Add(-1) }), []string{order}, "a time before"},
		{"the wrong service", tell(func(s *story) { s.records[0].Service = "search" }), []string{order}, "about search"},
		{"the wrong endpoint", tell(func(s *story) { s.records[0].Endpoint = searchURL }), []string{order}, searchURL},
		{"the wrong state", tell(func(s *story) { s.records[0].NewState = "half_open" }), []string{order, page}, "to half_open"},
		{"the wrong level", tell(func(s *story) { s.records[0].Level = "INFO" }), []string{order}, `says INFO`},
		{"the wrong body", tell(func(s *story) { s.records[0].Message = "opened" }), []string{order}, `"opened"`},

		{"the wrong rule", tell(func(s *story) { s.records[0].Reason = "failure_rate" }), []string{reasons}, "failure_rate"},
		{"the wrong number", tell(func(s *story) { s.records[0].Observed = 4 }), []string{reasons}, "observed:4"},
		{"the wrong threshold", tell(func(s *story) { s.records[0].Threshold = 4 }), []string{reasons}, "threshold:4"},
		{"the wrong error", tell(func(s *story) { s.records[2].ErrorType = "timeout" }), []string{reasons}, "timeout"},
		{"too short a delay", tell(func(s *story) { s.records[1].Observed = 2.9 }), []string{reasons}, "observed:2.9"},
		{"too few failures", tell(func(s *story) { s.records[0].FailureCount = 4 }), []string{reasons}, "counts 4 failures"},
		{"blocked calls off", tell(func(s *story) { *s.records[4].BlockedCount = 5 }), []string{reasons}, "counts 5 blocked calls, the client 6"},
		{"blocked calls untold", tell(func(s *story) { s.records[4].BlockedCount = nil }), []string{reasons}, "counts none blocked"},

		{"no outage id", tell(func(s *story) { s.records[0].OutageID = "" }), []string{id}, `id ""`},
		{"another outage id", tell(func(s *story) { s.records[4].OutageID = "cc" }), []string{id}, `"cc"`},

		{"no trace", tell(func(s *story) {
			s.records[0].TraceID, s.health["payments"][paymentsURL].Transitions[0].TraceID = "", ""
		}),
			[]string{traces}, `circuit_opened has the trace id ""`},
		{"the trace of another call", tell(func(s *story) {
			wrong := s.calls["payments"][9].traceID
			s.records[0].TraceID, s.health["payments"][paymentsURL].Transitions[0].TraceID = wrong, wrong
		}), []string{traces}, "circuit_opened has the trace id"},
		{"the opener's trace on the closing", tell(func(s *story) {
			wrong := s.records[0].TraceID
			s.records[4].TraceID, s.health["payments"][paymentsURL].Transitions[4].TraceID = wrong, wrong
		}), []string{traces}, "circuit_closed has the trace id"},
		{"the opener's trace on the reopening", tell(func(s *story) {
			wrong := s.records[0].TraceID
			s.records[2].TraceID, s.health["payments"][paymentsURL].Transitions[2].TraceID = wrong, wrong
		}), []string{traces}, "circuit_reopened has the trace id"},
		{"no span", tell(func(s *story) { s.records[3].SpanID = "" }), []string{traces}, "span id"},

		{"the page forgets a breaker", tell(func(s *story) { delete(s.health["search"], searchURL) }), []string{page}, "search at " + searchURL + " is missing"},
		{"the page says open", tell(func(s *story) {
			e := s.health["payments"][paymentsURL]
			e.State, e.Healthy = "open", false
			s.health["payments"][paymentsURL] = e
		}), []string{page}, "payments is open"},
		{"the page forgets a transition", tell(func(s *story) {
			e := s.health["payments"][paymentsURL]
			e.Transitions = e.Transitions[1:]
			s.health["payments"][paymentsURL] = e
		}), []string{page}, "by its log records"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, metricsPage := trueStory()
			c.change(t, &s, &metricsPage)
			checks := verified(t, s, metricsPage)
			var out strings.Builder
			if report(&out, checks) {
				t.Fatal("it is believed")
			}
			for _, k := range checks {
				expected := slices.ContainsFunc(c.fails, func(name string) bool { return strings.HasPrefix(k.name, name) })
				if (k.err != nil) != expected {
					t.Errorf("check %q: %v", k.name, k.err)
				}
			}
			if !strings.Contains(out.String(), "FAIL  "+c.fails[0]) || !strings.Contains(out.String(), c.says) {
				t.Errorf("the report does not say %q:\n%s", c.says, &out)
			}
		})
	}
}

func TestParseMetrics_NotThatFormat(t *testing.T) {
	if _, err := parseMetrics([]byte("<html>\n")); err == nil {
		t.Error("markup passes for metrics")
	}
}
