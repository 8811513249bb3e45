package fleetsim

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/otelbreaker/otelbreaker/e2e/internal/fleet"
)

// patience bounds the wait for what is on its way to Prometheus.
func (r *rig) patience() time.Duration {
	return time.Minute + time.Duration(r.plan.Instances*r.plan.Endpoints)*3*time.Millisecond
}

func (r *rig) query(t *testing.T, promQL string) model.Value {
	t.Helper()
	result, _, err := r.ask(t, promQL)
	if err != nil {
		t.Fatalf("%s: %v", promQL, err)
	}
	return result
}

// ask asks, and tells how long the answer took.
func (r *rig) ask(t *testing.T, promQL string) (model.Value, time.Duration, error) {
	t.Helper()
	begin := time.Now()
	result, _, _, err := r.prometheus.API.Query(t.Context(), promQL, time.Now())
	return result, time.Since(begin), err
}

// number is the value of a query that has one, NaN of one that has none.
func (r *rig) number(t *testing.T, promQL string) float64 {
	t.Helper()
	vector, ok := r.query(t, promQL).(model.Vector)
	if !ok || len(vector) > 1 {
		t.Fatalf("%s: not one number: %v", promQL, vector)
	}
	if len(vector) == 0 {
		return math.NaN()
	}
	return float64(vector[0].Value)
}

func (r *rig) waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	timeout := time.After(r.patience())
	for !done() {
		select {
		case <-poll.C:
		case <-timeout:
			t.Fatalf("no %s after %v", what, r.patience())
		}
	}
}

// compared is what a comparison found in order.
type compared struct{ instances, series int }

// compare compares all series of all instances with their accounts, and gives what differs. It waits for what is on
// its way, as long as patience has it.
func (r *rig) compare(t *testing.T, accounts []fleet.Account) (c compared, differences []string) {
	t.Helper()
	var (
		mu      sync.Mutex
		running sync.WaitGroup
		next    = make(chan fleet.Account)
		giveUp  = time.Now().Add(r.patience())
	)
	for range 2 {
		running.Go(func() {
			for a := range next {
				found := r.differences(t, a)
				for len(found) > 0 && time.Now().Before(giveUp) {
					time.Sleep(200 * time.Millisecond)
					found = r.differences(t, a)
				}
				mu.Lock()
				c.instances++
				c.series += len(a.Series)
				differences = append(differences, found...)
				mu.Unlock()
			}
		})
	}
	for _, a := range accounts {
		next <- a
	}
	close(next)
	running.Wait()
	return c, differences
}

// differences are those between an instance's account and its series.
func (r *rig) differences(t *testing.T, a fleet.Account) (found []string) {
	t.Helper()
	result, _, err := r.ask(t, fmt.Sprintf(`{__name__=~"circuit_breaker_.+", job=%q, instance=%q}`, a.Program, a.Instance))
	vector, ok := result.(model.Vector)
	if err != nil || !ok {
		return []string{fmt.Sprintf("%s: %v", a.Instance, err)}
	}
	there := make(map[string]float64, len(vector))
	for _, sample := range vector {
		labels := maps.Clone(sample.Metric)
		delete(labels, model.JobLabel)
		delete(labels, model.InstanceLabel)
		there[labels.String()] = float64(sample.Value)
	}
	if len(there) != len(vector) {
		found = append(found, fmt.Sprintf("%s: two series differ in nothing", a.Instance))
	}
	for name, want := range a.Series {
		got, is := there[name]
		switch {
		case !is:
			found = append(found, fmt.Sprintf("%s: %s is lost", a.Instance, name))
		case !want.Holds(got):
			found = append(found, fmt.Sprintf("%s: %s is %v, want %v to %v", a.Instance, name, got, want.Low, want.High))
		}
		delete(there, name)
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		found = append(found, fmt.Sprintf("%s: %s is of nobody", a.Instance, name))
	}
	return found
}

// isExact compares everything, and tells how much that was.
func (r *rig) isExact(t *testing.T, accounts []fleet.Account) compared {
	t.Helper()
	c, differences := r.compare(t, accounts)
	if len(differences) > 0 {
		t.Fatalf("%d differences, the first of them:\n%s", len(differences), strings.Join(differences[:min(20, len(differences))], "\n"))
	}
	// And there is nothing of anybody else.
	if got := r.number(t, `count({__name__=~"circuit_breaker_.+"})`); got != float64(c.series) {
		t.Errorf("Prometheus has %v series, and the instances have %d", got, c.series)
	}
	if got := r.number(t, `count(count by (job, instance) (circuit_breaker_state))`); got != float64(len(accounts)) {
		t.Errorf("Prometheus knows %v instances, and there are %d", got, len(accounts))
	}
	t.Logf("exact: %d series of %d instances", c.series, c.instances)
	r.told.Series = c.series
	return c
}

// taken is what became of exports.
type taken struct{ Accepted, Failed, ArrivedAllTheSame int }

// allTaken waits for the sample of each export that a gateway has said it has.
func (r *rig) allTaken(t *testing.T, accounts []fleet.Account) (all taken) {
	t.Helper()
	giveUp := time.Now().Add(r.patience())
	for {
		all, missing := r.taken(t, accounts)
		if len(missing) == 0 {
			return all
		}
		if time.Now().After(giveUp) {
			t.Fatalf("%d exports were taken and lost, the first of them:\n%s", len(missing), strings.Join(missing[:min(20, len(missing))], "\n"))
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (r *rig) taken(t *testing.T, accounts []fleet.Account) (all taken, missing []string) {
	t.Helper()
	window := time.Since(r.began).Round(time.Second) + time.Minute
	matrix, ok := r.query(t, fmt.Sprintf("%s[%ds]", fleet.Marker(), int(window.Seconds()))).(model.Matrix)
	if !ok {
		t.Fatal("not a matrix")
	}
	samples := map[string][]model.SamplePair{}
	for _, series := range matrix {
		samples[string(series.Metric[model.InstanceLabel])] = series.Values
	}
	for _, a := range accounts {
		all.Accepted += len(a.Accepted)
		all.Failed += a.Failed
		all.ArrivedAllTheSame += len(samples[a.Instance]) - len(a.Accepted)
		for _, want := range a.Accepted {
			if !slices.ContainsFunc(samples[a.Instance], func(s model.SamplePair) bool {
				at := s.Timestamp.Time()
				return float64(s.Value) == want.Value && !at.Before(want.Before.Truncate(time.Millisecond)) && !at.After(want.End)
			}) {
				missing = append(missing, fmt.Sprintf("%s: gateway %d took the export of round %d, with the value %v", a.Instance, a.Gateway, want.Round, want.Value))
			}
		}
	}
	return all, missing
}
