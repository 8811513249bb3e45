package fleet_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/fleet"
)

// What the source names is in the document, and the numbers that it tells are those of the source.
func TestTheDocumentTellsEverySignal(t *testing.T) {
	text := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	document := text("../docs/fleet.md")
	names := regexp.MustCompile(`"(circuit_breaker\.[a-z._]+|fleet_[a-z]+|[a-z]+_seconds|error\.type|operation)"`).FindAllStringSubmatch(text("telemetry.go"), -1)
	if len(names) < 9 {
		t.Errorf("found but %d names in the source", len(names))
	}
	for _, m := range names {
		if !strings.Contains(document, "`"+m[1]+"`") {
			t.Errorf("the document lacks %s", m[1])
		}
	}
	for what, said := range map[string]bool{
		"the hold's bound":      strings.Contains(document, "`WithHoldBound` ("+fleet.DefaultHoldBound.String()+")"),
		"the life of a replica": strings.Contains(document, "three heartbeats ("+(3*fleet.DefaultHeartbeat).String()+")"),
		"the lease":             strings.Contains(document, "its probe's lease after 10 s") == (fleet.DefaultProbeLease.String() == "10s"),
	} {
		if !said {
			t.Errorf("the document has another number for %s", what)
		}
	}
}
