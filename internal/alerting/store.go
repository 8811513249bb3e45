package alerting

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// store keeps the newest samples of the metrics that the rules read, each metric for as long as they look back on it.
// The engine reads it as it reads Prometheus' own storage.
type store struct {
	keep map[string]time.Duration // by metric; others are not stored

	mu     sync.RWMutex
	series map[string]map[uint64]*series // by metric and hash of the labels
}

type series struct {
	labels labels.Labels
	points []chunks.Sample // oldest first; never changed in place, for readers hold parts of it
}

func newStore(keep map[string]time.Duration) *store {
	return &store{keep: keep, series: make(map[string]map[uint64]*series)}
}

// sample is one series at the moment of a write.
type sample struct {
	labels labels.Labels // with the metric's name
	value  float64
}

// write adds all that there is of a metric at a moment. A series that is missing is marked as stale, as Prometheus
// does, and is gone when its last sample is too old.
func (s *store) write(metric string, now time.Time, all []sample) {
	keep, stored := s.keep[metric]
	if !stored {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.series[metric]
	if known == nil {
		known = make(map[uint64]*series)
		s.series[metric] = known
	}
	at, oldest := now.UnixMilli(), now.Add(-keep).UnixMilli()
	written := make(map[uint64]bool, len(all))
	for _, one := range all {
		id := one.labels.Hash()
		written[id] = true
		if known[id] == nil {
			known[id] = &series{labels: one.labels}
		}
		known[id].add(at, one.value, oldest)
	}
	for id, one := range known {
		if written[id] {
			continue
		}
		if last := one.points[len(one.points)-1]; !value.IsStaleNaN(last.F()) {
			one.add(at, math.Float64frombits(value.StaleNaN), oldest)
		} else if last.T() < oldest {
			delete(known, id)
		}
	}
}

// add appends a point, and drops those before oldest once they are a quarter of all.
func (s *series) add(at int64, v float64, oldest int64) {
	old, _ := slices.BinarySearchFunc(s.points, oldest, func(p chunks.Sample, t int64) int { return int(p.T() - t) })
	if old > len(s.points)/4 {
		s.points = slices.Clone(s.points[old:])
	}
	s.points = append(s.points, point{at, v})
}

// Querier gives a view on what is stored. It implements [storage.Queryable].
func (s *store) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{store: s, mint: mint, maxt: maxt}, nil
}

// querier selects; labels are not asked for by any evaluation of a rule.
type querier struct {
	storage.Querier // nil

	store      *store
	mint, maxt int64
}

func (q *querier) Select(_ context.Context, sorted bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	s := q.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []storage.Series
	for metric, all := range s.series {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel && !m.Matches(metric) }) {
			for _, one := range all {
				if one.matches(matchers) {
					found = append(found, one.between(q.mint, q.maxt))
				}
			}
		}
	}
	if sorted {
		slices.SortFunc(found, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	}
	return &set{found: found, at: -1}
}

func (q *querier) Close() error { return nil }

func (s *series) matches(matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		if !m.Matches(s.labels.Get(m.Name)) {
			return false
		}
	}
	return true
}

func (s *series) between(mint, maxt int64) storage.Series {
	from, _ := slices.BinarySearchFunc(s.points, mint, func(p chunks.Sample, t int64) int { return int(p.T() - t) })
	to, _ := slices.BinarySearchFunc(s.points, maxt+1, func(p chunks.Sample, t int64) int { return int(p.T() - t) })
	return storage.NewListSeries(s.labels, s.points[from:max(from, to)])
}

type set struct {
	found []storage.Series
	at    int
}

func (s *set) Next() bool                        { s.at++; return s.at < len(s.found) }
func (s *set) At() storage.Series                { return s.found[s.at] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

// point is a sample of a counter, a gauge or a bucket.
type point struct {
	at    int64
	value float64
}

func (p point) T() int64                      { return p.at }
func (p point) ST() int64                     { return 0 }
func (p point) F() float64                    { return p.value }
func (p point) H() *histogram.Histogram       { return nil }
func (p point) FH() *histogram.FloatHistogram { return nil }
func (p point) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (p point) Copy() chunks.Sample           { return p }
