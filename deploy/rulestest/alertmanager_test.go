package rulestest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the messages in testdata anew")

const (
	alertmanagerFile = "../alertmanager/alertmanager.yml"
	templateFile     = "../alertmanager/templates/circuit_breaker.tmpl"

	// patience is for a loaded machine; everything takes a second.
	patience = time.Minute
)

func TestAmtoolAcceptsTheConfiguration(t *testing.T) {
	out, err := exec.Command(tool(t, "amtool"), "check-config", alertmanagerFile).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	text := read(t, alertmanagerFile)
	if !strings.Contains(text, "slack_api_url_file: ") || regexp.MustCompile(`api_url:|hooks\.slack|https?://`).MatchString(text) {
		t.Error("the webhook's address is to come from a file, and no address is to be in the configuration")
	}
}

func TestRoutesGoBySeverity(t *testing.T) {
	severities := regexp.MustCompile(`(?s)- alert: (\w+)\n.*?labels: [&*](\w+)`).FindAllStringSubmatch(read(t, alertsFile), -1)
	if len(severities) != len(alerts(t)) {
		t.Fatalf("%d severities of %d alerts", len(severities), len(alerts(t)))
	}
	for _, m := range severities {
		out, err := exec.Command(tool(t, "amtool"), "config", "routes", "test", "--config.file="+alertmanagerFile,
			"component=circuit_breaker", "alertname="+m[1], "severity="+m[2], "service=pay").CombinedOutput()
		if want := "circuit_breaker_" + m[2]; err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s goes to %q (%v), want %s", m[1], out, err, want)
		}
	}
}

// The runbooks' route, for those who want to be woken by a lone instance, does what they say, and nothing else.
func TestTheRouteOfTheRunbooksSendsALoneInstanceToTheIncidents(t *testing.T) {
	_, route, _ := strings.Cut(read(t, "../../docs/runbooks/README.md"), "```yaml\n")
	route, _, found := strings.Cut(route, "```")
	before, after, routed := strings.Cut(read(t, alertmanagerFile), "  routes:\n")
	if !found || !routed {
		t.Fatal("there is no route in the runbooks, or none in the configuration")
	}
	file := filepath.Join(t.TempDir(), "alertmanager.yml")
	write(t, file, before+"  routes:\n"+route+after)
	for _, c := range []struct{ alertname, severity, service, want string }{
		{"CircuitBreakerOpen", "warning", "payments", "circuit_breaker_critical"},
		{"CircuitBreakerOpen", "warning", "mail", "circuit_breaker_warning"},
		{"CircuitBreakerHighFailureRate", "warning", "payments", "circuit_breaker_warning"},
		{"CircuitBreakerFleetOpen", "critical", "mail", "circuit_breaker_critical"},
	} {
		out, err := exec.Command(tool(t, "amtool"), "config", "routes", "test", "--config.file="+file,
			"component=circuit_breaker", "alertname="+c.alertname, "severity="+c.severity, "service="+c.service).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != c.want {
			t.Errorf("%s of %s goes to %q (%v), want %s", c.alertname, c.service, out, err, c.want)
		}
	}
}

// alert is one as Prometheus posts it.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt,omitzero"`
}

// newAlert begins now: one that began earlier than group_wait ago is sent without waiting for what inhibits it.
func newAlert(name, severity, service string) alert {
	return alert{
		Labels: map[string]string{
			"alertname": name, "severity": severity, "component": "circuit_breaker", "service": service, "endpoint": "https://pay:8443",
		},
		Annotations: map[string]string{
			"summary": "summary of " + name + " on " + service, "description": "Description of " + name + " on " + service + ".",
			"state": "7 open, 1 half-open, 2 closed", "failures": "about 36 in 5 minutes, 5 in a row", "outage": "13m 15s",
			"dashboard_url": "https://grafana.example.com/d/otelbreaker-overview?var-service=pay", "runbook_url": "https://runbooks.example.com/" + name,
		},
		StartsAt: time.Now(),
	}
}

// end has it end now, after twelve minutes and a half: Alertmanager takes the earliest beginning it is told.
func (a *alert) end() {
	a.EndsAt = time.Now()
	a.StartsAt = a.EndsAt.Add(-12*time.Minute - 30*time.Second)
}

