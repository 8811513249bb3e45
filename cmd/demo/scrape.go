package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// outputs reads what the demo itself serves, over HTTP as anybody would.
type outputs struct {
	base string // http://host:port
	http *http.Client
}

func newOutputs(base string) outputs {
	return outputs{base: base, http: &http.Client{Timeout: 5 * time.Second}}
}

func (o outputs) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.base+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := o.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", path, res.Status)
	}
	return body, err
}

// metrics are families by name.
type metrics map[string]*dto.MetricFamily

func (o outputs) metrics(ctx context.Context) (metrics, error) {
	page, err := o.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(page)
}

func parseMetrics(page []byte) (metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return nil, fmt.Errorf("/metrics is not in the Prometheus text format: %w", err)
	}
	return families, nil
}

// healthPage is the part of the health page that the verdict needs, by service and endpoint.
type healthPage map[string]map[string]struct {
	State       string   `json:"state"`
	Healthy     bool     `json:"healthy"`
	Transitions []record `json:"last_transitions"`
}

func (o outputs) health(ctx context.Context) (healthPage, error) {
	page, err := o.get(ctx, "/health/circuit-breakers")
	if err != nil {
		return nil, err
	}
	var parsed struct {
		CircuitBreakers healthPage `json:"circuit_breakers"`
	}
	if err := json.Unmarshal(page, &parsed); err != nil {
		return nil, fmt.Errorf("/health/circuit-breakers is not the JSON that it should be: %w", err)
	}
	return parsed.CircuitBreakers, nil
}

// series finds the one series of a family that has all these labels (name, value, name, value …).
func (m metrics) series(family string, labels ...string) (*dto.Metric, error) {
	var found []*dto.Metric
	for _, candidate := range m[family].GetMetric() {
		if hasLabels(candidate, labels) {
			found = append(found, candidate)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%s%q has %d series, want 1", family, labels, len(found))
	}
	return found[0], nil
}

func hasLabels(m *dto.Metric, labels []string) bool {
	for pair := range slices.Chunk(labels, 2) {
		if !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool {
			return l.GetName() == pair[0] && l.GetValue() == pair[1]
		}) {
			return false
		}
	}
	return true
}

// value is that of the one counter or gauge that has all these labels.
func (m metrics) value(family string, labels ...string) (float64, error) {
	s, err := m.series(family, labels...)
	if err != nil {
		return 0, err
	}
	switch {
	case s.Counter != nil:
		return s.Counter.GetValue(), nil
	case s.Gauge != nil:
		return s.Gauge.GetValue(), nil
	}
	return 0, fmt.Errorf("%s is neither a counter nor a gauge", family)
}

// gauge is what has been seen of a service's state gauge.
type gauge struct {
	mu   sync.Mutex
	seen []float64 // the values it had, one for each change
	err  error     // what ended the watch too soon
}

// watch reads the gauge now, whenever a record comes, and every so often, until stop closes.
func (g *gauge) watch(ctx context.Context, stop <-chan struct{}, own outputs, r *recorder, every time.Duration, service string) {
	for {
		rung := r.changed.Rung()
		page, err := own.metrics(ctx)
		g.note(page, err, service)
		if err != nil {
			return
		}
		select {
		case <-rung:
		case <-time.After(every):
		case <-stop:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (g *gauge) note(page metrics, err error, service string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = err
	state, err := page.value("circuit_breaker_state", "service", service)
	if err == nil && (len(g.seen) == 0 || g.seen[len(g.seen)-1] != state) { // where it is missing, the verdict will say so
		g.seen = append(g.seen, state)
	}
}

// sawOpen tells whether it has ever stood at open.
func (g *gauge) sawOpen() bool {
	seen, _ := g.result()
	return slices.Contains(seen, gaugeValues["open"])
}

func (g *gauge) result() ([]float64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.seen), g.err
}
