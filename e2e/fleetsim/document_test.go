package fleetsim

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// told is what a run of the whole fleet has shown.
type told struct {
	Instances, Endpoints, Series int
	Open                         int           // instances
	Alerted                      time.Duration // after the outage began
	Exports                      taken
	Queue                        float64 // bytes, when the gateway was killed
	Away                         time.Duration
	Panels, Rules, Groups        []timed
	Head                         float64 // series in Prometheus, with those of the rules
	Missed                       float64 // evaluations
	GiB                          map[string]float64
}

// save writes what a run has shown into testdata, from where it goes into docs/fleet-telemetry.md.
func save(t *testing.T, name string, shown any) {
	t.Helper()
	content, err := json.MarshalIndent(shown, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", name), append(content, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}
