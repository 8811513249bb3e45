package otelcb

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// hub is all that is observed under one meter provider. It observes every series once, whatever the sources, since an
// SDK adds up what is observed twice.
type hub struct {
	provider    metric.MeterProvider
	instruments *instruments
	callback    metric.Registration
	observed    atomic.Pointer[[]*Registration] // replaced under the lock of hubs

	mu       sync.Mutex // one collection at a time
	round    uint64     // its number
	members  map[*breaker.Breaker]*member
	series   map[name]*series
	order    []*series // of this round, as they came
	clashed  bool      // it was reported that sources overlap
	readers  map[uintptr]*reader
	alike    bool // nothing tells the readers apart
	limit    limit
	panicked trouble
}

// mostEnded bounds the series that are remembered though they have ended, for readers that have not collected since, and
// for breakers that may be observed again.
const mostEnded = 1000

// member is a breaker that was there at the last collection.
type member struct {
	series *series
	round  uint64
	by     *Registration // that found it first in this round
}

// hubs are those of all providers in use. Its lock is never wanted by a collection.
var hubs struct {
	sync.Mutex
	all []*hub
}

func register(src Source, c config) (*Registration, error) {
	var found []*breaker.Breaker
	if err := each(src, func(b *breaker.Breaker) { found = append(found, b) }); err != nil {
		return nil, err
	}
	records := c.records()
	hubs.Lock()
	defer hubs.Unlock()
	h, err := hubOf(c)
	if err != nil {
		return nil, err
	}
	if err := h.conflict(src, found); err != nil {
		return nil, err
	}
	if c.limit != nil {
		h.limit.set(*c.limit)
	}
	listeners := []breaker.Listener{newListener(h, c.tracers)}
	if records != nil {
		listeners = append(listeners, records)
	}
	r := &Registration{source: src, hub: h, events: newSubscriber(src, found, listeners...)}
	all := append(slices.Clone(*h.observed.Load()), r)
	// Sources that know of their breakers' events go first, so that collection sees which breakers they cover.
	slices.SortStableFunc(all, func(a, b *Registration) int { return a.events.order() - b.events.order() })
	h.observed.Store(&all)
	return r, nil
}

func unregister(r *Registration) error {
	r.events.end()
	if !r.hub.remove(r) {
		return nil
	}
	// Not under the lock, since this waits for a collection that is going on.
	if err := r.hub.callback.Unregister(); err != nil {
		return fmt.Errorf("otelcb: ending the observation: %w", err)
	}
	return nil
}

// remove tells whether r was the last one.
func (h *hub) remove(r *Registration) (last bool) {
	hubs.Lock()
	defer hubs.Unlock()
	before := *h.observed.Load()
	left := slices.DeleteFunc(slices.Clone(before), func(other *Registration) bool { return other == r })
	if len(left) == len(before) {
		return false
	}
	h.observed.Store(&left)
	if len(left) > 0 {
		return false
	}
	hubs.all = slices.DeleteFunc(hubs.all, func(other *hub) bool { return other == h })
	return true
}

// hubOf gives the provider's hub. The caller holds the lock of hubs.
func hubOf(c config) (*hub, error) {
	p := c.meters
	meter := meterOf(p)
	for _, h := range hubs.all {
		// The global provider is one value before an SDK is installed and another one after, but then both give the
		// same meter.
		if same(h.provider, p) || reflect.ValueOf(meter).Kind() == reflect.Pointer && same(meterOf(h.provider), meter) {
			return h, nil
		}
	}
	h := &hub{
		provider: p,
		members:  map[*breaker.Breaker]*member{}, series: map[name]*series{}, readers: map[uintptr]*reader{},
	}
	h.limit.provider, h.limit.global = p, c.global
	h.observed.Store(&[]*Registration{})
	var err error
	if h.instruments, err = newInstruments(meter); err != nil {
		return nil, fmt.Errorf("otelcb: the meter provider refused an instrument: %w", err)
	}
	if h.callback, err = meter.RegisterCallback(h.collect, h.instruments.observables()...); err != nil {
		return nil, fmt.Errorf("otelcb: the meter provider refused the callback: %w", err)
	}
	hubs.all = append(hubs.all, h)
	return h, nil
}

func meterOf(p metric.MeterProvider) metric.Meter {
	return p.Meter(ScopeName, metric.WithInstrumentationVersion(Version))
}

// same compares what may not be comparable.
func same(a, b any) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.ValueOf(a).Comparable() && a == b
}

