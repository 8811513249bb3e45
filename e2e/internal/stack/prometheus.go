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

	dir string
	process
}

// Feeds are what a Prometheus is connected to.
type Feeds struct {
	Services, Collectors []Target
	Alertmanagers        []Target // alerts are sent there
	Flags                []string // further ones of the command line
	Env                  []string // its environment
}

// StartPrometheus starts a Prometheus that scrapes services and collectors, and waits until it is ready. It
// is stopped when the test ends, and its output is shown if the test has failed. The binary is
// .bin/prometheus, which `make e2e` builds.
//
// Nothing of the configuration is changed but the interval of scrapes; the targets are in the files
// that it names.
func StartPrometheus(t *testing.T, services, collectors []Target) *Prometheus {
	t.Helper()
	return StartPrometheusWith(t, Feeds{Services: services, Collectors: collectors}, scrapeOften)
}

// StartPrometheusWith is StartPrometheus with all that it can be connected to, and nothing changed in the files of
// deploy/prometheus but what rewrite (nil: nothing) makes of them.
func StartPrometheusWith(t *testing.T, feeds Feeds, rewrite func(name string, content []byte) ([]byte, error)) *Prometheus {
	t.Helper()
	s := siteOf(t)
	s.Rewrite = rewrite
	p, err := again(func() (*Prometheus, error) {
		p := &Prometheus{}
		return p, p.start(t.Context(), s, feeds)
	})
	if err != nil {
		t.Fatalf("starting Prometheus: %v", err)
	}
	p.stopAtEnd(t, "Prometheus")
	return p
}

// scrapeOften sets the interval of scrapes to ScrapeInterval.
func scrapeOften(name string, content []byte) ([]byte, error) {
	if name != "prometheus/prometheus.yml" {
		return content, nil
	}
	const interval = "scrape_interval: 15s"
	if bytes.Count(content, []byte(interval)) != 1 {
		return nil, fmt.Errorf("%s does not have the line %q once", name, interval)
	}
	return bytes.Replace(content, []byte(interval), []byte("scrape_interval: "+ScrapeInterval), 1), nil
}

func (p *Prometheus) start(ctx context.Context, s *Site, feeds Feeds) error {
	binary, err := s.binary("prometheus")
	if err != nil {
		return err
	}
	addr, err := s.addresses("127.0.0.1:9090")
	if err != nil {
		return err
	}
	if p.dir, err = s.folder("prometheus"); err != nil {
		return err
	}
	if err := s.copyFolder("prometheus", p.dir); err != nil {
		return err
	}
	if err := p.setTargets(feeds); err != nil {
		return err
	}
	p.URL = "http://" + addr[0]
	if err := p.run(s, feeds.Env, binary, append([]string{
		"--config.file=" + filepath.Join(p.dir, "prometheus.yml"),
		"--storage.tsdb.path=" + filepath.Join(p.dir, "data"),
		"--web.listen-address=" + addr[0],
		"--web.external-url=" + p.URL,
		"--enable-feature=exemplar-storage",
		"--web.enable-otlp-receiver",
		"--web.enable-remote-write-receiver",
		"--scrape.discovery-reload-interval=100ms", // or the first scrape is five seconds away
		"--log.level=warn",
	}, feeds.Flags...)...); err != nil {
		return err
	}
	client, err := api.NewClient(api.Config{Address: p.URL})
	if err != nil {
		return errors.Join(err, p.kill())
	}
	p.API = v1.NewAPI(client)
	return p.waitPage(ctx, p.URL+"/-/ready")
}

// Own fetches its metrics of its own.
func (p *Prometheus) Own(ctx context.Context) ([]byte, error) { return get(ctx, p.URL+"/metrics", "") }

// setTargets writes the files of targets that prometheus.yml names. Prometheus notices changes of them.
func (p *Prometheus) setTargets(feeds Feeds) error {
	for name, targets := range map[string][]Target{
		"services": feeds.Services, "collectors": feeds.Collectors, "alertmanagers": feeds.Alertmanagers,
	} {
		content, err := targetFile(targets)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(p.dir, "targets", name+".yml"), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// CheckPrometheus has promtool check deploy/prometheus/prometheus.yml, as it is, with the files that it names, and
// returns what it prints.
func CheckPrometheus(t *testing.T) (string, error) {
	t.Helper()
	s := siteOf(t)
	binary, err := s.binary("promtool")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(t.Context(), binary, "check", "config", s.deploy("prometheus/prometheus.yml")).CombinedOutput()
	return string(out), err
}

// targetFile is a file of targets. JSON is YAML, too.
func targetFile(targets []Target) ([]byte, error) {
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
	return json.Marshal(groups)
}
