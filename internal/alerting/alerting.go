// Package alerting evaluates alert rules for Prometheus within the process, by Prometheus' own engine, over what the
// process itself exposes. What it does not have is what a single process has no use for: no target labels but job and
// instance, nothing on disk, no Alertmanager.
package alerting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/template"
)

const (
	maxSamples   = 5_000_000 // that one query may have in memory
	queryTimeout = 10 * time.Second
	lookback     = 5 * time.Minute // how old the newest sample of a series may be: Prometheus' default
)

// State is that of an alert, or of the most urgent one of a rule.
type State string

// The states that Prometheus has.
const (
	Inactive State = "inactive"
	Pending  State = "pending" // the condition holds, but not yet for long enough
	Firing   State = "firing"
)

// Status is what there is to tell of an alert rule.
type Status struct {
	Name      string
	Severity  string
	State     State
	Expr      string
	For       time.Duration // the condition has to hold this long
	LooksBack time.Duration // the farthest that the condition reaches, recorded rules that it reads included
	Every     time.Duration // between two evaluations
	Runbook   string
	Alerts    []Alert // those that are pending or firing
	Error     string  // why the last evaluation failed; empty: it did not
}

// Alert is one instance of an alert rule.
type Alert struct {
	State   State
	Since   time.Time // when its condition began to hold
	FiredAt time.Time // zero while pending
	Summary string
	Value   float64
	Labels  map[string]string

	unheld time.Time // since when its condition no longer holds, while it goes on firing; zero: it holds
}

// Rules are those of a file, with what they have seen. Its methods may be called concurrently, but for Evaluate, which is
// for one goroutine.
type Rules struct {
	engine  *promql.Engine
	store   *store
	every   time.Duration
	groups  []*group
	records map[string]string // what the rules record: the expressions by name

	mu       sync.RWMutex
	statuses []Status
}

type group struct {
	every time.Duration
	last  time.Time
	rules []*rule
}

type rule struct {
	rulefmt.Rule
	looksBack time.Duration
	active    map[uint64]*Alert
	err       error
}

