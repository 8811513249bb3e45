package control_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/control"
)

func TestHandler_RefusesABreakerOfAnotherMake(t *testing.T) {
	r := newRig(t)
	mirror, err := breaker.NewMirror("gobreaker", breaker.Config{Service: "s", Endpoint: a})
	if err != nil {
		t.Fatal(err)
	}
	r.handle([]control.Source{r.group, mirror}) // also one of ours has its name
	orders := []string{order("force_open"), order("disable", "for", "1h"), order("reset"),
		order("reconfigure", "configuration", `{"MaxProbes": 2}`)}
	before := mirror.Breaker().Snapshot()
	for _, body := range orders {
		rec := r.post(alices, body)
		if rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), "another make (gobreaker)") {
			t.Errorf("%s: %d %s", body, rec.Code, rec.Body)
		}
	}
	for name, s := range map[string]breaker.Snapshot{"the mirror": mirror.Breaker().Snapshot(), "ours": r.snapshot()} {
		if s.State != breaker.Closed || s.Override != breaker.Automatic || s.OverrideNote != "" || s.Transitions != 0 ||
			s.Config.MaxProbes == 2 {
			t.Errorf("%s has changed: %+v", name, s)
		}
	}
	if after := mirror.Breaker().Snapshot(); after.Generation != before.Generation {
		t.Errorf("the mirror has changed: %+v", after)
	}
	all := r.audit()
	if len(all) != len(orders) {
		t.Fatalf("%d records, want %d", len(all), len(orders))
	}
	for _, record := range all {
		if record["result"] != "refused" || record["operator"] != "alice" {
			t.Errorf("the record is %v", record)
		}
	}
}
