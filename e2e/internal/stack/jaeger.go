package stack

import (
	"testing"
	"time"
)

// jaegerEnd is how long a Jaeger has to end. It waits for the connections of those who send to it, some 15 seconds
// were not enough, and what it holds is in memory alone: nothing is lost by killing it.
const jaegerEnd = 2 * time.Second

// Jaeger is a running Jaeger with deploy/jaeger/jaeger.yaml.
type Jaeger struct {
	URL  string // its pages and API are below: /api/v3/traces/{id}
	OTLP string // over HTTP, a base URL

	health string

	process
}

// StartJaeger starts a Jaeger and waits until it is ready. It is stopped when the test ends, and its output is shown if
// the test has failed. The binary is .bin/jaeger, which `make e2e` builds. Nothing of the configuration is changed: it
// takes addresses from the environment.
func StartJaeger(t testing.TB) *Jaeger {
	t.Helper()
	s := siteOf(t)
	j, err := again(func() (*Jaeger, error) {
		j := &Jaeger{}
		return j, j.start(s)
	})
	if err != nil {
		t.Fatalf("starting Jaeger: %v", err)
	}
	j.stopAtEnd(t, "Jaeger")
	return j
}

// TracesTo are the settings of a collector that sends its spans to j.
func (j *Jaeger) TracesTo() []string {
	return []string{"COLLECTOR_TRACES_EXPORTER=otlp_http/traces", "COLLECTOR_TRACES_ENDPOINT=" + j.OTLP}
}

func (j *Jaeger) start(s *Site) error {
	j.impatient = jaegerEnd
	binary, err := s.binary("jaeger")
	if err != nil {
		return err
	}
	addr, err := s.addresses("127.0.0.1:16686", "127.0.0.1:16685", "127.0.0.1:4417", "127.0.0.1:4418", "127.0.0.1:13134")
	if err != nil {
		return err
	}
	j.URL, j.OTLP, j.health = "http://"+addr[0], "http://"+addr[3], "http://"+addr[4]+"/status"
	if err := j.run(s, []string{
		"JAEGER_QUERY=" + addr[0],
		"JAEGER_QUERY_GRPC=" + addr[1],
		"JAEGER_OTLP_GRPC=" + addr[2],
		"JAEGER_OTLP_HTTP=" + addr[3],
		"JAEGER_HEALTH=" + addr[4],
	}, binary, "--config="+s.deploy("jaeger/jaeger.yaml")); err != nil {
		return err
	}
	return j.waitPage(s.Life, j.health)
}
