package loadtest

import (
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Report is what came of a load test. Its JSON is an interface: docs/load.md describes it.
type Report struct {
	Version     int       `json:"version"`
	Target      string    `json:"target"` // without user info, query and fragment
	OwnUpstream bool      `json:"own_upstream"`
	Scenario    string    `json:"scenario"`
	Started     time.Time `json:"started"`
	Duration    float64   `json:"duration_seconds"` // until the last request was over
	Interrupted bool      `json:"interrupted"`

	Settings     Plan         `json:"settings"`
	Phases       []Phase      `json:"phases"`
	Rate         Rate         `json:"rate"`
	Requests     Requests     `json:"requests"`
	Latency      Latencies    `json:"latency"`
	Calls        Calls        `json:"calls"`
	Breakers     []Breaker    `json:"breakers"`
	Outages      []Outage     `json:"outages"`
	Transitions  []Transition `json:"transitions"`
	Expectations []Verdict    `json:"expectations"`
	Passed       bool         `json:"passed"`
}

// Plan is what was asked for.
type Plan struct {
	Rate        int            `json:"rate"`
	Concurrency int            `json:"concurrency"`
	For         float64        `json:"for_seconds"`
	Timeout     float64        `json:"timeout_seconds"`
	Breaker     breaker.Config `json:"breaker"`
}

// Rate tells whether the load was what it was to be.
type Rate struct {
	Asked  float64 `json:"asked_per_second"`
	Made   float64 `json:"made_per_second"`
	Peak   int     `json:"peak_concurrency"` // requests under way at once
	Late   uint64  `json:"late_requests"`    // made more than 100 ms after they were due
	Held   bool    `json:"held"`             // 95 % of what was asked for, or more, was made, and on time
	Reason string  `json:"reason,omitempty"` // where it was not
}

// Requests are those of the client, redirects and all.
type Requests struct {
	Total   uint64            `json:"total"`
	Well    uint64            `json:"answered_well"` // 2xx or 3xx, read to the end
	Success float64           `json:"success_rate"`  // those of all
	Answers map[string]uint64 `json:"by_answer"`
}

// Latencies are those of requests that were sent, and of those that the breaker blocked.
type Latencies struct {
	Sent    *Latency `json:"sent"`    // null: there was none
	Blocked *Latency `json:"blocked"` // likewise
}

// Latency is from the moment that a request was made until its body was read, or it had failed.
type Latency struct {
	Requests uint64  `json:"requests"`
	Min      float64 `json:"min_seconds"`
	Mean     float64 `json:"mean_seconds"`
	P50      float64 `json:"p50_seconds"`
	P90      float64 `json:"p90_seconds"`
	P95      float64 `json:"p95_seconds"`
	P99      float64 `json:"p99_seconds"`
	Max      float64 `json:"max_seconds"`
}

// Calls are counted twice. A redirect is a call of its own.
type Calls struct {
	Client  Counts `json:"client"`
	Breaker Counts `json:"breaker"`
	Agree   bool   `json:"agree"`
}

// Breaker is how one of them stands at the end.
type Breaker struct {
	Service  string  `json:"service"`
	Endpoint string  `json:"endpoint"`
	State    string  `json:"state"`
	Open     float64 `json:"open_seconds"`
	Slow     uint64  `json:"slow_calls"`
	Counts
}

// tally is what the results of vegeta add up to.
type tally struct {
	sent, blocked vegeta.Metrics
	answers       map[string]uint64
	well, late    uint64
}

// lateness is how late a request may be made.
const lateness = 100 * time.Millisecond

// last is when the last request was made.
func (t *tally) last() time.Time {
	if t.blocked.Latest.After(t.sent.Latest) {
		return t.blocked.Latest
	}
	return t.sent.Latest
}

func (t *tally) total() uint64 { return t.sent.Requests + t.blocked.Requests }

// add counts a result. late is how long after it was due the request was made.
func (t *tally) add(r *vegeta.Result, late time.Duration, got answer, made bool) {
	if late > lateness {
		t.late++
	}
	if got.blocked {
		t.blocked.Add(r)
	} else {
		t.sent.Add(r)
	}
	label := got.label
	switch {
	case !made:
		label = "not sent"
	case got.status/100 == 3 && r.Error != "":
		label = "redirect refused"
	}
	t.answers[label]++
	if r.Error == "" && r.Code/100 >= 2 && r.Code/100 <= 3 { // a body that broke off leaves no code
		t.well++
	}
}

// latency gives the percentiles, now that no result is to come.
func latency(m *vegeta.Metrics) *Latency {
	if m.Requests == 0 {
		return nil
	}
	m.Close()
	l := m.Latencies
	return &Latency{
		Requests: m.Requests, Min: l.Min.Seconds(), Mean: l.Mean.Seconds(), P50: l.P50.Seconds(), P90: l.P90.Seconds(),
		P95: l.P95.Seconds(), P99: l.P99.Seconds(), Max: l.Max.Seconds(),
	}
}

func (t *tally) requests() Requests {
	r := Requests{Total: t.total(), Well: t.well, Answers: t.answers}
	if r.Total > 0 {
		r.Success = float64(r.Well) / float64(r.Total)
	}
	return r
}

// rate judges the load. attacked is how long requests were made.
func (t *tally) rate(asked, concurrency, peak int, attacked time.Duration) Rate {
	r := Rate{Asked: float64(asked), Peak: peak, Late: t.late}
	if attacked <= 0 {
		return r
	}
	r.Made = float64(t.total()) / attacked.Seconds()
	most := 0.95*r.Asked*attacked.Seconds() - 1 // the first is due after a pause
	r.Held = float64(t.total()) >= most && float64(t.total()-t.late) >= 0.95*float64(t.total())
	switch {
	case r.Held:
	case peak >= concurrency:
		r.Reason = "all that may be under way at once were: answers are too slow for this --concurrency"
	default:
		r.Reason = "this machine is too busy to make requests at this rate"
	}
	return r
}

// breakers gives how each stands, and their sum.
func breakers(group *breaker.Group) (each []Breaker, sum Counts) {
	each = []Breaker{}
	for b := range group.All() {
		s := b.Snapshot()
		c := Counts{Success: s.Success, Failure: s.Failure, Blocked: s.Blocked, Ignored: s.Ignored}
		each = append(each, Breaker{
			Service: s.Service, Endpoint: s.Endpoint, State: s.State.String(), Open: s.OpenTime.Seconds(), Slow: s.Slow, Counts: c,
		})
		sum.Success, sum.Failure = sum.Success+c.Success, sum.Failure+c.Failure
		sum.Blocked, sum.Ignored = sum.Blocked+c.Blocked, sum.Ignored+c.Ignored
	}
	return each, sum
}
