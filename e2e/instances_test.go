package e2e

import (
	"fmt"
	"net/rpc"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/otelbreaker/otelbreaker/e2e/internal/child"
	"github.com/otelbreaker/otelbreaker/e2e/internal/replica"
	"github.com/otelbreaker/otelbreaker/e2e/internal/route"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// TestInstances_ThreeBehindOneCollector: three processes of one service, with the same breaker, send to one collector
// with nothing set to tell them apart. One breaker opens. In a real Prometheus, with deploy/prometheus/prometheus.yml,
// each process has its own series by the label instance, the same as those that are scraped from it directly; the
// open one is open and the others never were.
func TestInstances_ThreeBehindOneCollector(t *testing.T) {
	c := stack.Start(t)
	replicas := startReplicas(t, 3, c.HTTP)
	var direct []stack.Target
	for _, r := range replicas {
		direct = append(direct, stack.Target{Address: r.about.Address, Job: "checkout"})
	}
	prometheus := stack.StartPrometheus(t, direct, []stack.Target{{Address: hostOf(t, c.Prometheus)}})

	// At first all are closed, with calls by which each is known.
	routes := make([][]route.Route, len(replicas))
	for i, r := range replicas {
		if blocked := r.call(t, 10+i); blocked != 0 {
			t.Fatalf("%d calls blocked by a closed breaker", blocked)
		}
		routes[i] = []route.Route{
			{Name: "scraped from the process", Prometheus: prometheus, Process: instance(r.about.Address)},
			{Name: "scraped from the collector", Prometheus: prometheus, Process: instance(instanceOf(t, prometheus, r))},
		}
	}
	of := `{endpoint="` + replica.Endpoint + `", `
	state := `circuit_breaker_state` + of + `service="` + replica.Service + `"} `
	requests := func(outcome string, n int) string {
		return fmt.Sprintf(`circuit_breaker_requests_total%soutcome="%s", service="%s"} %d`, of, outcome, replica.Service, n)
	}
	for i := range replicas {
		route.WaitSame(t, routes[i], time.Now, 0, state+"0", requests("success", 10+i), requests("failure", 0))
	}

	// Then the second opens, and the others have more calls.
	replicas[1].trip(t)
	for i, r := range replicas {
		wantBlocked := 0
		if i == 1 {
			wantBlocked = 5
		}
		if blocked := r.call(t, 5); blocked != wantBlocked {
			t.Fatalf("replica %d: %d calls blocked, want %d", i, blocked, wantBlocked)
		}
	}
	since := time.Now()
	route.WaitSame(t, routes[0], time.Now, 0,
		state+"0", requests("success", 15), requests("failure", 0), requests("blocked", 0))
	route.WaitSame(t, routes[1], time.Now, route.GrowingTolerance,
		state+"2", requests("success", 11), requests("failure", 3), requests("blocked", 5))
	route.WaitSame(t, routes[2], time.Now, 0,
		state+"0", requests("success", 17), requests("failure", 0), requests("blocked", 0))

	// And so it stays, at every one of many scrapes.
	const scrapes = 8
	window := func(longer time.Duration) string {
		return fmt.Sprintf("[%dms]", (time.Since(since) + longer).Milliseconds())
	}
	waitUntil(t, fmt.Sprintf("%d scrapes of each process", scrapes), func() bool {
		enough := query(t, prometheus, fmt.Sprintf("count(count_over_time(circuit_breaker_state%s) >= %d)",
			window(time.Millisecond), scrapes))
		return len(enough) == 1 && enough[0].Value == 2*3
	})
	for _, r := range []struct {
		what, promQL string
		want         [3]float64 // by replica
	}{
		{"changes of state", `changes(circuit_breaker_state%s)`, [3]float64{0, 1, 0}},
		{"the most that the state was", `max_over_time(circuit_breaker_state%s)`, [3]float64{0, 2, 0}},
		{"resets of counters", `sum by (job, instance) (resets(circuit_breaker_requests_total%s))`, [3]float64{0, 0, 0}},
		{"openings", `max_over_time(circuit_breaker_transitions_total{from_state="closed",to_state="open"}%s)`, [3]float64{0, 1, 0}},
	} {
		byInstance := map[string]float64{}
		for _, s := range query(t, prometheus, fmt.Sprintf(r.promQL, window(time.Minute))) {
			byInstance[instance(string(s.Metric[model.InstanceLabel]))] = float64(s.Value)
		}
		if len(byInstance) != 2*len(replicas) {
			t.Errorf("%s: %d instances, want each process by both routes: %v", r.what, len(byInstance), byInstance)
		}
		for i := range replicas {
			for _, way := range routes[i] {
				if got, found := byInstance[way.Process]; !found || got != r.want[i] {
					t.Errorf("%s of replica %d, %s: %v (found: %t), want %v", r.what, i, way.Name, got, found, r.want[i])
				}
			}
		}
	}
}

// instance is a matcher.
func instance(label string) string { return fmt.Sprintf(`instance="%s"`, label) }

// instanceOf returns the label instance that a process's series have when they come through the collector. It is found
// as a user would, by what target_info tells of the process.
func instanceOf(t *testing.T, p *stack.Prometheus, r *replicaProcess) string {
	t.Helper()
	var label string
	waitUntil(t, "target_info of every process", func() bool {
		info := query(t, p, fmt.Sprintf(`target_info{job="checkout",instance!="%s",process_pid="%d"}`, r.about.Address, r.about.PID))
		if len(info) == 1 {
			label = string(info[0].Metric[model.InstanceLabel])
		}
		return len(info) == 1
	})
	return label
}

func query(t *testing.T, p *stack.Prometheus, promQL string) model.Vector {
	t.Helper()
	result, _, _, err := p.API.Query(t.Context(), promQL, time.Now())
	if err != nil {
		t.Fatalf("%s: %v", promQL, err)
	}
	vector, ok := result.(model.Vector)
	if !ok {
		t.Fatalf("%s is no vector: %v", promQL, result)
	}
	return vector
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	timeout := time.After(2 * settle)
	for !done() {
		select {
		case <-poll.C:
		case <-timeout:
			t.Fatalf("no %s after %v", what, 2*settle)
		}
	}
}

// replicaProcess is a running program of package replica.
type replicaProcess struct {
	about  replica.About
	client *rpc.Client
}

func startReplicas(t *testing.T, n int, endpoint string) []*replicaProcess {
	t.Helper()
	binary := child.Build(t, "./internal/replica/program")
	var replicas []*replicaProcess
	for range n {
		replicas = append(replicas, startReplica(t, binary, endpoint))
	}
	return replicas
}

func startReplica(t *testing.T, binary, endpoint string) *replicaProcess {
	t.Helper()
	r := &replicaProcess{client: child.Start(t, binary, []string{
		"OTEL_SERVICE_NAME=checkout",
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint,
		"OTEL_METRIC_EXPORT_INTERVAL=100",
	})}
	if err := r.client.Call("Replica.About", struct{}{}, &r.about); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *replicaProcess) call(t *testing.T, n int) (blocked int) {
	t.Helper()
	if err := r.client.Call("Replica.Call", n, &blocked); err != nil {
		t.Fatal(err)
	}
	return blocked
}

func (r *replicaProcess) trip(t *testing.T) {
	t.Helper()
	if err := r.client.Call("Replica.Trip", &struct{}{}, &struct{}{}); err != nil {
		t.Fatal(err)
	}
}
