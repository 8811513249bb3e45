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
}

// entry is one breaker at one coherent moment. Counts are of calls since its creation.
type entry struct {
	State               string        `json:"state"`
	Healthy             bool          `json:"healthy"` // closed or half-open
	Override            string        `json:"override"`
	OverrideNote        string        `json:"override_note,omitempty"`
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
// failure_threshold, which is 0 then.
type configuration struct {
	FailureThreshold   int     `json:"failure_threshold"`
	RecoveryTimeout    string  `json:"recovery_timeout"`
	SuccessThreshold   int     `json:"success_threshold"`
	FailureRate        float64 `json:"failure_rate,omitempty"`
	SlowCallRate       float64 `json:"slow_call_rate,omitempty"`
	SlowCallDuration   string  `json:"slow_call_duration,omitempty"`
	WindowCalls        int     `json:"window_calls,omitempty"`
	WindowDuration     string  `json:"window_duration,omitempty"`
	MinCalls           int     `json:"min_calls,omitempty"`
	BackoffFactor      float64 `json:"backoff_factor"`
	MaxRecoveryTimeout string  `json:"max_recovery_timeout"`
	Jitter             float64 `json:"jitter,omitempty"`
	MaxProbes          int     `json:"max_probes"`
	ProbeTimeout       string  `json:"probe_timeout"`
}

func (h *handler) collect(now time.Time) page {
	p := page{Timestamp: stamp(now), CircuitBreakers: make(map[string]map[string]entry)}
	shown := make(map[*breaker.Breaker]bool) // a breaker can be in several groups
	for _, g := range h.groups {
		for _, b := range g.source.breakers() {
			if shown[b] {
				continue
			}
			shown[b] = true
			s := b.Snapshot()
			e := entryOf(s)
			e.LastTransitions = g.of(s.Service, s.Endpoint)
			e.Performance = h.rates.of(b, s, time.Now())
			p.add(s.Service, s.Endpoint, e)
		}
	}
	return p
}

// add files an entry under its names, as JSON will write them, without hiding one that has the same.
func (p page) add(service, endpoint string, e entry) {
	service, endpoint = strings.ToValidUTF8(service, "\uFFFD"), strings.ToValidUTF8(endpoint, "\uFFFD")
	byEndpoint := p.CircuitBreakers[service]
	if byEndpoint == nil {
		byEndpoint = make(map[string]entry)
		p.CircuitBreakers[service] = byEndpoint
	}
	key := endpoint
	for n := 2; ; n++ {
		if _, taken := byEndpoint[key]; !taken {
			break
		}
		key = endpoint + " #" + strconv.Itoa(n)
	}
	byEndpoint[key] = e
}

func entryOf(s breaker.Snapshot) entry {
	e := entry{
		State: s.State.String(), Healthy: s.State != breaker.Open,
		Override: s.Override.String(), OverrideNote: s.OverrideNote,
		SuccessCount: s.Success, FailureCount: s.Failure, BlockedCount: s.Blocked, IgnoredCount: s.Ignored,
		ConsecutiveFailures: s.ConsecutiveFailures, LastFailureTime: stampIfAny(s.LastFailure),
		OutageID: s.OutageID, OpenedAt: stampIfAny(s.OpenedAt), OpenSeconds: s.OpenTime.Seconds(),
		NextProbeTime: stampIfAny(s.RetryAt), EventsDropped: s.EventsDropped,
		Configuration: configurationOf(s.Config),
	}
	if e.NextProbeTime != nil {
		seconds := s.RetryAfter.Seconds()
		e.NextProbeInSeconds = &seconds
	}
	return e
}

func configurationOf(c breaker.Config) configuration {
	return configuration{
		FailureThreshold: c.FailureThreshold, RecoveryTimeout: c.RecoveryTimeout.String(),
		SuccessThreshold: c.SuccessThreshold, FailureRate: c.FailureRate, SlowCallRate: c.SlowCallRate,
		SlowCallDuration: ifAny(c.SlowCallDuration), WindowCalls: c.WindowCalls,
		WindowDuration: ifAny(c.WindowDuration), MinCalls: c.MinCalls, BackoffFactor: c.BackoffFactor,
		MaxRecoveryTimeout: c.MaxRecoveryTimeout.String(), Jitter: c.Jitter, MaxProbes: c.MaxProbes,
		ProbeTimeout: c.ProbeTimeout.String(),
	}
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
