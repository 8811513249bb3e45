package loadtest

import (
	"fmt"
	"time"

	"github.com/otelbreaker/otelbreaker/cmd/demo/internal/faulty"
)

// Expectation is what a load test has to show.
type Expectation struct {
	name, want string
	// judge tells what there was, and whether that will do.
	judge func(*Report) (found string, met bool)
}

// Verdict is what became of an expectation.
type Verdict struct {
	Name  string `json:"name"` // the flag's, or what is always expected: completed, accounts-agree
	Want  string `json:"want"`
	Found string `json:"found"`
	Met   bool   `json:"met"`
}

func refused(name string, value, allowed any) error {
	return fmt.Errorf("--%s is %v: allowed is %v", name, value, allowed)
}

// MinSuccess expects this share of all requests to be answered well, blocked ones among them.
func MinSuccess(share float64) (Expectation, error) {
	const name = "min-success"
	if !(share > 0 && share <= 1) {
		return Expectation{}, refused(name, share, "more than 0, to 1")
	}
	return Expectation{name, "at least " + percent(share), func(r *Report) (string, bool) {
		if r.Requests.Total == 0 {
			return "no request", false
		}
		return percent(r.Requests.Success), r.Requests.Success >= share
	}}, nil
}

// MaxP99 expects 99 % of the requests that were sent to take no longer.
func MaxP99(d time.Duration) (Expectation, error) {
	const name = "max-p99"
	if d <= 0 {
		return Expectation{}, refused(name, d, "more than 0")
	}
	return Expectation{name, "at most " + d.String(), func(r *Report) (string, bool) {
		if r.Latency.Sent == nil {
			return "no request was sent", false
		}
		return seconds(r.Latency.Sent.P99), r.Latency.Sent.P99 <= d.Seconds()
	}}, nil
}

// OpenWithin expects the breaker to open so soon after the first fault, or after the start where there is none.
func OpenWithin(d time.Duration) (Expectation, error) {
	const name = "expect-open-within"
	if d <= 0 {
		return Expectation{}, refused(name, d, "more than 0")
	}
	return Expectation{name, "at most " + d.String(), func(r *Report) (string, bool) {
		from, _, _ := r.faults()
		for _, o := range r.Outages {
			if o.Opened >= from {
				return seconds(o.Opened - from), o.Opened-from <= d.Seconds()
			}
		}
		return "it never opened", false
	}}, nil
}

// RecoveryWithin expects every breaker to be closed again so soon after the last fault, or after the first opening where
// there is none.
func RecoveryWithin(d time.Duration) (Expectation, error) {
	const name = "expect-recovery-within"
	if d <= 0 {
		return Expectation{}, refused(name, d, "more than 0")
	}
	return Expectation{name, "at most " + d.String(), func(r *Report) (string, bool) {
		if len(r.Outages) == 0 {
			return "it never opened", false
		}
		_, from, mended := r.faults()
		if !mended {
			from = r.Outages[0].Opened
		}
		last := from // it may have closed before the fault was over
		for _, o := range r.Outages {
			if o.Closed == nil {
				return "it has not closed", false
			}
			last = max(last, *o.Closed)
		}
		return seconds(last - from), last-from <= d.Seconds()
	}}, nil
}

// MaxOpenings expects no more outages than so many.
func MaxOpenings(n int) (Expectation, error) {
	const name = "max-openings"
	if n < 0 {
		return Expectation{}, refused(name, n, "0 or more")
	}
	return Expectation{name, fmt.Sprintf("at most %d", n), func(r *Report) (string, bool) {
		return fmt.Sprint(len(r.Outages)), len(r.Outages) <= n
	}}, nil
}

// MinBlocked expects the breaker to block so many calls or more.
func MinBlocked(n int) (Expectation, error) {
	const name = "min-blocked"
	if n < 1 {
		return Expectation{}, refused(name, n, "1 or more")
	}
	return Expectation{name, fmt.Sprintf("at least %d", n), func(r *Report) (string, bool) {
		return fmt.Sprint(r.Calls.Breaker.Blocked), r.Calls.Breaker.Blocked >= uint64(n)
	}}, nil
}

// ExpectStory expects the breaker to tell the story that belongs to the scenario.
func ExpectStory() Expectation {
	return Expectation{"expect-story", "that of the scenario", func(r *Report) (string, bool) {
		plot, _ := find(r.Scenario)
		n, s := len(r.Outages), plot.story
		if n < s.least {
			return fmt.Sprintf("outages: %d, fewer than %d", n, s.least), false
		}
		if n > s.most {
			return fmt.Sprintf("outages: %d, more than %d", n, s.most), false
		}
		for _, o := range r.Outages {
			if s.rule != "" && o.Rule != s.rule {
				return fmt.Sprintf("opened by %s instead of %s", o.Rule, s.rule), false
			}
			if o.Closed == nil {
				return "an outage that has not ended", false
			}
		}
		if n == 0 {
			return "no outage", true
		}
		return fmt.Sprintf("outages, all over: %d", n), true
	}}
}

// always are those that nobody has to state.
var always = []Expectation{
	{"completed", "all of --for", func(r *Report) (string, bool) {
		if r.Interrupted {
			return "interrupted", false
		}
		return "yes", true
	}},
	{"accounts-agree", "what the client counted", func(r *Report) (string, bool) {
		return map[bool]string{true: "the same", false: "another count in the breaker"}[r.Calls.Agree], r.Calls.Agree
	}},
}

// judge holds the report against what is expected of it.
func (r *Report) judge(expected []Expectation) {
	r.Passed, r.Expectations = true, []Verdict{}
	for _, list := range [][]Expectation{always, expected} {
		for _, e := range list {
			found, met := e.judge(r)
			r.Expectations = append(r.Expectations, Verdict{Name: e.name, Want: e.want, Found: found, Met: met})
			r.Passed = r.Passed && met
		}
	}
}

// faults tells when the first began and when the last ended, and whether there was one that did.
func (r *Report) faults() (began, ended float64, mended bool) {
	bad := false
	for _, p := range r.Phases {
		switch {
		case p.Fault == string(faulty.None) && bad:
			ended, bad, mended = p.Start, false, true
		case p.Fault == string(faulty.None):
		default:
			if began == 0 {
				began = p.Start
			}
			bad, mended = true, false
		}
	}
	return began, ended, mended
}
