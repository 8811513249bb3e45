package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/otelbreaker/otelbreaker/deploy"
	"github.com/otelbreaker/otelbreaker/internal/alerting"
	"github.com/otelbreaker/otelbreaker/internal/process"
)

const (
	lookEvery     = 2 * time.Second
	figuresOver   = 10 * time.Second // of which the figures tell
	outcomesCount = 4
)

// tally counts calls by outcome: success, failure, blocked, ignored.
type tally [outcomesCount]uint64

func (t *tally) add(o tally) {
	for i := range t {
		t[i] += o[i]
	}
}

// look is what was seen at one moment: the calls so far, of all services together and of each.
type look struct {
	at  time.Time
	all tally
	of  []tally
	cpu float64 // seconds of the process
}

// rate is the calls a second up to a moment, by outcome.
type rate struct {
	At        int64                  `json:"at"`
	PerSecond [outcomesCount]float64 `json:"per_second"`
}

// figures are those of the last seconds. What the system does not tell is left out.
type figures struct {
	Requests  float64  `json:"requests"` // a second, blocked ones included
	BlockRate float64  `json:"block_rate"`
	CPU       *float64 `json:"cpu,omitempty"`    // cores
	Memory    *uint64  `json:"memory,omitempty"` // resident, in bytes
}

// recoveries is the histogram of them, over all services.
type recoveries struct {
	Bounds []float64 `json:"bounds"` // upper ones, in seconds; above the last there is one more bucket
	Counts []uint64  `json:"counts"`
	Sum    float64   `json:"sum"`
}

// ruleShown is an alert rule as the page shows it. Times are milliseconds, or milliseconds since 1970.
type ruleShown struct {
	Name      string       `json:"name"`
	Severity  string       `json:"severity"`
	State     string       `json:"state"`
	Expr      string       `json:"expr"`
	For       int64        `json:"for"`
	LooksBack int64        `json:"looks_back"`
	Error     string       `json:"error,omitempty"`
	Alerts    []alertShown `json:"alerts,omitempty"`
}

type alertShown struct {
	State   string `json:"state"`
	Since   int64  `json:"since"`
	FiredAt int64  `json:"fired_at,omitempty"`
	Summary string `json:"summary"`
}

// board is what the demo looks at every two seconds, and what it then knows. It reads the process's own /metrics, as
// a Prometheus would.
type board struct {
	app     *app
	rules   *alerting.Rules
	self    *process.Self // nil where the system does not tell
	metrics http.Handler

	mu         sync.Mutex
	looks      []look // oldest first
	gone       int    // so many before them
	figures    *figures
	recoveries json.RawMessage // changes only with what it says
	alerts     json.RawMessage // likewise
}

func newBoard(ctx context.Context, a *app) (*board, error) {
	b := &board{app: a, metrics: a.pipeline.MetricsHandler()}
	var err error
	if b.rules, err = alerting.New(deploy.AlertRules, lookEvery); err != nil {
		return nil, err
	}
	if b.self, err = process.New(ctx); err != nil {
		a.logger.Warn("the page has no figures of the process", "error", err.Error())
	}
	return b, nil
}

// run looks until ctx ends.
func (b *board) run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		b.look(ctx, time.Now())
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *board) look(ctx context.Context, now time.Time) {
	l := look{at: now}
	for _, d := range b.app.deps {
		s := d.breaker().Snapshot()
		of := tally{s.Success, s.Failure, s.Blocked, s.Ignored}
		l.of = append(l.of, of)
		l.all.add(of)
	}
	f := &figures{}
	if b.self != nil {
		if user, system, err := b.self.CPU(ctx); err == nil {
			l.cpu = user + system
		}
		if memory, err := b.self.ResidentMemory(ctx); err == nil {
			f.Memory = &memory
		}
	}
	b.note(l, f)
	families, err := b.scrape(ctx)
	if err != nil {
		if ctx.Err() == nil {
			b.app.logger.Error("the demo cannot read its own metrics", "error", err.Error())
		}
		return
	}
	b.rules.Evaluate(ctx, now, families, map[string]string{"job": "otelbreaker-demo", "instance": b.app.listener.Addr().String()})
	b.publish(families["circuit_breaker_recovery_duration_seconds"])
}

