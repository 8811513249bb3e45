package loadtest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/cmd/demo/internal/faulty"
)

// plot is a scenario: what the dependency does and when, and the story that a breaker then has to tell.
type plot struct {
	name  string
	acts  []act
	story storyline
}

// act is one fault, for a share of the whole time.
type act struct {
	fault faulty.Fault
	share float64
}

// storyline is what the breaker's story has to be. Whatever opened has to have closed again.
type storyline struct {
	least, most int    // outages
	rule        string // that opened; empty is any
}

const many = 1 << 30

var plots = []plot{
	{"healthy", []act{{faulty.None, 1}}, storyline{0, 0, ""}},
	{"outage", []act{{faulty.None, .2}, {faulty.Errors, .15}, {faulty.Refuse, .15}, {faulty.None, .5}}, storyline{1, 1, ""}},
	{"flapping", []act{{faulty.None, .15}, {faulty.Errors, .15}, {faulty.None, .2}, {faulty.Errors, .15}, {faulty.None, .35}},
		storyline{2, many, ""}},
	{"slow", []act{{faulty.None, .2}, {faulty.Latency, .4}, {faulty.None, .4}}, storyline{1, many, breaker.RuleSlowCallRate}},
	{"brownout", []act{{faulty.None, .2}, {faulty.Brownout, .4}, {faulty.None, .4}}, storyline{1, many, breaker.RuleFailureRate}},
}

// Scenarios are the names of all there are.
func Scenarios() (names []string) {
	for _, p := range plots {
		names = append(names, p.name)
	}
	return names
}

func find(name string) (plot, bool) {
	i := slices.IndexFunc(plots, func(p plot) bool { return p.name == name })
	if i < 0 {
		return plot{}, false
	}
	return plots[i], true
}

// healthy tells that nothing is to misbehave.
func (p plot) healthy() bool { return len(p.acts) == 1 && p.acts[0].fault == faulty.None }

func (p plot) slow() bool {
	return slices.ContainsFunc(p.acts, func(a act) bool { return a.fault == faulty.Latency })
}

// Phase is what the dependency did for a while.
type Phase struct {
	Start float64 `json:"start_seconds"` // since the start
	Fault string  `json:"fault"`
}

// play switches the faults on time, and hands on each as it is on, until the last act is on or ctx ends,
// whose error it then gives.
func (p plot) play(ctx context.Context, began time.Time, whole time.Duration,
	set func(context.Context, faulty.Fault) error, on func(Phase)) error {
	due := began
	for _, a := range p.acts {
		waiting, cancel := context.WithDeadline(ctx, due)
		<-waiting.Done()
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := set(ctx, a.fault); err != nil {
			return fmt.Errorf("the fault %s could not be switched: %w", a.fault, err)
		}
		on(Phase{Start: time.Since(began).Seconds(), Fault: string(a.fault)})
		due = due.Add(time.Duration(a.share * float64(whole)))
	}
	return nil
}
