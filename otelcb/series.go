package otelcb

import (
	"strings"
	"time"
	"weak"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/otelbreaker/otelbreaker/breaker"
)

var (
	states   = [...]breaker.State{breaker.Closed, breaker.HalfOpen, breaker.Open}
	outcomes = [...]string{"success", "failure", "blocked", "ignored"}

	// edges are the pairs of different states.
	edges = [...]edge{
		{breaker.Closed, breaker.HalfOpen}, {breaker.Closed, breaker.Open}, {breaker.HalfOpen, breaker.Closed},
		{breaker.HalfOpen, breaker.Open}, {breaker.Open, breaker.Closed}, {breaker.Open, breaker.HalfOpen},
	}
)

type edge struct{ from, to breaker.State }

// name is what breakers are told apart by in metrics.
type name struct{ service, endpoint string }

func nameOf(s *breaker.Snapshot) name {
	return name{valid(s.Service), valid(s.Endpoint)}
}

// valid makes a text fit for a label. One that is not valid UTF-8 would make an exporter refuse a whole batch.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func (n name) attributes(more ...attribute.KeyValue) []attribute.KeyValue {
	return append([]attribute.KeyValue{
		attribute.String("service", n.service), attribute.String("endpoint", n.endpoint)}, more...)
}

// totals are the counters of one breaker, or of several.
type totals struct {
	outcomes                             [len(outcomes)]uint64
	edges                                [len(states)][len(states)]uint64
	slow, wouldOpen, wouldBlock, dropped uint64
	open                                 time.Duration
}

func totalsOf(s *breaker.Snapshot) totals {
	return totals{
		outcomes: [...]uint64{s.Success, s.Failure, s.Blocked, s.Ignored},
		edges:    s.Edges,
		slow:     s.Slow, wouldOpen: s.WouldOpen, wouldBlock: s.WouldBlock, dropped: s.EventsDropped,
		open: s.OpenTime,
	}
}

// add adds u once, or takes it off again: times is 1 or -1.
func (t *totals) add(u *totals, times int) {
	n := uint64(times) // for -1, the arithmetic modulo 2^64 takes off
	for i := range u.outcomes {
		t.outcomes[i] += n * u.outcomes[i]
	}
	for from := range u.edges {
		for to := range u.edges[from] {
			t.edges[from][to] += n * u.edges[from][to]
		}
	}
	t.slow += n * u.slow
	t.wouldOpen += n * u.wouldOpen
	t.wouldBlock += n * u.wouldBlock
	t.dropped += n * u.dropped
	t.open += time.Duration(times) * u.open
}

// gauges are what is worst among the breakers of one name.
type gauges struct {
	state       breaker.State
	override    breaker.Override
	failures    int
	lastFailure time.Time
	slowCounted bool
}

func (g *gauges) worsen(s *breaker.Snapshot) {
	g.state = max(g.state, s.State)
	g.override = max(g.override, s.Override)
	g.failures = max(g.failures, s.ConsecutiveFailures)
	if s.LastFailure.After(g.lastFailure) {
		g.lastFailure = s.LastFailure
	}
	g.slowCounted = g.slowCounted || s.Config.SlowCallDuration > 0
}

// series is all that is observed under one name.
type series struct {
	name
	round  uint64 // of the collection that last found a breaker of the name
	live   int    // how many it found
	now    gauges // and what they had, all together
	counts totals
	shared bool // it was reported that there are several

	ended   totals                                   // what breakers that are gone had counted
	gone    map[weak.Pointer[breaker.Breaker]]totals // those of them that may come back, with their share
	pruneAt int                                      // at this size, gone is searched for those that exist no more
	endedIn uint64                                   // the first round that found none of the name; 0 while there is one

	shown *labels // nil once the series has ended
}

// labels are the attribute sets of a series.
type labels struct {
	plain     []metric.ObserveOption
	byOutcome [len(outcomes)][]metric.ObserveOption
	byEdge    [len(edges)][]metric.ObserveOption
}

func newLabels(n name) *labels {
	with := func(more ...attribute.KeyValue) []metric.ObserveOption {
		return []metric.ObserveOption{metric.WithAttributeSet(attribute.NewSet(n.attributes(more...)...))}
	}
	l := &labels{plain: with()}
	for i, outcome := range outcomes {
		l.byOutcome[i] = with(attribute.String("outcome", outcome))
	}
	for i, e := range edges {
		l.byEdge[i] = with(
			attribute.String("from_state", e.from.String()), attribute.String("to_state", e.to.String()))
	}
	return l
}

func newSeries(n name) *series {
	return &series{name: n, gone: map[weak.Pointer[breaker.Breaker]]totals{}}
}

func (s *series) add(snapshot *breaker.Snapshot, round uint64) {
	if s.round != round {
		s.round, s.live, s.now, s.counts = round, 0, gauges{}, totals{}
	}
	s.live++
	s.now.worsen(snapshot)
	t := totalsOf(snapshot)
	s.counts.add(&t, 1)
}

// retire keeps what a breaker that is gone had counted.
func (s *series) retire(b *breaker.Breaker) {
	if len(s.gone) >= s.pruneAt {
		s.prune()
		s.pruneAt = 2*len(s.gone) + 16
	}
	last := b.Snapshot()
	t := totalsOf(&last)
	s.ended.add(&t, 1)
	s.gone[weak.Make(b)] = t
}

// prune lets go of breakers that exist no more and so cannot come back.
func (s *series) prune() {
	for p := range s.gone {
		if p.Value() == nil {
			delete(s.gone, p)
		}
	}
}

// revive has a breaker that may have been gone counted as one that is there.
func (s *series) revive(b *breaker.Breaker) {
	p := weak.Make(b)
	if t, found := s.gone[p]; found {
		s.ended.add(&t, -1)
		delete(s.gone, p)
	}
}

// observe shows the series to a reader.
func (s *series) observe(o metric.Observer, i *instruments, r *reader) {
	if s.shown == nil {
		s.shown = newLabels(s.name)
	}
	labels := s.shown.plain
	t := s.counts
	t.add(&s.ended, 1)
	if base, found := r.base[s]; found {
		t.add(&base, -1)
	}
	o.ObserveInt64(i.state, int64(s.now.state), labels...)
	for k, e := range edges {
		o.ObserveInt64(i.transitions, int64(t.edges[e.from][e.to]), s.shown.byEdge[k]...)
	}
	for k := range outcomes {
		o.ObserveInt64(i.requests, int64(t.outcomes[k]), s.shown.byOutcome[k]...)
	}
	o.ObserveInt64(i.failures, int64(s.now.failures), labels...)
	if !s.now.lastFailure.IsZero() {
		o.ObserveFloat64(i.lastFailure, float64(s.now.lastFailure.UnixNano())/float64(time.Second), labels...)
	}
	o.ObserveFloat64(i.open, t.open.Seconds(), labels...)
	// What was counted stays while the series does, or a delta reader would get it twice when it comes back.
	if s.now.slowCounted || t.slow > 0 {
		o.ObserveInt64(i.slowCalls, int64(t.slow), labels...)
	}
	o.ObserveInt64(i.override, int64(s.now.override), labels...)
	o.ObserveInt64(i.wouldOpen, int64(t.wouldOpen), labels...)
	o.ObserveInt64(i.wouldBlock, int64(t.wouldBlock), labels...)
	o.ObserveInt64(i.dropped, int64(t.dropped), labels...)
}
