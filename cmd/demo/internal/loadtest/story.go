package loadtest

import (
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Transition is one of a breaker's.
type Transition struct {
	At        float64 `json:"at_seconds"` // since the start
	Endpoint  string  `json:"endpoint"`
	From      string  `json:"from_state"`
	To        string  `json:"to_state"`
	Rule      string  `json:"reason"`
	Observed  float64 `json:"observed"`
	Threshold float64 `json:"threshold"`
	ErrorType string  `json:"error_type,omitempty"`
	OutageID  string  `json:"outage_id,omitempty"`
}

// Outage is from an opening to the closing that ends it, if it came to that.
type Outage struct {
	ID        string   `json:"outage_id"`
	Endpoint  string   `json:"endpoint"`
	Opened    float64  `json:"opened_at_seconds"` // since the start
	Rule      string   `json:"reason"`
	Observed  float64  `json:"observed"`
	Threshold float64  `json:"threshold"`
	ErrorType string   `json:"error_type,omitempty"`
	Reopened  int      `json:"reopened"`
	Blocked   uint64   `json:"blocked"`
	Closed    *float64 `json:"closed_at_seconds"`         // null: not yet
	Recovery  *float64 `json:"recovery_duration_seconds"` // from opened to closed
}

// chronicle hears what breakers have to tell, passes it on to people, and keeps it.
type chronicle struct {
	began time.Time
	out   *progress

	mu     sync.Mutex
	events []breaker.Event
}

// OnTransition makes it a [breaker.Listener].
func (c *chronicle) OnTransition(e breaker.Event) {
	c.mu.Lock()
	c.events = append(c.events, e)
	c.mu.Unlock()
	c.out.say(e.At.Sub(c.began), "%s", sentence(transition(e, c.began)))
}

func transition(e breaker.Event, began time.Time) Transition {
	return Transition{
		At: e.At.Sub(began).Seconds(), Endpoint: e.Endpoint, From: e.From.String(), To: e.To.String(), OutageID: e.OutageID,
		Rule: e.Reason.Rule, Observed: e.Reason.Observed, Threshold: e.Reason.Threshold, ErrorType: e.ErrorType,
	}
}

// sentence tells people of a transition.
func sentence(t Transition) string {
	what := map[[2]string]string{
		{"closed", "open"}:      "the breaker has opened",
		{"open", "half_open"}:   "the breaker is half-open",
		{"half_open", "open"}:   "the breaker has reopened",
		{"half_open", "closed"}: "the breaker has closed",
	}[[2]string{t.From, t.To}]
	return what + ": " + reason(t.Rule, t.Observed, t.Threshold, t.ErrorType)
}

func reason(rule string, observed, threshold float64, errorType string) string {
	text := fmt.Sprintf("%s, %.3g of %.3g", rule, observed, threshold)
	if errorType != "" {
		text += " (" + errorType + ")"
	}
	return text
}

// outages puts the transitions together. blocked is how many calls each endpoint's breaker has blocked in all.
func (c *chronicle) outages(blocked map[string]uint64) (all []Transition, outages []Outage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, outages = []Transition{}, []Outage{}
	open := make(map[string]int) // by endpoint, the place among the outages
	left := maps.Clone(blocked)
	for _, e := range c.events {
		t := transition(e, c.began)
		all = append(all, t)
		i, known := open[t.Endpoint] // not where a full queue has lost the opening
		switch {
		case e.From == breaker.Closed && e.To == breaker.Open:
			open[t.Endpoint] = len(outages)
			outages = append(outages, Outage{
				ID: t.OutageID, Endpoint: t.Endpoint, Opened: t.At,
				Rule: t.Rule, Observed: t.Observed, Threshold: t.Threshold, ErrorType: t.ErrorType,
			})
		case !known:
		case e.From == breaker.HalfOpen && e.To == breaker.Open:
			outages[i].Reopened++
		case e.To == breaker.Closed:
			o := &outages[i]
			recovery := e.RecoveryDuration.Seconds()
			o.Closed, o.Recovery, o.Blocked = &t.At, &recovery, e.BlockedCount
			left[t.Endpoint] -= e.BlockedCount
			delete(open, t.Endpoint)
		}
	}
	for endpoint, i := range open { // what is left over was blocked in the one that goes on
		outages[i].Blocked = left[endpoint]
	}
	return all, outages
}

// progress says what happens while it happens, with the time since the start.
type progress struct {
	mu  sync.Mutex
	out io.Writer
}

func (p *progress) say(at time.Duration, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "%6.2f s  %s\n", at.Seconds(), fmt.Sprintf(format, args...))
}
