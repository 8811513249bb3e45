package notify

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// outcome is what became of a message.
type outcome int

const (
	sent outcome = iota
	failed
	dropped
)

var outcomes = [...]string{sent: "sent", failed: "failed", dropped: "dropped"}

// tally counts the messages of all notifiers of one name. It outlives them: the counter must not fall when one of two
// is closed, and what the last sends brought is still to be collected.
type tally struct {
	counts [len(outcomes)]atomic.Int64
	sets   [len(outcomes)]metric.MeasurementOption
}

func newTally(channel string) *tally {
	t := &tally{}
	for o, name := range outcomes {
		t.sets[o] = metric.WithAttributeSet(attribute.NewSet(
			attribute.String("channel", channel), attribute.String("outcome", name)))
	}
	return t
}

// meters has the tallies of each meter provider, by name.
var meters = struct {
	sync.Mutex
	of map[metric.MeterProvider]*tallies
}{of: map[metric.MeterProvider]*tallies{}}

type tallies struct {
	sync.Mutex
	of map[string]*tally
}

// tallyOf gives the tally of a name under a provider, and has it observed from the first time on.
func tallyOf(p metric.MeterProvider, channel string) (*tally, error) {
	all := &tallies{of: map[string]*tally{}}
	if reflect.ValueOf(p).Comparable() { // one that is not cannot be found again
		meters.Lock()
		defer meters.Unlock()
		if known := meters.of[p]; known != nil {
			return known.get(channel), nil
		}
	}
	meter := p.Meter(ScopeName, metric.WithInstrumentationVersion(Version))
	counter, err := meter.Int64ObservableCounter("circuit_breaker.notifications", metric.WithUnit("{notification}"),
		metric.WithDescription("Notifications of circuit breakers by what became of them: sent, failed after retries, or dropped"))
	if err == nil {
		_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
			all.Lock()
			defer all.Unlock()
			for _, t := range all.of {
				for i := range t.counts {
					o.ObserveInt64(counter, t.counts[i].Load(), t.sets[i])
				}
			}
			return nil
		}, counter)
	}
	if err != nil {
		return nil, fmt.Errorf("notify: the meter provider refuses the counter: %w", err)
	}
	if reflect.ValueOf(p).Comparable() {
		meters.of[p] = all
	}
	return all.get(channel), nil
}

func (all *tallies) get(channel string) *tally {
	all.Lock()
	defer all.Unlock()
	t := all.of[channel]
	if t == nil {
		t = newTally(channel)
		all.of[channel] = t
	}
	return t
}