// New reads a rule file. Groups that name no interval of their own are evaluated at every call of [Rules.Evaluate],
// which shall be every so often.
func New(file []byte, every time.Duration) (*Rules, error) {
	p := parser.NewParser(parser.Options{})
	parsed, errs := rulefmt.Parse(file, false, model.UTF8Validation, p, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if len(errs) > 0 {
		return nil, fmt.Errorf("the alert rules: %w", errors.Join(errs...))
	}
	r := &Rules{every: every, records: make(map[string]string)}
	reach := &reach{parser: p, of: make(map[string]time.Duration), records: r.records}
	for _, g := range parsed.Groups {
		for _, one := range g.Rules {
			if one.Record != "" {
				r.records[one.Record] = one.Expr
			}
		}
	}
	for _, g := range parsed.Groups {
		own := &group{every: max(every, time.Duration(g.Interval))}
		for _, one := range g.Rules {
			back, err := reach.look(one.Expr, one.Record)
			if err != nil {
				return nil, fmt.Errorf("the rule %s%s: %w", one.Record, one.Alert, err)
			}
			own.rules = append(own.rules, &rule{Rule: one, looksBack: back, active: make(map[uint64]*Alert)})
		}
		r.groups = append(r.groups, own)
	}
	keep := make(map[string]time.Duration)
	for metric, back := range reach.of {
		keep[metric] = back + lookback + every
	}
	r.store = newStore(keep)
	r.engine = promql.NewEngine(promql.EngineOpts{
		MaxSamples: maxSamples, Timeout: queryTimeout, LookbackDelta: lookback,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: p,
		NoStepSubqueryIntervalFn: func(int64) int64 { return every.Milliseconds() },
	})
	r.publish()
	return r, nil
}

// Evaluate takes what a scrape at a moment has brought, and then looks at every rule whose time it is.
func (r *Rules) Evaluate(ctx context.Context, now time.Time, families map[string]*dto.MetricFamily, target map[string]string) {
	r.ingest(now, families, target)
	for _, g := range r.groups {
		// Calls come a little early or late: the nearest one is meant.
		if !g.last.IsZero() && g.every > r.every && now.Sub(g.last)+r.every/2 < g.every {
			continue
		}
		g.last = now
		for _, one := range g.rules {
			one.err = r.evaluate(ctx, one, now)
		}
	}
	r.publish()
}

// Statuses are those of the alert rules, in the order of the file.
func (r *Rules) Statuses() []Status {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.statuses // replaced as a whole
}

func (r *Rules) publish() {
	var all []Status
	for _, g := range r.groups {
		for _, one := range g.rules {
			if one.Alert != "" {
				all = append(all, one.status(g.every))
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statuses = all
}

func (r *rule) status(every time.Duration) Status {
	s := Status{
		Name: r.Alert, Severity: r.Labels["severity"], State: Inactive, Expr: strings.TrimSpace(r.Expr), For: time.Duration(r.For),
		LooksBack: r.looksBack, Every: every, Runbook: r.Annotations["runbook_url"],
	}
	if r.err != nil {
		s.Error = r.err.Error()
	}
	for _, a := range r.active {
		s.Alerts = append(s.Alerts, *a)
		if s.State != Firing {
			s.State = a.State
		}
	}
	slices.SortFunc(s.Alerts, func(a, b Alert) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.Summary, b.Summary)
	})
	return s
}

// ingest stores the series as a scrape of the target would: classic histograms as their buckets, sum and count.
func (r *Rules) ingest(now time.Time, families map[string]*dto.MetricFamily, target map[string]string) {
	series := make(map[string][]sample)
	for metric := range r.store.keep {
		series[metric] = nil // so that what is gone is marked
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			add := func(name string, v float64, extra ...string) {
				if _, wanted := r.store.keep[name]; !wanted {
					return
				}
				b := labels.NewBuilder(labels.FromMap(target))
				for _, l := range m.GetLabel() {
					b.Set(l.GetName(), l.GetValue())
				}
				for pair := range slices.Chunk(extra, 2) {
					b.Set(pair[0], pair[1])
				}
				series[name] = append(series[name], sample{b.Set(model.MetricNameLabel, name).Labels(), v})
			}
			switch {
			case m.Counter != nil:
				add(name, m.Counter.GetValue())
			case m.Gauge != nil:
				add(name, m.Gauge.GetValue())
			case m.Untyped != nil:
				add(name, m.Untyped.GetValue())
			case m.Histogram != nil:
				for _, bucket := range m.Histogram.GetBucket() {
					le := "+Inf"
					if bound := bucket.GetUpperBound(); bound <= 1e300 {
						le = strconv.FormatFloat(bound, 'g', -1, 64)
					}
					add(name+"_bucket", float64(bucket.GetCumulativeCount()), labels.BucketLabel, le)
				}
				add(name+"_sum", m.Histogram.GetSampleSum())
				add(name+"_count", float64(m.Histogram.GetSampleCount()))
			}
		}
	}
	for metric, all := range series {
		if _, recorded := r.records[metric]; !recorded {
			r.store.write(metric, now, all)
		}
	}
}

func (r *Rules) query(ctx context.Context, text string, now time.Time) (promql.Vector, error) {
	q, err := r.engine.NewInstantQuery(ctx, r.store, nil, text, now)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	result := q.Exec(ctx)
	if result.Err != nil {
		return nil, result.Err
	}
	switch v := result.Value.(type) {
	case promql.Vector:
		return slices.Clone(v), nil // what it stands on is the query's, and used again
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, nil
	}
	return nil, fmt.Errorf("%s: neither a vector nor a scalar", result.Value.Type())
}

func (r *Rules) evaluate(ctx context.Context, one *rule, now time.Time) error {
	found, err := r.query(ctx, one.Expr, now)
	if err != nil {
		return err
	}
	if one.Record == "" {
		return r.alert(ctx, one, now, found)
	}
	var all []sample
	for _, s := range found {
		b := labels.NewBuilder(s.Metric).Set(model.MetricNameLabel, one.Record)
		for name, value := range one.Labels {
			b.Set(name, value)
		}
		all = append(all, sample{b.Labels(), s.F})
	}
	r.store.write(one.Record, now, all)
	return nil
}

// alert moves the alerts of a rule: a new one is pending for as long as the rule says, and one whose condition no longer
// holds is gone, once it has gone on firing for as long as the rule says.
func (r *Rules) alert(ctx context.Context, one *rule, now time.Time, found promql.Vector) error {
	var errs []error
	held := make(map[uint64]bool, len(found))
	for _, s := range found {
		id := s.Metric.Hash()
		held[id] = true
		a := one.active[id]
		if a == nil {
			a = &Alert{State: Pending, Since: now, Labels: maps.Clone(s.Metric.Map())}
			one.active[id] = a
		}
		a.Value, a.unheld = s.F, time.Time{}
		var err error
		if a.Summary, err = r.expand(ctx, one.Alert, one.Annotations["summary"], s, now); err != nil {
			errs = append(errs, fmt.Errorf("the summary: %w", err))
		}
		if a.State == Pending && now.Sub(a.Since) >= time.Duration(one.For) {
			a.State, a.FiredAt = Firing, now
		}
	}
	maps.DeleteFunc(one.active, func(id uint64, a *Alert) bool {
		if held[id] {
			return false
		}
		if a.unheld.IsZero() {
			a.unheld = now
		}
		return a.State != Firing || now.Sub(a.unheld) >= time.Duration(one.KeepFiringFor)
	})
	return errors.Join(errs...)
}

// expand fills in an annotation as Prometheus does.
func (r *Rules) expand(ctx context.Context, name, text string, s promql.Sample, now time.Time) (string, error) {
	const names = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"
	expanded, err := template.NewTemplateExpander(ctx, names+text, "__alert_"+name,
		template.AlertTemplateData(s.Metric.Map(), nil, "", s), model.TimeFromUnixNano(now.UnixNano()), r.query, &url.URL{}, nil).Expand()
	return strings.TrimSpace(expanded), err
}
