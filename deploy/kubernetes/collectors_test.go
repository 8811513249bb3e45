package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// patience is for a loaded machine; everything takes a second.
const patience = time.Minute

// found is a collector of an overlay: its configuration and its environment, as the manifests have them.
type found struct {
	config string
	env    map[string]string
}

// collectorIn is the collector in a workload.
func collectorIn(t *testing.T, overlay, id string) found {
	t.Helper()
	objects := built(t, overlay)
	o := find(t, objects, id)
	pod, err := convert[corev1.PodTemplateSpec](o.at("spec", "template"))
	if err != nil {
		t.Fatal(err)
	}
	c, w := &cluster{objects: objects}, workload{object: o, pod: pod}
	w.namespace, _ = o.at("metadata", "namespace").(string)
	for _, container := range containers(&pod.Spec) {
		if config := c.config(w, container); config != "" {
			return found{config: config, env: c.environment(w, container)}
		}
	}
	t.Fatalf("%s: there is no collector in %s", overlay, id)
	return found{}
}

// environ is its environment as a process has it, with what is different on this machine.
func (f found) environ(different map[string]string) (env []string) {
	all := maps.Clone(f.env)
	maps.Copy(all, different)
	for key, value := range all {
		env = append(env, key+"="+value)
	}
	return env
}

