package loadtest

import (
	"math"
	"strings"
	"testing"
	"time"
)

func ptr(f float64) *float64 { return &f }

// outcome is a report of two outages, one after the other, the second at 4 s.
func outcome() *Report {
	return &Report{
		Scenario: "flapping",
		Phases:   []Phase{{0, "none"}, {1, "errors"}, {2, "none"}, {3.5, "errors"}, {5, "none"}},
		Requests: Requests{Total: 100, Well: 80, Success: 0.8},
		Latency:  Latencies{Sent: &Latency{P99: 0.25}},
		Calls:    Calls{Breaker: Counts{Blocked: 7}, Agree: true},
		Outages: []Outage{
			{Opened: 1.5, Closed: ptr(2.25), Rule: "failure_rate"},
			{Opened: 4, Closed: ptr(5.75), Rule: "failure_rate"},
		},
	}
}

func TestEachExpectation(t *testing.T) {
	never := func(r *Report) { r.Outages = nil }
	for _, c := range []struct {
		name     string
		met, not Expectation
		spoil    func(*Report) // nil: not is what is not met
	}{
		{"min-success", must(t)(MinSuccess(0.8)), must(t)(MinSuccess(0.81)), nil},
		{"min-success", must(t)(MinSuccess(0.8)), must(t)(MinSuccess(0.8)), func(r *Report) { r.Requests = Requests{} }},
		{"max-p99", must(t)(MaxP99(250 * time.Millisecond)), must(t)(MaxP99(249 * time.Millisecond)), nil},
		{"max-p99", must(t)(MaxP99(time.Hour)), must(t)(MaxP99(time.Hour)), func(r *Report) { r.Latency.Sent = nil }},
		{"expect-open-within", must(t)(OpenWithin(500 * time.Millisecond)), must(t)(OpenWithin(499 * time.Millisecond)), nil},
		{"expect-open-within", must(t)(OpenWithin(time.Hour)), must(t)(OpenWithin(time.Hour)), never},
		{"expect-recovery-within", must(t)(RecoveryWithin(750 * time.Millisecond)), must(t)(RecoveryWithin(749 * time.Millisecond)), nil},
		{"expect-recovery-within", must(t)(RecoveryWithin(time.Hour)), must(t)(RecoveryWithin(time.Hour)), never},
		{"expect-recovery-within", must(t)(RecoveryWithin(time.Hour)), must(t)(RecoveryWithin(time.Hour)), func(r *Report) { r.Outages[1].Closed = nil }},
		{"max-openings", must(t)(MaxOpenings(2)), must(t)(MaxOpenings(1)), nil},
		{"min-blocked", must(t)(MinBlocked(7)), must(t)(MinBlocked(8)), nil},
		{"expect-story", ExpectStory(), ExpectStory(), func(r *Report) { r.Outages = r.Outages[:1] }},
		{"expect-story", ExpectStory(), ExpectStory(), func(r *Report) { r.Outages[0].Closed = nil }},
		{"expect-story", ExpectStory(), ExpectStory(), func(r *Report) { r.Scenario = "slow" }},
		{"expect-story", ExpectStory(), ExpectStory(), func(r *Report) { r.Scenario = "healthy" }},
		{"accounts-agree", Expectation{}, Expectation{}, func(r *Report) { r.Calls.Agree = false }},
		{"completed", Expectation{}, Expectation{}, func(r *Report) { r.Interrupted = true }},
	} {
		stated := func(e Expectation) []Expectation {
			if e.judge == nil {
				return nil
			}
			return []Expectation{e}
		}
		r := outcome()
		if r.judge(stated(c.met)); !r.Passed || len(r.Failed()) != 0 {
			t.Errorf("%s is met, and failed are %q", c.name, r.Failed())
		}
		r = outcome()
		if c.spoil != nil {
			c.spoil(r)
		}
		if r.judge(stated(c.not)); r.Passed || len(r.Failed()) != 1 || r.Failed()[0] != c.name {
			t.Errorf("%s is not met, and failed are %q: %+v", c.name, r.Failed(), r.Expectations)
		}
	}
}