// conflict tells what speaks against observing src, which has these breakers.
func (h *hub) conflict(src Source, found []*breaker.Breaker) error {
	mine := make(map[*breaker.Breaker]bool, len(found))
	for _, b := range found {
		mine[b] = true
	}
	for _, r := range *h.observed.Load() {
		if same(r.source, src) {
			return fmt.Errorf("otelcb: this source (%T) is already observed under this meter provider: "+
				"observe it once, or Unregister the other registration first", src)
		}
		var err error
		_ = each(r.source, func(b *breaker.Breaker) {
			if err == nil && mine[b] {
				s := b.Snapshot()
				err = fmt.Errorf("otelcb: breaker %q (%s) of this source (%T) is already observed under this meter "+
					"provider, as one of a %T: observe each breaker once", s.Service, s.Endpoint, src, r.source)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// collect is the callback. Several readers may call it at the same time. It gives no error, for an SDK's periodic reader
// would then export nothing at all, of the whole program.
func (h *hub) collect(_ context.Context, o metric.Observer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() {
		if p := recover(); p != nil { // foreign code all the same: a view's filter, say
			h.panicked.report(fmt.Errorf("otelcb: observing panicked with a %T", p))
		}
	}()
	h.round++
	clear(h.order)
	h.order = h.order[:0]
	for _, r := range *h.observed.Load() {
		r.trouble.report(h.gather(r))
	}
	r := h.readerOf(o)
	h.sweep(r)
	for _, s := range h.order {
		s.observe(o, h.instruments, r)
	}
	h.limit.passed("circuit_breaker.transitions", len(edges)*len(h.order))
	h.panicked.report(nil)
	return nil
}

// gather reads the breakers of one source, leaving out those that an earlier one had.
func (h *hub) gather(r *Registration) error {
	err := each(r.source, func(b *breaker.Breaker) {
		snapshot := b.Snapshot()
		m := h.members[b]
		if m == nil {
			m = &member{series: h.seriesOf(nameOf(&snapshot))}
			m.series.revive(b)
			h.members[b] = m
		}
		if m.round == h.round {
			h.overlap(m, r, &snapshot)
			return
		}
		m.round, m.by = h.round, r
		if m.series.round != h.round {
			h.order = append(h.order, m.series)
		}
		m.series.add(&snapshot, h.round)
		if m.series.live > 1 && !m.series.shared {
			m.series.shared = true
			report("otelcb: several breakers are called service %q, endpoint %q: in metrics they are shown as one, "+
				"counters added up, gauges the worst", m.series.service, m.series.endpoint)
		}
		r.events.follow(b, h.round)
	})
	if err == nil {
		r.events.dropBefore(h.round)
	}
	return err
}

func (h *hub) seriesOf(n name) *series {
	s := h.series[n]
	if s == nil {
		s = newSeries(n)
		h.series[n] = s
	}
	return s
}

// overlap takes note that r has a breaker that was counted already. That alone is in order; but two sources that both
// tell of its events tell everything twice.
func (h *hub) overlap(m *member, r *Registration, s *breaker.Snapshot) {
	if m.by == r || h.clashed || !r.events.whole { // if r is subscribed to as a whole, so is m.by, which was read first
		return
	}
	h.clashed = true
	report("otelcb: breaker %q (%s) came by two sources (%T and %T) that were both subscribed to: its recoveries are "+
		"recorded and its span events written twice; observe each breaker once", s.Service, s.Endpoint,
		m.by.source, r.source)
}

// sweep ends the series that this round did not find, for the reader whose round it is, and forgets what has ended for
// all readers.
func (h *hub) sweep(r *reader) {
	for b, m := range h.members {
		if m.round != h.round {
			delete(h.members, b)
			m.series.retire(b)
		}
	}
	r.round = h.round
	var ended []*series
	for _, s := range h.series {
		if s.round == h.round {
			s.endedIn = 0
			continue
		}
		if s.endedIn == 0 {
			s.endedIn, s.shown = h.round, nil
		}
		r.base[s] = s.ended
		if s.prune(); len(s.gone) == 0 && !h.missed(s.endedIn) {
			h.forget(s)
			continue
		}
		ended = append(ended, s)
	}
	if len(ended) <= mostEnded {
		return
	}
	slices.SortFunc(ended, func(a, b *series) int { return cmp.Compare(a.endedIn, b.endedIn) })
	for _, s := range ended[:len(ended)-mostEnded] {
		h.forget(s)
	}
}

func (h *hub) forget(s *series) {
	delete(h.series, s.name)
	for _, r := range h.readers {
		delete(r.base, s)
	}
}