// One outage, of which several alerts tell, is one message when it begins and one when it ends: by the real Alertmanager, with
// its configuration as it is but for the waits, to a receiver in place of Slack. What the alerts call
// the service would mention a channel, if it were not escaped.
func TestOneOutageIsOnePage(t *testing.T) {
	messages := make(chan string, 100)
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		messages <- string(body)
		_, _ = io.WriteString(w, "ok")
	}))
	defer slack.Close()
	post := startAlertmanager(t, slack.URL)

	const service = "<!channel> & <https://evil.example|pay>\n<!here>"
	next := func(what string) string {
		t.Helper()
		select {
		case m := <-messages:
			return m
		case <-time.After(patience):
			t.Fatalf("no message %s", what)
			return ""
		}
	}
	fleet := newAlert("CircuitBreakerFleetOpen", "critical", service)
	explained := []alert{
		newAlert("CircuitBreakerOpen", "warning", service),
		newAlert("CircuitBreakerHighFailureRate", "warning", service),
		newAlert("CircuitBreakerTrafficBlocked", "warning", service),
		newAlert("CircuitBreakerReplicasDisagree", "warning", service),
	}
	post(append(explained, fleet)...)
	golden(t, "firing.json", next("when it begins"))

	post(newAlert("CircuitBreakerNotRecovering", "critical", "mail"), newAlert("CircuitBreakerFlapping", "critical", "mail"),
		newAlert("CircuitBreakerFleetOpen", "critical", "mail"))
	golden(t, "fleet.json", next("of a fleet that does not recover"))

	post(newAlert("CircuitBreakerOpen", "warning", "stock"), newAlert("CircuitBreakerReplicasDisagree", "warning", "stock"),
		newAlert("CircuitBreakerNotRecovering", "critical", "stock"), newAlert("CircuitBreakerTrafficBlocked", "warning", "stock"))
	golden(t, "replica.json", next("of one replica"))

	// A later alert of another service has its message after those that the inhibited ones would have had.
	post(newAlert("CircuitBreakerOpen", "warning", "queue"))
	golden(t, "other.json", next("of another service"))

	for i := range explained {
		explained[i].end()
	}
	post(explained...)
	fleet.end()
	post(fleet)
	golden(t, "resolved.json", next("when it ends"))

	var gone []alert
	for _, service := range []string{"pay", "mail"} {
		a := newAlert("CircuitBreakerTelemetryGone", "warning", service)
		delete(a.Labels, "endpoint")
		a.Labels["job"] = "shop"
		gone = append(gone, a)
	}
	post(gone...)
	golden(t, "gone.json", next("of a program that is gone"))
}

// startAlertmanager runs it with the configuration of deploy/, and gives what posts alerts to it.
func startAlertmanager(t *testing.T, slack string) (post func(...alert)) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "webhook"), slack+"\n")
	config := read(t, alertmanagerFile)
	for old, replacement := range map[string]string{
		"/etc/alertmanager/secrets/slack_webhook": filepath.Join(dir, "webhook"),
		"group_wait: 35s":                         "group_wait: 500ms",
		"group_wait: 20s":                         "group_wait: 500ms",
		"group_interval: 1m":                      "group_interval: 500ms",
	} {
		if strings.Count(config, old) != 1 {
			t.Fatalf("%q is not once in %s", old, alertmanagerFile)
		}
		config = strings.Replace(config, old, replacement, 1)
	}
	write(t, filepath.Join(dir, "alertmanager.yml"), config)
	if err := os.Mkdir(filepath.Join(dir, "templates"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "templates", filepath.Base(templateFile)), read(t, templateFile))

	address := freeAddress(t)
	var output bytes.Buffer
	command := exec.Command(tool(t, "alertmanager"), "--config.file="+filepath.Join(dir, "alertmanager.yml"),
		"--storage.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--cluster.listen-address=")
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("alertmanager did not end well: %v", err)
		}
		if t.Failed() {
			t.Logf("alertmanager:\n%s", output.String())
		}
	})

	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for deadline := time.After(patience); ; {
		if response, err := http.Get("http://" + address + "/-/ready"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				break
			}
		}
		select {
		case <-retry.C:
		case <-deadline:
			t.Fatal("alertmanager is not ready")
		}
	}
	return func(list ...alert) {
		t.Helper()
		body, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.Post("http://"+address+"/api/v2/alerts", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(response.Body)
			t.Fatalf("%s: %s", response.Status, text)
		}
	}
}

// freeAddress is one that nobody listens on, at least a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// golden compares a message with the one in testdata. Neither may mention anybody or be more than text.
func golden(t *testing.T, name, message string) {
	t.Helper()
	var indented bytes.Buffer
	decoded := map[string]any{}
	if err := json.Unmarshal([]byte(message), &decoded); err != nil {
		t.Fatal(err)
	}
	encoder := json.NewEncoder(&indented)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(decoded); err != nil {
		t.Fatal(err)
	}
	if got := indented.String(); strings.ContainsAny(got, "<>") {
		t.Errorf("%s: there is a < or > that Slack would act on:\n%s", name, got)
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, indented.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := read(t, file); indented.String() != want {
		t.Errorf("%s is not what comes (go test -update writes it anew):\n%s", file, indented.String())
	}
}
