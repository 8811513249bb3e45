package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// ScrapeInterval is how often a test's Prometheus scrapes, as in its configuration.
const ScrapeInterval = "500ms"

// Target is what a Prometheus scrapes.
type Target struct {
	Address string // host:port
	Job     string // the label job; empty: the scrape configuration's
}

// Prometheus is a running Prometheus with deploy/prometheus/prometheus.yml, all of whose ways to take
// metrics are open.
type Prometheus struct {
	URL string
	API v1.API

	process
}

// StartPrometheus starts a Prometheus that scrapes services and collectors, and waits until it is ready. It
// is stopped when the test ends, and its output is shown if the test has failed. The binary is
// .bin/prometheus, which `make e2e` builds.
//
// Nothing of the configuration is changed but the interval of scrapes; the targets are in the files
// that it names.
func StartPrometheus(t *testing.T, services, collectors []Target) *Prometheus {
	t.Helper()
	place := findPlace(t)
	dir := t.TempDir()
	config, err := os.ReadFile(filepath.Join(place.root, "deploy", "prometheus", "prometheus.yml"))
	if err != nil {
		t.Fatal(err)
	}
	const interval = "scrape_interval: 15s"
	if bytes.Count(config, []byte(interval)) != 1 {
		t.Fatalf("prometheus.yml does not have the line %q once", interval)
	}
	config = bytes.Replace(config, []byte(interval), []byte("scrape_interval: "+ScrapeInterval), 1)
	for name, content := range map[string][]byte{
		"prometheus.yml":         config,
		"targets/services.yml":   targetFile(t, services),
		"targets/collectors.yml": targetFile(t, collectors),
	} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}

	p := &Prometheus{}
	if err := p.run(t, nil, place.binary(t, "prometheus"),
		"--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0",
		"--enable-feature=exemplar-storage",
		"--web.enable-otlp-receiver",
		"--web.enable-remote-write-receiver",
		"--scrape.discovery-reload-interval=100ms", // or the first scrape is five seconds away
	); err != nil {
		t.Fatalf("starting Prometheus: %v", err)
	}
	p.stopAtEnd(t, "Prometheus")
	if err := p.waitFor(t.Context(), p.ready); err != nil {
		t.Fatalf("starting Prometheus: %v", err)
	}
	client, err := api.NewClient(api.Config{Address: p.URL})
	if err != nil {
		t.Fatal(err)
	}
	p.API = v1.NewAPI(client)
	return p
}

// CheckPrometheus has promtool check deploy/prometheus/prometheus.yml, as it is, with the files that it names, and
// returns what it prints.
func CheckPrometheus(t *testing.T) (string, error) {
	t.Helper()
	place := findPlace(t)
	config := filepath.Join(place.root, "deploy", "prometheus", "prometheus.yml")
	out, err := exec.CommandContext(t.Context(), place.binary(t, "promtool"), "check", "config", config).CombinedOutput()
	return string(out), err
}

// targetFile is a file of targets. JSON is YAML, too.
func targetFile(t *testing.T, targets []Target) []byte {
	t.Helper()
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels,omitempty"`
	}
	groups := []group{}
	for _, target := range targets {
		g := group{Targets: []string{target.Address}}
		if target.Job != "" {
			g.Labels = map[string]string{"job": target.Job}
		}
		groups = append(groups, g)
	}
	content, err := json.Marshal(groups)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// listening is the line in which Prometheus tells the port that the kernel gave it.
var listening = regexp.MustCompile(`msg="Listening on" component=web address=(\S+)`)

func (p *Prometheus) ready(ctx context.Context) error {
	line := listening.FindStringSubmatch(p.Output())
	if line == nil {
		return errors.New("it has not told its address")
	}
	p.URL = "http://" + line[1]
	if _, err := get(ctx, p.URL+"/-/ready", ""); err != nil {
		return fmt.Errorf("its address is known: %w", err)
	}
	return nil
}
