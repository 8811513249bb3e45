package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"slices"
	"time"
)

// story is one outage as it was seen from outside: what the client knows of its own calls, and what the signals say.
type story struct {
	target    string            // the service that had the outage
	endpoints map[string]string // of every service called
	threshold int               // consecutive failures that open
	recovery  time.Duration     // open this long before a probe

	calls map[string][]call // by service, every one, in order

	states  []float64  // values of the target's state gauge while the script played, one for each change
	metrics metrics    // when all was over
	health  healthPage // likewise
	records []record   // all of them, in the order written
}

// check is one thing that the signals have to agree with the client on.
type check struct {
	name string
	err  error // nil: they do
}

// verify holds the signals against the client's account.
func verify(s story) []check {
	o, err := s.observed()
	checks := []check{{"the client saw one outage of " + s.target, err}}
	if err != nil {
		return checks
	}
	return append(checks,
		check{"state gauge: closed, open, closed again", s.checkStates(o)},
		check{"counters: every call once, by outcome", s.checkCounters()},
		check{"transition counters", s.checkTransitions(o)},
		check{"recovery histogram: one recovery, its duration", s.checkRecovery(o)},
		check{"open seconds", s.checkOpenSeconds(o)},
		check{"log records: in order, once each", s.checkOrder(o)},
		check{"log records: reasons and counts", s.checkReasons(o)},
		check{"outage id: the same throughout", s.checkOutageID()},
		check{"trace ids: the calls that moved the breaker", s.checkTraces(o)},
		check{"health page", s.checkHealth()},
	)
}

// report prints a verdict a line and tells whether all is well.
func report(w io.Writer, checks []check) (ok bool) {
	ok = true
	for _, c := range checks {
		if c.err == nil {
			fmt.Fprintf(w, "  ok    %s\n", c.name)
			continue
		}
		ok = false
		fmt.Fprintf(w, "  FAIL  %s\n", c.name)
		for _, line := range causes(c.err) {
			fmt.Fprintf(w, "        %v\n", line)
		}
	}
	return ok
}

