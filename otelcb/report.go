package otelcb

import (
	"fmt"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
)

// defaultCardinalityLimit is how many attribute sets of one instrument the OpenTelemetry SDK keeps apart unless it is
// told otherwise.
const defaultCardinalityLimit = 2000

// report tells the OpenTelemetry error handler, on a goroutine of its own, for the handler is foreign code and a
// collection waits.
func report(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	go func() {
		defer func() { _ = recover() }()
		otel.Handle(err)
	}()
}

// trouble is what is reported when it begins, and not again before it has ended. A collection's lock guards it.
type trouble struct{ reported bool }

func (t *trouble) report(err error) {
	if err != nil && !t.reported {
		report("%w (reported once until it is well again)", err)
	}
	t.reported = err != nil
}

// limit is an SDK's limit of attribute sets.
type limit struct {
	mu       sync.Mutex
	provider metric.MeterProvider
	global   bool // the provider is the global one
	given    *int // by an option; 0: none
	told     map[string]bool
	names    map[name]bool // that have a recovery, until it is told that there are too many
}

func limitOf(p metric.MeterProvider) int {
	if says, ok := p.(interface{ CardinalityLimit() int }); ok {
		return max(0, says.CardinalityLimit())
	}
	return defaultCardinalityLimit
}

// most is the limit now, 0 for none. That of the global provider is asked each time, for an SDK may be set late.
func (l *limit) most() int {
	switch {
	case l.given != nil:
		return *l.given
	case l.global:
		return limitOf(otel.GetMeterProvider())
	default:
		return limitOf(l.provider)
	}
}

func (l *limit) set(most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.given = &most
}

// passed reports, once, that an instrument has so many series that the SDK may not keep them apart. Its last one it
// keeps for all that have no place.
func (l *limit) passed(instrument string, series int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passedLocked(instrument, series)
}

func (l *limit) passedLocked(instrument string, series int) {
	most := l.most()
	if most == 0 || series < most || l.told[instrument] {
		return
	}
	if l.told == nil {
		l.told = map[string]bool{}
	}
	l.told[instrument] = true
	report("otelcb: %s has %d series, and an SDK with a cardinality limit of %d adds up what is beyond it in one marked "+
		"otel.metric.overflow: raise that limit (where it is raised already, say so by otelcb.WithCardinalityLimit), or "+
		"have fewer endpoints", instrument, series, most)
}

// recovered counts a name that the recovery histogram has, for an SDK keeps that for good.
func (l *limit) recovered(n name) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const instrument = "circuit_breaker.recovery.duration"
	if l.told[instrument] || l.most() == 0 {
		return
	}
	if l.names == nil {
		l.names = map[name]bool{}
	}
	l.names[n] = true
	if l.passedLocked(instrument, len(l.names)); l.told[instrument] {
		l.names = nil
	}
}
