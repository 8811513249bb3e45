package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/deploy"
)

func TestBoard_RatesAndFigures(t *testing.T) {
	b := &board{}
	begin := time.UnixMilli(1_700_000_000_000)
	for i := range 8 {
		n := uint64(i)
		of := []tally{{20 * n, 0, 4 * n, 0}, {0, 2 * n, 0, 2 * n}}
		l := look{at: begin.Add(time.Duration(i) * lookEvery), of: of, cpu: 1 + float64(i)}
		l.all.add(of[0])
		l.all.add(of[1])
		b.note(l, &figures{})
	}
	if f, _, _ := b.known(); f.Requests != 14 || f.BlockRate != 4.0/28 || *f.CPU != 0.5 {
		t.Errorf("the figures are %+v, CPU %v", f, *f.CPU)
	}
	late := &board{looks: []look{{at: begin}}} // the system did not tell the first time
	late.note(look{at: begin.Add(lookEvery), cpu: 3600}, &figures{})
	if f, _, _ := late.known(); f.CPU != nil {
		t.Errorf("CPU is %v since nobody knows when", *f.CPU)
	}
	all, looks := b.rates(-1, 0)
	if len(all) != 7 || looks != 8 || all[0] != (rate{begin.Add(lookEvery).UnixMilli(), [4]float64{10, 1, 2, 1}}) {
		t.Errorf("of all: %v, %d", all, looks)
	}
	if second, _ := b.rates(1, looks-1); len(second) != 1 || second[0].PerSecond != [4]float64{0, 1, 0, 1} {
		t.Errorf("of the second: %v", second)
	}
	if none, _ := b.rates(-1, looks); len(none) != 0 {
		t.Errorf("nothing is new: %v", none)
	}
	for i := range 1000 {
		b.note(look{at: begin.Add(time.Duration(8+i) * lookEvery), of: make([]tally, 2)}, &figures{})
	}
	if kept, looks := b.rates(-1, 0); len(kept) > int(pastKept/lookEvery) || looks != 1008 {
		t.Errorf("it keeps %d of %d", len(kept), looks)
	}
}

func TestRecoveriesOf(t *testing.T) {
	page, err := parseMetrics([]byte(`# TYPE r histogram
r_bucket{service="a",le="0.1"} 1
r_bucket{service="a",le="2.5"} 3
r_bucket{service="a",le="+Inf"} 3
r_sum{service="a"} 4
r_count{service="a"} 3
r_bucket{service="b",le="0.1"} 0
r_bucket{service="b",le="2.5"} 1
r_bucket{service="b",le="+Inf"} 2
r_sum{service="b"} 9
r_count{service="b"} 2
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(recoveriesOf(page["r"])); got != "{[0.1 2.5] [1 3 1] 13}" {
		t.Errorf("they are %s", got)
	}
	if text, err := json.Marshal(recoveriesOf(nil)); err != nil || string(text) != `{"bounds":[],"counts":[],"sum":0}` {
		t.Errorf("none are %s, %v", text, err)
	}
}

// TestPage_Board reads from the stream what the demo knows of itself: it is what /metrics and the rule file say.
func TestPage_Board(t *testing.T) {
	a := startQuick(t, nil)
	a.load()
	if err := a.script.play(t.Context()); err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(a.url() + "/events?service=payments")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	stream := bufio.NewReader(res.Body)
	var rules []ruleShown
	var recovered recoveries
	var f *figures
	for f == nil || f.CPU == nil || len(recovered.Counts) == 0 || rules == nil {
		_, u := nextUpdate(t, stream)
		if u.Figures != nil {
			f = u.Figures
		}
		for told, into := range map[*json.RawMessage]any{&u.Alerts: &rules, &u.Recoveries: &recovered} {
			if len(*told) > 0 {
				if err := json.Unmarshal(*told, into); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if f.Requests <= 0 || f.Memory == nil || *f.Memory == 0 {
		t.Errorf("the figures are %+v", f)
	}
	if n := strings.Count(string(deploy.AlertRules), "- alert:"); len(rules) != n {
		t.Errorf("%d rules are told, want %d", len(rules), n)
	}
	for _, r := range rules {
		if r.Error != "" || r.Expr == "" || r.Severity == "" {
			t.Errorf("%+v", r)
		}
	}
	page, err := newOutputs(a.url()).metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := recoveriesOf(page["circuit_breaker_recovery_duration_seconds"]); fmt.Sprint(recovered) != fmt.Sprint(want) {
		t.Errorf("recoveries are %v, and of /metrics %v", recovered, want)
	}
	if res, body := ask(t, http.MethodGet, a.url()+"/events?service="+url.QueryEscape("no such"), nil, nil); res.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown service: %s %s", res.Status, body)
	}
}

func TestSlack_IsTold(t *testing.T) {
	told := &lines{t: t}
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := r.Write(told); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(receiver.Close) // behind the demo's end, which still tells
	file := filepath.Join(t.TempDir(), "webhook")
	if err := os.WriteFile(file, []byte(receiver.URL+"/services/secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := startQuick(t, func(s *settings) { s.slackFile = file })
	a.load()
	if err := a.script.play(t.Context()); err != nil {
		t.Fatal(err)
	}
	told.await("payments")
	if log := a.log.(*lines).String(); strings.Contains(log, "secret") {
		t.Errorf("the log has the address: %s", log)
	}
}

func TestSlack_AFileThatIsNotThere(t *testing.T) {
	s := quick(t)
	s.slackFile = filepath.Join(t.TempDir(), "missing")
	if code := show(t.Context(), s); code == 0 || !strings.Contains(s.log.(*lines).String(), "--slack-webhook-file") {
		t.Errorf("exit code %d: %s", code, s.log)
	}
}
