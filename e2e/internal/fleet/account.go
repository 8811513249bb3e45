package fleet

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// bounds of the recovery histogram's buckets, in seconds, as docs/telemetry.md has them.
var bounds = []float64{0.1, 0.25, 0.5, 1.5, 2.5, 7.5, 15.5, 30.5, 60.5, 120.5, 300.5, 600.5, 1800.5, math.Inf(1)}

func (i *instance) account() (Account, error) {
	a := Account{
		Name: i.name, Gateway: i.gateway, Accepted: slices.Clone(i.accepted), Failed: i.failed,
		Series: map[string]Value{},
	}
	if err := i.flush(); err != nil {
		return a, err
	}
	var errs []error
	for _, c := range i.clients {
		if err := c.account(a.Series); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", i.name.Instance, c.endpoint, err))
		}
	}
	return a, errors.Join(errs...)
}

// account adds a client's series. Calls, transitions, the state, recoveries and times are of its own account; what only
// the breaker knows is of its snapshot.
func (c *client) account(series map[string]Value) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.breaker.Snapshot()
	if own, its := c.outcomes, [...]uint64{s.Success, s.Failure, s.Blocked, s.Ignored}; own != its {
		return fmt.Errorf("the breaker has counted %v calls by outcome, and %v were made", its, own)
	}
	if c.edges != s.Edges || c.state != s.State {
		return fmt.Errorf("the breaker has %v, by transitions %v, and told of %v, %v", s.State, s.Edges, c.state, c.edges)
	}
	put := func(metric string, low, high float64, labels ...string) {
		series[seriesName(metric, c.service, c.endpoint, labels...)] = Value{low, high}
	}
	exactly := func(metric string, value float64, labels ...string) { put(metric, value, value, labels...) }
	exactly("circuit_breaker_state", float64(c.state))
	for n, outcome := range outcomes {
		exactly("circuit_breaker_requests_total", float64(c.outcomes[n]), "outcome", outcome)
	}
	for from := range c.edges {
		for to := range c.edges[from] {
			if from != to {
				exactly("circuit_breaker_transitions_total", float64(c.edges[from][to]),
					"from_state", breaker.State(from).String(), "to_state", breaker.State(to).String())
			}
		}
	}
	exactly("circuit_breaker_failures_current", float64(s.ConsecutiveFailures))
	exactly("circuit_breaker_override", float64(s.Override))
	exactly("circuit_breaker_would_open_total", float64(s.WouldOpen))
	exactly("circuit_breaker_would_block_total", float64(s.WouldBlock))
	exactly("circuit_breaker_events_dropped_total", float64(s.EventsDropped))
	put("circuit_breaker_open_seconds_total", c.open[0].Seconds(), c.open[1].Seconds())
	if c.outcomes[failure] > 0 {
		put("circuit_breaker_last_failure_time", unix(c.failed[0]), unix(c.failed[1]))
	}
	if len(c.recoveries) > 0 {
		c.histogram(exactly)
	}
	return nil
}

func (c *client) histogram(exactly func(metric string, value float64, labels ...string)) {
	const name = "circuit_breaker_recovery_duration_seconds"
	sum := 0.0
	for _, r := range c.recoveries {
		sum += r.Seconds()
	}
	exactly(name+"_sum", sum)
	exactly(name+"_count", float64(len(c.recoveries)))
	for _, bound := range bounds {
		n := 0
		for _, r := range c.recoveries {
			if r.Seconds() <= bound {
				n++
			}
		}
		exactly(name+"_bucket", float64(n), "le", strconv.FormatFloat(bound, 'f', -1, 64))
	}
}

func unix(t time.Time) float64 { return float64(t.UnixNano()) / float64(time.Second) }

// seriesName is a series as Prometheus writes it, without job and instance. The labels are a name and a value by turns.
func seriesName(metric, service, endpoint string, labels ...string) string {
	all := []string{fmt.Sprintf("endpoint=%q", endpoint), fmt.Sprintf("service=%q", service)}
	for n := 0; n < len(labels); n += 2 {
		all = append(all, fmt.Sprintf("%s=%q", labels[n], labels[n+1]))
	}
	slices.Sort(all)
	return metric + "{" + strings.Join(all, ", ") + "}"
}
