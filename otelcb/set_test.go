package otelcb_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	sdklog "go.opentelemetry.io/otel/sdk/log"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/health"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

func mirror(t testing.TB, service string) *breaker.Mirror {
	t.Helper()
	m, err := breaker.NewMirror("other", breaker.Config{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestOneObservationServesASet has breakers of all kinds come and go under one observation with logs, and one page.
func TestOneObservationServesASet(t *testing.T) {
	var set breaker.Set
	own, group, other := newBreaker(t, breaker.Config{Service: "own"}), newGroup(t, breaker.Config{Service: "group"}), mirror(t, "other")
	reader, provider := newReader()
	var recorded recorder
	observe(t, &set, provider, otelcb.WithLogs(logs.WithLoggerProvider(sdklog.NewLoggerProvider(sdklog.WithProcessor(&recorded)))))
	page := health.Handler(&set)
	if err := set.Add(own, group, other); err != nil {
		t.Fatal(err)
	}
	call(own, 2, succeed)
	group.Get("there").ForceOpen("test")
	flush(t, group.Get("there")) // the recorder takes one at a time, and breakers tell at once
	other.Count(t.Context(), breaker.Result{})
	other.Move(t.Context(), breaker.Move{To: breaker.Open})
	if err := set.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := collect(t, reader)
	expect(t, got, key("requests", "own", "default", "outcome=success"), 2)
	expect(t, got, key("state", "group", "there"), 2)
	expect(t, got, key("requests", "other", "default", "outcome=success"), 1)
	if n := len(recorded.causes); n != 2 {
		t.Errorf("%d records of 2 transitions", n)
	}
	rec := httptest.NewRecorder()
	page.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	var shown struct {
		CircuitBreakers map[string]map[string]struct {
			State string
			Last  []any `json:"last_transitions"`
		} `json:"circuit_breakers"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	if e := shown.CircuitBreakers["other"]["default"]; len(shown.CircuitBreakers) != 3 || e.State != "open" || len(e.Last) != 1 {
		t.Errorf("the page shows %s", rec.Body)
	}

	set.Remove(other)
	expectNone(t, collect(t, reader), "service=other")
	other.Count(t.Context(), breaker.Result{})
	if err := set.Add(other); err != nil {
		t.Fatal(err)
	}
	// A series that comes back begins anew, as one of a breaker that was evicted does.
	expect(t, collect(t, reader), key("requests", "other", "default", "outcome=success"), 1)
}

// TestG13_ASetMayChangeWhileItIsScraped has no counter fall from one collection to the next while breakers come and go, and
// the one that stays always be there.
func TestG13_ASetMayChangeWhileItIsScraped(t *testing.T) {
	var set breaker.Set
	stays := mirror(t, "stays")
	if err := set.Add(stays); err != nil {
		t.Fatal(err)
	}
	reader, provider := newReader()
	observe(t, &set, provider)
	var over atomic.Bool
	var running sync.WaitGroup
	for i := range 3 {
		comes := mirror(t, fmt.Sprint("comes ", i))
		running.Go(func() {
			for !over.Load() {
				if err := set.Add(comes); err != nil {
					t.Error(err)
				}
				stays.Count(t.Context(), breaker.Result{})
				comes.Count(t.Context(), breaker.Result{})
				set.Remove(comes)
			}
		})
	}
	last, came := map[string]float64{}, false
	for range 300 {
		got := collect(t, reader)
		if _, found := got[key("state", "stays", "default")]; !found {
			t.Fatal("the one that stays is missing")
		}
		for k, v := range got {
			came = came || strings.Contains(k, "service=comes")
			if strings.HasPrefix(k, "circuit_breaker.requests{") && v < last[k] {
				t.Fatalf("%s fell from %v to %v", k, last[k], v)
			}
		}
		last = got // a series that comes back begins anew
	}
	over.Store(true)
	running.Wait()
	if !came {
		t.Error("none of those that come and go was ever seen")
	}
	expect(t, collect(t, reader), key("requests", "stays", "default", "outcome=success"), float64(stays.Breaker().Snapshot().Success))
}
