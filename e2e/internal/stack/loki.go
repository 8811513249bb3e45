package stack

import (
	"strings"
	"testing"
)

// Loki is a running Loki with deploy/loki/loki.yaml.
type Loki struct {
	URL string // its API is below

	process
}

// StartLoki starts a Loki and waits until it is ready. It is stopped when the test ends, and its output is shown if the
// test has failed. The binary is .bin/loki, which `make e2e` builds. Nothing of the configuration is changed: it takes
// addresses and folder from the environment.
func StartLoki(t testing.TB) *Loki {
	t.Helper()
	s := siteOf(t)
	l, err := again(func() (*Loki, error) {
		l := &Loki{}
		return l, l.start(s)
	})
	if err != nil {
		t.Fatalf("starting Loki: %v", err)
	}
	l.stopAtEnd(t, "Loki")
	return l
}

// LogsTo are the settings of a collector that sends its log records to l.
func (l *Loki) LogsTo() []string {
	return []string{"COLLECTOR_LOGS_EXPORTER=otlp_http/logs", "COLLECTOR_LOGS_ENDPOINT=" + l.URL + "/otlp"}
}

func (l *Loki) start(s *Site) error {
	binary, err := s.binary("loki")
	if err != nil {
		return err
	}
	addr, err := s.addresses("127.0.0.1:3100", "127.0.0.1:9095")
	if err != nil {
		return err
	}
	storage, err := s.folder("loki")
	if err != nil {
		return err
	}
	_, http, _ := strings.Cut(addr[0], ":")
	_, grpc, _ := strings.Cut(addr[1], ":")
	l.URL = "http://" + addr[0]
	if err := l.run(s, []string{
		"LOKI_ADDRESS=127.0.0.1",
		"LOKI_HTTP_PORT=" + http,
		"LOKI_GRPC_PORT=" + grpc,
		"LOKI_STORAGE=" + storage,
	}, binary, "-config.file="+s.deploy("loki/loki.yaml"), "-config.expand-env",
		"-ingester.min-ready-duration=0s", // the 15 s are for a fleet that is restarted one by one
	); err != nil {
		return err
	}
	return l.waitPage(s.Life, l.URL+"/ready")
}