func TestWithoutAFaultTimesAreFromTheStartAndTheOpening(t *testing.T) {
	r := outcome()
	r.Phases = []Phase{{0, "none"}}
	r.judge([]Expectation{must(t)(OpenWithin(1500 * time.Millisecond)), must(t)(RecoveryWithin(4250 * time.Millisecond))})
	if !r.Passed {
		t.Errorf("%+v", r.Expectations)
	}
	r.judge([]Expectation{must(t)(OpenWithin(1499 * time.Millisecond)), must(t)(RecoveryWithin(4249 * time.Millisecond))})
	if len(r.Failed()) != 2 {
		t.Errorf("%+v", r.Expectations)
	}
}

func TestBadExpectationsAreRefusedByName(t *testing.T) {
	for flag, err := range map[string]error{
		"min-success is 0":             second(MinSuccess(0)),
		"min-success is 1.01":          second(MinSuccess(1.01)),
		"min-success is NaN":           second(MinSuccess(math.NaN())),
		"max-p99 is 0s":                second(MaxP99(0)),
		"expect-open-within is -1s":    second(OpenWithin(-time.Second)),
		"expect-recovery-within is 0s": second(RecoveryWithin(0)),
		"max-openings is -1":           second(MaxOpenings(-1)),
		"min-blocked is 0":             second(MinBlocked(0)),
	} {
		if err == nil || !strings.Contains(err.Error(), "--"+flag+": allowed is ") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func second(_ Expectation, err error) error { return err }

func TestBadSettingsAreRefusedByName(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"--rate is 0: allowed is 1 to 2000":                                          func(s *Settings) { s.Rate = 0 },
		"--rate is 2001: allowed is 1 to 2000":                                       func(s *Settings) { s.Rate = 2001 },
		"--concurrency is 0: allowed is 1 to 1000":                                   func(s *Settings) { s.Concurrency = 0 },
		"--concurrency is 1001: allowed is 1 to 1000":                                func(s *Settings) { s.Concurrency = 1001 },
		"--for is 999ms: allowed is 1s to 10m0s":                                     func(s *Settings) { s.For = 999 * time.Millisecond },
		"--for is 11m0s: allowed is 1s to 10m0s":                                     func(s *Settings) { s.For = 11 * time.Minute },
		"--timeout is 9ms: allowed is 10ms to 30s":                                   func(s *Settings) { s.Timeout = 9 * time.Millisecond },
		"--timeout is 31s: allowed is 10ms to 30s":                                   func(s *Settings) { s.Timeout = 31 * time.Second },
		"--timeout is 300ms: allowed is more than 400ms":                             func(s *Settings) { s.Scenario, s.Timeout = "slow", 300*time.Millisecond },
		`--scenario is "fire": allowed is healthy, outage, flapping, slow, brownout`: func(s *Settings) { s.Scenario = "fire" },
		"--breaker: ":                func(s *Settings) { s.Breaker.FailureRate = 2 },
		"--breaker: endpoint":        func(s *Settings) { s.Breaker.Endpoint = "http://a.example" },
		"--url has no scheme":        func(s *Settings) { s.URL = "localhost/secret" },
		"--url has no host":          func(s *Settings) { s.URL = "http:///secret" },
		"--url cannot be read":       func(s *Settings) { s.URL = "http://u:secret@[::1" },
		`--url has the scheme "ftp"`: func(s *Settings) { s.URL = "ftp://u:secret@127.0.0.1/?secret" },
	} {
		s := settings("healthy")
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		change(&s)
		err := s.Check()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("want %q, got %v", want, err)
		}
		if _, again := Run(t.Context(), s, nil); again == nil || again.Error() != err.Error() {
			t.Errorf("Run says %v, Check %v", again, err)
		}
	}
	s := settings("healthy")
	s.Rate, s.For = 0, 0
	if err := s.Check(); !strings.Contains(err.Error(), "--rate") || !strings.Contains(err.Error(), "--for") {
		t.Errorf("not all is told: %v", err)
	}
}