// note keeps a look, and makes the figures out of it and one of ten seconds ago.
func (b *board) note(now look, f *figures) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := now
	for _, l := range slices.Backward(b.looks) {
		if before = l; now.at.Sub(l.at) >= figuresOver {
			break
		}
	}
	if elapsed := now.at.Sub(before.at).Seconds(); elapsed > 0 {
		var calls float64
		for i := range now.all {
			calls += float64(now.all[i] - before.all[i])
		}
		f.Requests = calls / elapsed
		if calls > 0 {
			f.BlockRate = float64(now.all[2]-before.all[2]) / calls
		}
		if now.cpu > 0 && before.cpu > 0 {
			f.CPU = new((now.cpu - before.cpu) / elapsed)
		}
	}
	b.figures = f
	if old := len(b.looks) - int(pastKept/lookEvery); old > 0 {
		b.looks = append([]look(nil), b.looks[old:]...)
		b.gone += old
	}
	b.looks = append(b.looks, now)
}

// publish makes what the page shows of the alert rules and of the recoveries.
func (b *board) publish(histogram *dto.MetricFamily) {
	var rules []ruleShown
	for _, s := range b.rules.Statuses() {
		r := ruleShown{Name: s.Name, Severity: s.Severity, State: string(s.State), Expr: s.Expr, For: s.For.Milliseconds(),
			LooksBack: s.LooksBack.Milliseconds(), Error: s.Error}
		for _, a := range s.Alerts {
			shown := alertShown{State: string(a.State), Since: a.Since.UnixMilli(), Summary: a.Summary}
			if !a.FiredAt.IsZero() {
				shown.FiredAt = a.FiredAt.UnixMilli()
			}
			r.Alerts = append(r.Alerts, shown)
		}
		rules = append(rules, r)
	}
	alerts, _ := json.Marshal(rules) // types that cannot fail
	recovered, _ := json.Marshal(recoveriesOf(histogram))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alerts, b.recoveries = alerts, recovered
}

// recoveriesOf adds up the histograms of all services.
func recoveriesOf(family *dto.MetricFamily) (r recoveries) {
	r.Bounds, r.Counts = []float64{}, []uint64{}
	for _, m := range family.GetMetric() {
		var below uint64
		for i, bucket := range m.GetHistogram().GetBucket() {
			if i == len(r.Counts) {
				r.Counts = append(r.Counts, 0)
				if bound := bucket.GetUpperBound(); bound < 1e300 {
					r.Bounds = append(r.Bounds, bound)
				}
			}
			r.Counts[i] += bucket.GetCumulativeCount() - below
			below = bucket.GetCumulativeCount()
		}
		r.Sum += m.GetHistogram().GetSampleSum()
	}
	return r
}

// rates gives the calls a second of a service, or of all (-1), behind the first so many looks, and how many looks there
// have been.
func (b *board) rates(service, seen int) (some []rate, looks int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := max(1, seen-b.gone); i < len(b.looks); i++ {
		now, before := b.looks[i], b.looks[i-1]
		counts, was := now.all, before.all
		if service >= 0 {
			counts, was = now.of[service], before.of[service]
		}
		r := rate{At: now.at.UnixMilli()}
		for o := range counts {
			r.PerSecond[o] = float64(counts[o]-was[o]) / now.at.Sub(before.at).Seconds()
		}
		some = append(some, r)
	}
	return some, b.gone + len(b.looks)
}

func (b *board) known() (*figures, json.RawMessage, json.RawMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.figures, b.recoveries, b.alerts
}

// scrape reads the page of the process's metrics, without the way through the network.
func (b *board) scrape(ctx context.Context) (metrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return nil, err
	}
	page := &written{status: http.StatusOK, header: make(http.Header)}
	b.metrics.ServeHTTP(page, req)
	if page.status != http.StatusOK {
		return nil, fmt.Errorf("/metrics answers %d", page.status)
	}
	return parseMetrics(page.body.Bytes())
}

// written is an answer that stays here.
type written struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (w *written) Header() http.Header         { return w.header }
func (w *written) WriteHeader(status int)      { w.status = status }
func (w *written) Write(p []byte) (int, error) { return w.body.Write(p) }
