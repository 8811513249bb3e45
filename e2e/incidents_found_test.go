package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/e2e/internal/incident"
)

// line is a record of Loki's, by its structured metadata.
type line map[string]string

// records asks Loki.
func (th *theatre) records(t *testing.T, logQL string) (all []line) {
	t.Helper()
	query := url.Values{
		"query": {logQL}, "limit": {"5000"}, "direction": {"forward"},
		"start": {strconv.FormatInt(th.began.UnixNano(), 10)},
	}
	answer := fetch(t.Context(), t, th.Loki.URL+"/loki/api/v1/query_range?"+query.Encode())
	var result struct {
		Data struct {
			Result []struct {
				Stream line
				Values [][2]string
			}
		}
	}
	if err := json.Unmarshal([]byte(answer), &result); err != nil {
		t.Fatalf("%s: %v: %.200s", logQL, err, answer)
	}
	for _, stream := range result.Data.Result {
		for range stream.Values {
			all = append(all, stream.Stream)
		}
	}
	return all
}

// checkFound finds every transition in Loki, by its outage and by its trace, and the trace of every call that opened a
// breaker in Jaeger.
func (th *theatre) checkFound(t *testing.T, accounts map[string]incident.Account) {
	transitions, outages, traces, opened := 0, map[string]string{}, map[string]bool{}, map[string]bool{}
	for route, account := range accounts {
		wantBy, transitionsOf := map[string]map[string]int{}, map[string][]incident.Transition{}
		for _, tr := range account.Transitions {
			transitions++
			outages[tr.Outage] = tr.Script
			if wantBy[tr.Outage] == nil {
				wantBy[tr.Outage] = map[string]int{}
			}
			wantBy[tr.Outage][tr.Event]++
			if tr.Trace != "" {
				traces[tr.Trace] = true
				transitionsOf[tr.Trace] = append(transitionsOf[tr.Trace], tr)
			} else if tr.Script != incident.ForgottenOpen && tr.Script != incident.Drill {
				t.Errorf("%s: a transition of %s that an operator did not cause has no trace", route, tr.Script)
			}
			if tr.Event == "circuit_opened" {
				opened[tr.Trace] = true
			}
		}
		stream := `{service_name="` + shop(route) + `"} | `
		for outage, want := range wantBy {
			var missing string
			waitAtMost(t, settle, "every transition of an outage of "+outages[outage]+" in Loki", func() bool {
				missing = lacking(want, th.records(t, stream+`outage_id="`+outage+`"`))
				return missing == ""
			})
			if missing != "" {
				t.Errorf("%s: by the outage %s of %s: %s", route, outage, outages[outage], missing)
			}
		}
		for id, all := range transitionsOf {
			records := th.records(t, stream+`trace_id="`+id+`"`)
			for _, tr := range all {
				found := false
				for _, r := range records {
					found = found || r["event_type"] == tr.Event && r["outage_id"] == tr.Outage && r["service"] == tr.Script &&
						r["endpoint"] == incident.Endpoint(tr.Script, route)
				}
				if !found {
					t.Errorf("%s: by the trace %s: no %s of %s in %v", route, id, tr.Event, tr.Script, records)
				}
			}
		}
	}
	for id := range opened {
		waitUntil(t, "the trace "+id+" in Jaeger, with the event of the trip", func() bool {
			trace := fetch(t.Context(), t, th.Jaeger.URL+"/api/v3/traces/"+id)
			return strings.Contains(trace, "circuit_breaker.state_change") && strings.Contains(trace, "circuit_opened")
		})
	}
	t.Logf("%d transitions found in Loki, by %d outages and by %d traces; %d traces in Jaeger", transitions, len(outages), len(traces), len(opened))
}

// lacking tells what of the events that are wanted is not there as often.
func lacking(want map[string]int, records []line) string {
	got := map[string]int{}
	for _, r := range records {
		got[r["event_type"]]++
	}
	var missing []string
	for event, n := range want {
		if got[event] < n {
			missing = append(missing, fmt.Sprintf("%d of %d %s", got[event], n, event))
		}
	}
	return strings.Join(missing, ", ")
}