func causes(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// outage is what the client's account makes of the target's calls.
type outage struct {
	opening call   // the failure that reached the threshold
	early   []call // probes that failed
	closing call   // the probe that succeeded
	blocked int    // calls between opening and closing
}

// observed finds the outage in the target's calls. They were made one after the other, so the client knows which of
// them moved the breaker.
func (s story) observed() (o outage, err error) {
	running, open, closed := 0, false, false
	for i, c := range s.calls[s.target] {
		switch {
		case c.outcome == ignored:
		case open && c.outcome == blocked:
			o.blocked++
		case open && c.outcome == failure:
			o.early = append(o.early, c)
		case open:
			o.closing, open, closed = c, false, true
		case c.outcome == blocked:
			return o, fmt.Errorf("call %d was blocked, and there was no outage", i+1)
		case c.outcome == success:
			running = 0
		default:
			running++
			if running == s.threshold {
				if closed {
					return o, fmt.Errorf("a second outage began with call %d", i+1)
				}
				o.opening, open = c, true
			}
		}
	}
	switch {
	case !closed && !open:
		return o, fmt.Errorf("in %d calls there were never %d failures in a row", len(s.calls[s.target]), s.threshold)
	case !closed:
		return o, errors.New("no call succeeded after the opening")
	case o.blocked == 0:
		return o, errors.New("no call was blocked")
	}
	return o, nil
}

// chain is the states that the target went through.
func (o outage) chain() []string {
	chain := []string{"closed", "open"}
	for range o.early {
		chain = append(chain, "half_open", "open")
	}
	return append(chain, "half_open", "closed")
}

// bounds is within what the time from opening to closing has to be: the breaker moved at some moment of either call.
func (o outage) bounds() (least, most float64) {
	return o.closing.start.Sub(o.opening.end).Seconds(), o.closing.end.Sub(o.opening.start).Seconds()
}

// inOrder yields a map by its keys, so that two verdicts on one story read the same.
func inOrder[T any](m map[string]T) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// outcomes by the label value that counts them.
var outcomes = map[string]outcome{"success": success, "failure": failure, "blocked": blocked, "ignored": ignored}

var gaugeValues = map[string]float64{"closed": 0, "half_open": 1, "open": 2}

func (s story) checkStates(o outage) error {
	var errs []error
	if len(s.states) == 0 || s.states[0] != 0 {
		errs = append(errs, fmt.Errorf("the gauge did not begin at 0 (closed): it was seen at %v", s.states))
	}
	if !slices.Contains(s.states, 2) {
		errs = append(errs, fmt.Errorf("the gauge never stood at 2 (open): it was seen at %v", s.states))
	}
	rest := o.chain()
	for _, seen := range s.states {
		i := slices.IndexFunc(rest, func(state string) bool { return gaugeValues[state] == seen })
		if i < 0 {
			errs = append(errs, fmt.Errorf("the gauge was seen at %v; the breaker went %v", s.states, o.chain()))
			break
		}
		rest = rest[i+1:]
	}
	for service, endpoint := range inOrder(s.endpoints) {
		value, err := s.metrics.value("circuit_breaker_state", "service", service, "endpoint", endpoint)
		if err == nil && value != 0 {
			err = fmt.Errorf("%s stands at %v in the end, want 0 (closed)", service, value)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s story) checkCounters() error {
	var errs []error
	for service, endpoint := range inOrder(s.endpoints) {
		for label, o := range inOrder(outcomes) {
			want := 0
			for _, c := range s.calls[service] {
				if c.outcome == o {
					want++
				}
			}
			errs = append(errs, s.metrics.expect(float64(want), "circuit_breaker_requests_total",
				"service", service, "endpoint", endpoint, "outcome", label))
		}
	}
	if n, want := len(s.metrics["circuit_breaker_requests_total"].GetMetric()), 4*len(s.endpoints); n != want {
		errs = append(errs, fmt.Errorf("circuit_breaker_requests_total has %d series, want %d", n, want))
	}
	return errors.Join(errs...)
}

// expect tells if a counter or gauge has another value.
func (m metrics) expect(want float64, family string, labels ...string) error {
	value, err := m.value(family, labels...)
	if err == nil && value != want {
		err = fmt.Errorf("%s%q is %v, want %v", family, labels, value, want)
	}
	return err
}

func (s story) checkTransitions(o outage) error {
	type edge struct{ from, to string }
	want := map[edge]float64{}
	chain := o.chain()
	for i, to := range chain[1:] {
		want[edge{chain[i], to}]++
	}
	var errs []error
	for service, endpoint := range inOrder(s.endpoints) {
		for from := range inOrder(gaugeValues) {
			for to := range inOrder(gaugeValues) {
				if from == to {
					continue
				}
				expected := 0.0
				if service == s.target {
					expected = want[edge{from, to}]
				}
				errs = append(errs, s.metrics.expect(expected, "circuit_breaker_transitions_total",
					"service", service, "endpoint", endpoint, "from_state", from, "to_state", to))
			}
		}
	}
	return errors.Join(errs...)
}

// slack is what adding up floating-point numbers may be off by.
const slack = 1e-6

func (s story) checkRecovery(o outage) error {
	const family = "circuit_breaker_recovery_duration_seconds"
	series, err := s.metrics.series(family, "service", s.target, "endpoint", s.endpoints[s.target])
	if err != nil {
		return err
	}
	h := series.GetHistogram()
	if n := h.GetSampleCount(); n != 1 {
		return fmt.Errorf("%s has counted %d recoveries, want 1", family, n)
	}
	var errs []error
	least, most := o.bounds()
	if sum := h.GetSampleSum(); sum < least-slack || sum > most+slack {
		errs = append(errs, fmt.Errorf("%s tells of %.3f s; the client saw between %.3f and %.3f s", family, sum, least, most))
	}
	for _, r := range s.records {
		if r.EventType == "circuit_closed" && (r.RecoveryDuration == nil || math.Abs(*r.RecoveryDuration-h.GetSampleSum()) > slack) {
			errs = append(errs, fmt.Errorf("%s tells of %v s, the log record of %v", family, h.GetSampleSum(), text(r.RecoveryDuration)))
		}
	}
	for service := range inOrder(s.endpoints) {
		if service == s.target {
			continue
		}
		for _, m := range s.metrics[family].GetMetric() {
			if hasLabels(m, []string{"service", service}) && m.GetHistogram().GetSampleCount() != 0 {
				errs = append(errs, fmt.Errorf("%s tells of a recovery of %s, which had no outage", family, service))
			}
		}
	}
	return errors.Join(errs...)
}

func text[T any](p *T) string {
	if p == nil {
		return "none"
	}
	return fmt.Sprint(*p)
}

func (s story) checkOpenSeconds(o outage) error {
	var errs []error
	for service, endpoint := range inOrder(s.endpoints) {
		least, most := 0.0, 0.0
		if service == s.target {
			least = s.recovery.Seconds() * float64(1+len(o.early))
			_, most = o.bounds()
		}
		value, err := s.metrics.value("circuit_breaker_open_seconds_total", "service", service, "endpoint", endpoint)
		if err == nil && (value < least-slack || value > most+slack) {
			err = fmt.Errorf("%s was open for %.3f s, want %.3f to %.3f s", service, value, least, most)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// eventTypes are those of the target's records, by the client's account.
func (o outage) eventTypes() []string {
	types := []string{"circuit_opened"}
	for range o.early {
		types = append(types, "circuit_half_open", "circuit_reopened")
	}
	return append(types, "circuit_half_open", "circuit_closed")
}

var forms = map[string]struct{ level, message string }{
	"circuit_opened":    {"WARN", "Circuit breaker opened"},
	"circuit_half_open": {"INFO", "Circuit breaker testing recovery"},
	"circuit_closed":    {"INFO", "Circuit breaker closed"},
	"circuit_reopened":  {"WARN", "Circuit breaker reopened"},
}

func (s story) checkOrder(o outage) error {
	var got []string
	for _, r := range s.records {
		got = append(got, r.EventType)
	}
	if want := o.eventTypes(); !slices.Equal(got, want) {
		return fmt.Errorf("the records are %v, want %v", got, want)
	}
	var errs []error
	chain := o.chain()
	for i, r := range s.records {
		if r.Service != s.target || r.Endpoint != s.endpoints[s.target] {
			errs = append(errs, fmt.Errorf("%s is about %s at %s, want %s at %s", r.EventType, r.Service, r.Endpoint,
				s.target, s.endpoints[s.target]))
		}
		if r.OldState != chain[i] || r.NewState != chain[i+1] {
			errs = append(errs, fmt.Errorf("%s goes from %s to %s, want %s to %s", r.EventType, r.OldState, r.NewState,
				chain[i], chain[i+1]))
		}
		if f := forms[r.EventType]; r.Level != f.level || r.Message != f.message {
			errs = append(errs, fmt.Errorf("%s says %s %q, want %s %q", r.EventType, r.Level, r.Message, f.level, f.message))
		}
		if i > 0 && r.Time.Before(s.records[i-1].Time) {
			errs = append(errs, fmt.Errorf("%s has a time before that of the record before it", r.EventType))
		}
	}
	return errors.Join(errs...)
}

func (s story) checkReasons(o outage) error {
	type reason struct {
		rule                string
		observed, threshold float64
		errorType           string
	}
	delay := s.recovery.Seconds()
	want := map[string]reason{
		"circuit_opened":    {"consecutive_failures", float64(s.threshold), float64(s.threshold), "500"},
		"circuit_half_open": {"delay_elapsed", delay, delay, ""},
		"circuit_reopened":  {"probe_failed", 1, 1, "500"},
		"circuit_closed":    {"probes_succeeded", 1, 1, ""},
	}
	var errs []error
	for _, r := range s.records {
		w, known := want[r.EventType]
		if !known {
			continue // checkOrder tells
		}
		got := reason{r.Reason, r.Observed, r.Threshold, r.ErrorType}
		if r.EventType == "circuit_half_open" && got.observed >= delay {
			got.observed = delay // the time it was open, never less than the delay
		}
		if got != w {
			errs = append(errs, fmt.Errorf("%s gives the reason %+v, want %+v", r.EventType, got, w))
		}
		if r.EventType == "circuit_opened" && (r.FailureCount != s.threshold || r.SuccessCount != 0) {
			errs = append(errs, fmt.Errorf("circuit_opened counts %d failures and %d successes, want %d and 0",
				r.FailureCount, r.SuccessCount, s.threshold))
		}
		if r.EventType == "circuit_closed" && (r.BlockedCount == nil || *r.BlockedCount != o.blocked) {
			errs = append(errs, fmt.Errorf("circuit_closed counts %s blocked calls, the client %d", text(r.BlockedCount), o.blocked))
		}
	}
	return errors.Join(errs...)
}

func (s story) checkOutageID() error {
	if len(s.records) == 0 {
		return errors.New("there are no records")
	}
	var errs []error
	id := s.records[0].OutageID
	for _, r := range s.records {
		if r.OutageID == "" || r.OutageID != id {
			errs = append(errs, fmt.Errorf("%s has the outage id %q, the first record %q", r.EventType, r.OutageID, id))
		}
	}
	return errors.Join(errs...)
}

func (s story) checkTraces(o outage) error {
	var errs []error
	early := o.early
	for _, r := range s.records {
		by := o.opening
		switch r.EventType {
		case "circuit_reopened":
			if len(early) == 0 {
				continue // checkOrder tells
			}
			by, early = early[0], early[1:]
		case "circuit_closed":
			by = o.closing
		}
		if r.TraceID != by.traceID {
			errs = append(errs, fmt.Errorf("%s has the trace id %q; the call that did it had %q", r.EventType, r.TraceID, by.traceID))
		}
		if len(r.SpanID) != 16 {
			errs = append(errs, fmt.Errorf("%s has the span id %q", r.EventType, r.SpanID))
		}
	}
	if len(s.records) == 0 {
		errs = append(errs, errors.New("there are no records"))
	}
	return errors.Join(errs...)
}

func (s story) checkHealth() error {
	var errs []error
	for service, endpoint := range inOrder(s.endpoints) {
		e, found := s.health[service][endpoint]
		if !found {
			errs = append(errs, fmt.Errorf("%s at %s is missing", service, endpoint))
			continue
		}
		if e.State != "closed" || !e.Healthy {
			errs = append(errs, fmt.Errorf("%s is %s, healthy: %t; want closed, healthy", service, e.State, e.Healthy))
		}
		var got, want []string
		for _, t := range e.Transitions {
			got = append(got, t.OldState+" "+t.NewState+" "+t.TraceID)
		}
		if service == s.target {
			for _, r := range s.records {
				want = append(want, r.OldState+" "+r.NewState+" "+r.TraceID)
			}
			want = want[max(0, len(want)-10):] // as many as the page keeps
		}
		if !slices.Equal(got, want) {
			errs = append(errs, fmt.Errorf("%s went %q, by its log records %q", service, got, want))
		}
	}
	return errors.Join(errs...)
}