func (f found) file(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "collector.yaml")
	if err := os.WriteFile(name, []byte(f.config), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// validate has the real collector check a configuration, in the container's environment and in no other.
func (f found) validate(t *testing.T, binary string) error {
	t.Helper()
	command := exec.CommandContext(t.Context(), tool(t, binary), "validate", "--config="+f.file(t))
	command.Env = f.environ(nil)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// balancing and plain are the programs of the two kinds of collectors.
const balancing, plain = "otelcol-balancing", "otelcol"

func TestTheCollectorsTakeTheirConfiguration(t *testing.T) {
	for _, one := range []struct{ overlay, id, binary, doctor string }{
		{"agent", gatewaySet, plain, "retry_on_failure: &retry"},
		{"agent", agentSet, balancing, "load_balancing/events:\n"},
		{"sidecar", program, balancing, "routing_key: resource"},
	} {
		f := collectorIn(t, one.overlay, one.id)
		if err := f.validate(t, one.binary); err != nil {
			t.Errorf("%s: %s: %v", one.overlay, one.id, err)
		}
		f.config = strings.Replace(f.config, one.doctor, strings.Replace(one.doctor, "o", "0", 1), 1)
		if f.validate(t, one.binary) == nil {
			t.Errorf("%s: %s: a configuration without %q is taken as well", one.overlay, one.id, one.doctor)
		}
	}
}

// running is a collector that runs.
type running struct {
	command *exec.Cmd
	ended   chan error
	written string // the file of its output
}

// output is what it has written so far.
func (r *running) output(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(r.written)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (f found) run(t *testing.T, binary string, different map[string]string) *running {
	t.Helper()
	written, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close() // the collector has its own
	r := &running{written: written.Name(), ended: make(chan error, 1)}
	r.command = exec.Command(tool(t, binary), "--config="+f.file(t))
	r.command.Env = f.environ(different)
	r.command.Stdout, r.command.Stderr = written, written
	if err := r.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.ended <- r.command.Wait() }()
	t.Cleanup(func() {
		r.stop(t)
		if t.Failed() {
			t.Logf("%s:\n%s", binary, r.output(t))
		}
	})
	eventually(t, binary+" to be ready", func() bool {
		status, _ := get(t, "http://"+different["COLLECTOR_HEALTH"])
		return status == http.StatusOK
	})
	return r
}

// stop ends it, where it has not ended yet.
func (r *running) stop(t *testing.T) {
	t.Helper()
	if r.ended == nil {
		return
	}
	_ = r.command.Process.Signal(syscall.SIGTERM)
	if err := <-r.ended; err != nil {
		t.Errorf("it did not end well: %v", err)
	}
	r.ended = nil
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); !done(); {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// get is a page, or 0 where nobody answers.
func get(t *testing.T, url string) (status int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, ""
	}
	return response.StatusCode, string(body)
}

func post(t *testing.T, url, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", url, response.Status, text)
	}
}

// addresses that nobody listens on, at least a moment ago.
func addresses(t *testing.T, n int) (free []string) {
	t.Helper()
	for range n {
		listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		free = append(free, listener.Addr().String())
	}
	return free
}

// instances of a program.
const instances = 40

func resource(i int) string {
	return fmt.Sprintf(`"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},{"key":"service.instance.id","value":{"stringValue":"shop-%d"}}]}`, i)
}

// states are a breaker's state on each instance, as OTLP has it.
func states(state int) string {
	var all []string
	for i := range instances {
		all = append(all, fmt.Sprintf(`{%s,"scopeMetrics":[{"metrics":[{"name":"circuit_breaker.state","gauge":{"dataPoints":[{"asInt":"%d","timeUnixNano":"%d",`+
			`"attributes":[{"key":"service","value":{"stringValue":"pay"}},{"key":"endpoint","value":{"stringValue":"https://pay:8443"}}]}]}}]}]}`,
			resource(i), state, time.Now().UnixNano()))
	}
	return `{"resourceMetrics":[` + strings.Join(all, ",") + `]}`
}

var stateSeries = regexp.MustCompile(`(?m)^circuit_breaker_state\{.*instance="(shop-[0-9]+)".*\} (\d)`)

// onPage is the state of each instance on a gateway's page.
func onPage(t *testing.T, address string) map[string]string {
	t.Helper()
	_, page := get(t, "http://"+address+"/metrics")
	states := map[string]string{}
	for _, m := range stateSeries.FindAllStringSubmatch(page, -1) {
		states[m[1]] = m[2]
	}
	return states
}

// Two gateways and an agent run as the manifests have them, but for addresses and folders. Each instance's series are on
// one page and on no other, also while a gateway is away: what is for it waits, and comes when it is back. Log records and
// spans arrive.
func TestAnInstanceStaysWithItsGateway(t *testing.T) {
	gateway, agent := collectorIn(t, "agent", gatewaySet), collectorIn(t, "agent", agentSet)
	free := addresses(t, 14)
	var pages [2]string
	start := func(n int, storage string) *running {
		a := free[5*n : 5*n+5]
		pages[n] = a[2]
		selfHost, selfPort, _ := net.SplitHostPort(a[4])
		return gateway.run(t, plain, map[string]string{
			"COLLECTOR_OTLP_GRPC": a[0], "COLLECTOR_OTLP_HTTP": a[1], "COLLECTOR_PROMETHEUS": a[2], "COLLECTOR_HEALTH": a[3],
			"COLLECTOR_SELF_HOST": selfHost, "COLLECTOR_SELF_PORT": selfPort, "COLLECTOR_STORAGE": storage,
			"COLLECTOR_LOGS_EXPORTER": "debug", "COLLECTOR_TRACES_EXPORTER": "debug",
		})
	}
	storage := []string{t.TempDir(), t.TempDir()}
	gateways := []*running{start(0, storage[0]), start(1, storage[1])}
	selfHost, selfPort, _ := net.SplitHostPort(free[13])
	agent.run(t, balancing, map[string]string{
		"COLLECTOR_OTLP_GRPC": free[10], "COLLECTOR_OTLP_HTTP": free[11], "COLLECTOR_HEALTH": free[12],
		"COLLECTOR_SELF_HOST": selfHost, "COLLECTOR_SELF_PORT": selfPort, "COLLECTOR_STORAGE": t.TempDir(),
		"COLLECTOR_GATEWAY_0": free[0], "COLLECTOR_GATEWAY_1": free[5],
	})
	send := func(signal, body string) { post(t, "http://"+free[11]+"/v1/"+signal, body) }

	send("metrics", states(0))
	var first [2]map[string]string
	eventually(t, "series of every instance", func() bool {
		first = [2]map[string]string{onPage(t, pages[0]), onPage(t, pages[1])}
		return len(first[0])+len(first[1]) >= instances
	})
	t.Logf("%d and %d instances", len(first[0]), len(first[1]))
	if len(first[0]) == 0 || len(first[1]) == 0 {
		t.Fatal("one gateway has all of them")
	}
	for instance := range first[0] {
		if _, twice := first[1][instance]; twice {
			t.Errorf("%s is on both pages", instance)
		}
	}

	// One gateway is away. The other one's instances go on; its own wait, and come when it is back.
	gateways[1].stop(t)
	send("metrics", states(2))
	eventually(t, "news of the instances whose gateway is there", func() bool { return allOf(onPage(t, pages[0]), first[0], "2") })
	gateways[1] = start(1, storage[1])
	eventually(t, "news of the instances whose gateway was away", func() bool { return allOf(onPage(t, pages[1]), first[1], "2") })
	if now := onPage(t, pages[0]); len(now) != len(first[0]) {
		t.Errorf("the gateway that stayed has %d instances, and had %d", len(now), len(first[0]))
	}

	send("logs", fmt.Sprintf(`{"resourceLogs":[{%s,"scopeLogs":[{"logRecords":[{"timeUnixNano":"%d","severityText":"WARN","traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7",`+
		`"body":{"stringValue":"Circuit breaker opened"}}]}]}]}`, resource(0), time.Now().UnixNano()))
	send("traces", fmt.Sprintf(`{"resourceSpans":[{%s,"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"circuit_breaker.outage","kind":1,`+
		`"startTimeUnixNano":"%d","endTimeUnixNano":"%d"}]}]}]}`, resource(0), time.Now().UnixNano(), time.Now().UnixNano()))
	for what, words := range map[string]string{"the log record": "Circuit breaker opened", "the span": "circuit_breaker.outage"} {
		eventually(t, what+" at a gateway", func() bool {
			return slices.ContainsFunc(gateways, func(g *running) bool { return strings.Contains(g.output(t), words) })
		})
	}
}

// allOf tells whether the instances are there, in a state.
func allOf(page, instances map[string]string, state string) bool {
	for instance := range instances {
		if page[instance] != state {
			return false
		}
	}
	return true
}
