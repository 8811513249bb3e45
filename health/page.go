package health

import (
	"strconv"
	"strings"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// page is the answer. Names are a contract: adding is free, renaming breaks who reads it.
type page struct {
	Timestamp       time.Time                   `json:"timestamp"`
	CircuitBreakers map[string]map[string]entry `json:"circuit_breakers"` // by service, then endpoint
	Performance     performance                 `json:"performance"`      // of all that are shown, together
}

// entry is one breaker at one coherent moment. Counts are of calls since its creation.
type entry struct {
	Engine              string        `json:"engine,omitempty"` // of a breaker of another make, which an adapter shows
	State               string        `json:"state"`
	Healthy             bool          `json:"healthy"` // closed or half-open
	Override            string        `json:"override"`
	OverrideNote        string        `json:"override_note,omitempty"`
	WouldOpenCount      uint64        `json:"would_open_count"`  // openings that there would have been, had it not been
	WouldBlockCount     uint64        `json:"would_block_count"` // disabled; and calls blocked
	SuccessCount        uint64        `json:"success_count"`
	FailureCount        uint64        `json:"failure_count"`
	BlockedCount        uint64        `json:"blocked_count"`
	IgnoredCount        uint64        `json:"ignored_count"`
	ConsecutiveFailures int           `json:"consecutive_failures"`
	LastFailureTime     *time.Time    `json:"last_failure_time"` // null before the first
	OutageID            string        `json:"outage_id,omitempty"`
	OpenedAt            *time.Time    `json:"opened_at,omitempty"` // when the outage began that is going on
	OpenSeconds         float64       `json:"open_seconds"`        // in all
	NextProbeTime       *time.Time    `json:"next_probe_time,omitempty"`
	NextProbeInSeconds  *float64      `json:"next_probe_in_seconds,omitempty"`
	EventsDropped       uint64        `json:"events_dropped"`
	Configuration       configuration `json:"configuration"`
	LastTransitions     []transition  `json:"last_transitions"` // oldest first
	Performance         performance   `json:"performance"`
}

// configuration is what is in force, defaults filled in. A rule that is not in force is left out, but for
// failure_threshold, which is 0 then. Of a breaker of another make, what is not known is left out, whatever it is.
type configuration struct {
	FailureThreshold   *int    `json:"failure_threshold,omitempty"`
	RecoveryTimeout    string  `json:"recovery_timeout,omitempty"`
	SuccessThreshold   int     `json:"success_threshold,omitempty"`
	FailureRate        float64 `json:"failure_rate,omitempty"`
	SlowCallRate       float64 `json:"slow_call_rate,omitempty"`
	SlowCallDuration   string  `json:"slow_call_duration,omitempty"`
	WindowCalls        int     `json:"window_calls,omitempty"`
	WindowDuration     string  `json:"window_duration,omitempty"`
	MinCalls           int     `json:"min_calls,omitempty"`
	BackoffFactor      float64 `json:"backoff_factor,omitempty"`
	MaxRecoveryTimeout string  `json:"max_recovery_timeout,omitempty"`
	Jitter             float64 `json:"jitter,omitempty"`
	MaxProbes          int     `json:"max_probes,omitempty"`
	ProbeTimeout       string  `json:"probe_timeout,omitempty"`
}

func (h *handler) collect(now time.Time, wanted filter) page {
	p := page{Timestamp: stamp(now), CircuitBreakers: make(map[string]map[string]entry)}
	cores, memory := h.rates.process()
	var all flow
	names := make(map[name]int)             // of the breakers so far
	seen := make(map[*breaker.Breaker]bool) // a breaker can be in several groups
	for _, g := range h.groups {
		for _, b := range g.source.breakers() {
			if seen[b] {
				continue
			}
			seen[b] = true
			s := b.Snapshot()
			called := name{validUTF8(s.Service), validUTF8(s.Endpoint)}
			names[called]++ // also of those that are left out, so that a filter renames none
			if !wanted.takes(called.service, s.State) {
				continue
			}
			calls := h.rates.of(b, s, time.Now())
			all.add(calls)
			e := entryOf(s)
			e.LastTransitions = g.of(s.Service, s.Endpoint)
			e.Performance = calls.performance(cores, memory)
			p.add(called, names[called], e)
		}
	}
	p.Performance = all.performance(cores, memory)
	return p
}

// validUTF8 gives a text as JSON will write it.
func validUTF8(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// add files an entry under its names, as the number'th that has them, without hiding one.
func (p page) add(called name, number int, e entry) {
	service, endpoint := called.service, called.endpoint
	byEndpoint := p.CircuitBreakers[service]
	if byEndpoint == nil {
		byEndpoint = make(map[string]entry)
		p.CircuitBreakers[service] = byEndpoint
	}
	key := endpoint
	for {
		if number > 1 {
			key = endpoint + " #" + strconv.Itoa(number)
		}
		if _, taken := byEndpoint[key]; !taken {
			break
		}
		number++ // somebody has called his so
	}
	byEndpoint[key] = e
}

func entryOf(s breaker.Snapshot) entry {
	e := entry{
		Engine: s.Engine, State: s.State.String(), Healthy: s.State != breaker.Open,
		Override: s.Override.String(), OverrideNote: s.OverrideNote,
		WouldOpenCount: s.WouldOpen, WouldBlockCount: s.WouldBlock,
		SuccessCount: s.Success, FailureCount: s.Failure, BlockedCount: s.Blocked, IgnoredCount: s.Ignored,
		ConsecutiveFailures: s.ConsecutiveFailures, LastFailureTime: stampIfAny(s.LastFailure),
		OutageID: s.OutageID, OpenedAt: stampIfAny(s.OpenedAt), OpenSeconds: s.OpenTime.Seconds(),
		NextProbeTime: stampIfAny(s.RetryAt), EventsDropped: s.EventsDropped,
		Configuration: configurationOf(&s),
	}
	if e.NextProbeTime != nil {
		seconds := s.RetryAfter.Seconds()
		e.NextProbeInSeconds = &seconds
	}
	return e
}

func configurationOf(s *breaker.Snapshot) configuration {
	c := &s.Config
	known := configuration{
		RecoveryTimeout: ifAny(c.RecoveryTimeout), SuccessThreshold: c.SuccessThreshold, FailureRate: c.FailureRate,
		SlowCallRate: c.SlowCallRate, SlowCallDuration: ifAny(c.SlowCallDuration), WindowCalls: c.WindowCalls,
		WindowDuration: ifAny(c.WindowDuration), MinCalls: c.MinCalls, BackoffFactor: c.BackoffFactor,
		MaxRecoveryTimeout: ifAny(c.MaxRecoveryTimeout), Jitter: c.Jitter, MaxProbes: c.MaxProbes,
		ProbeTimeout: ifAny(c.ProbeTimeout),
	}
	if s.Engine == "" || c.FailureThreshold > 0 {
		known.FailureThreshold = &c.FailureThreshold
	}
	return known
}

func ifAny(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// stamp gives a time as the page shows it; a millisecond is as much as anyone can use.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func stampIfAny(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = stamp(t)
	return &t
}
