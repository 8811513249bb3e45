package timescale

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The bounds of circuit_breaker_recovery_duration_seconds.
var bounds = []float64{0.1, 0.25, 0.5, 1.5, 2.5, 7.5, 15.5, 30.5, 60.5, 120.5, 300.5, 600.5, 1800.5}

// shipped are the files that users are given.
func shipped(t *testing.T) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	for _, name := range []string{
		"prometheus/circuit_breaker_alerts.yml", "prometheus/circuit_breaker_recording.yml", "prometheus/prometheus.yml",
		"alertmanager/alertmanager.yml",
	} {
		content, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = content
	}
	return files
}

func newScale(t *testing.T, by float64, files map[string][]byte) *Scale {
	t.Helper()
	s, err := New(by, bounds, files)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRewrite_OneChangesNothing: to the byte.
func TestRewrite_OneChangesNothing(t *testing.T) {
	files := shipped(t)
	s := newScale(t, 1, files)
	for name, content := range files {
		scaled, err := s.Rewrite(name, content)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(scaled, content) {
			t.Errorf("%s has changed", name)
		}
	}
	if len(s.Changes()) != 0 {
		t.Errorf("changes: %v", s)
	}
}

// TestRewrite_FindsEveryDuration counts them in the text of the shipped files, which knows nothing of the parsers, and
// looks for those that are left in what comes out.
func TestRewrite_FindsEveryDuration(t *testing.T) {
	const by = 1.0 / 40
	files := shipped(t)
	s := newScale(t, by, files)
	comment := regexp.MustCompile(`(?m)(^|\s)#.*$`)
	durations := regexp.MustCompile(`(\[|:|\boffset |: )([0-9]+[smhd])+\b`)
	bound := regexp.MustCompile(`[0-9]+\.5\b`) // as all bounds of ours end, and thresholds of counts
	inLe := regexp.MustCompile(`\ble=~?["'][^"']*["']`)
	want, got := 0, 0
	for name, content := range files {
		text := comment.ReplaceAll(content, nil)
		want += len(durations.FindAll(text, -1))
		for _, le := range inLe.FindAll(text, -1) {
			want += len(bound.FindAll(le, -1))
		}
		scaled, err := s.Rewrite(name, content)
		if err != nil {
			t.Fatal(err)
		}
		for _, whole := range []string{"[15m]", "[5m]", "[1h]", "15m:", "offset 15m", "300.5", "for: 2m", "scrape_interval: 15s"} {
			if bytes.Contains(comment.ReplaceAll(scaled, nil), []byte(whole)) {
				t.Errorf("%s still has %s", name, whole)
			}
		}
		var readable any
		if err := yaml.Unmarshal(scaled, &readable); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for place, n := range s.Changes() {
		if place != Number {
			got += n
		}
	}
	if got != want || want == 0 {
		t.Errorf("%d durations and bounds changed of %d: %v", got, want, s)
	}
	t.Logf("%v", s)
}

func TestExpression(t *testing.T) {
	const records = `groups: [{name: g, rules: [
		{record: "share", expr: "rate(open_seconds_total[3m])"},
		{record: "calls", expr: "sum(rate(calls_total[5m]))"},
		{record: "slow", expr: "histogram_quantile(0.9, rate(took_seconds_bucket[5m]))"}]}]`
	for _, test := range []struct{ what, expr, want string }{
		{"range", `increase(calls_total[15m]) > 6.5`, `increase(calls_total[22s500ms]) > 6.5`},
		{"offset", `up offset 1m`, `up offset 1s500ms`},
		{"negative offset", `up offset -1m`, `up offset -1s500ms`},
		{"subquery", `max_over_time((up == bool 0)[1h:15s] offset 5m)`, `max_over_time((up == bool 0)[1m30s:375ms] offset 7s500ms)`},
		{"seconds", `increase(open_seconds_total[5m]) > 200`, `increase(open_seconds_total[7s500ms]) > 5`},
		{"number first", `200 < increase(open_seconds_total[5m])`, `5 < increase(open_seconds_total[7s500ms])`},
		{"seconds by seconds", `rate(open_seconds_total[5m]) > 0.5`, `rate(open_seconds_total[7s500ms]) > 0.5`},
		{"calls a second", `rate(calls_total[5m]) > 2`, `rate(calls_total[7s500ms]) > 80`},
		{"calls in a time", `rate(calls_total[5m]) * 300 > 20`, `rate(calls_total[7s500ms]) * 300 > 800`},
		{"share", `rate(bad_total[5m]) / rate(calls_total[5m]) > 0.1`, `rate(bad_total[7s500ms]) / rate(calls_total[7s500ms]) > 0.1`},
		{"now", `time() - circuit_breaker_last_failure_time > 15 * 60`, `time() - circuit_breaker_last_failure_time > 0.375 * 60`},
		{"duration as a number", `time() - last_time > 5m`, `time() - last_time > 7s500ms`},
		{"quantile", `histogram_quantile(0.95, sum by (le) (rate(took_seconds_bucket[5m]))) > 300`, `histogram_quantile(0.95, sum by (le) (rate(took_seconds_bucket[7s500ms]))) > 7.5`},
		{"mean", `took_seconds_sum / took_seconds_count > 40`, `took_seconds_sum / took_seconds_count > 1`},
		{"bound", `took_seconds_bucket{le="300.5"}`, `took_seconds_bucket{le="7.5"}`},
		{"bounds", `took_seconds_bucket{le=~"300.5|600.5|[+]Inf"}`, ``},
		{"several bounds", `took_seconds_bucket{le=~"300\\.5|600.5"}`, `took_seconds_bucket{le=~"7\\.5|15.5"}`},
		{"infinity", `took_seconds_bucket{le="+Inf"}`, `took_seconds_bucket{le="+Inf"}`},
		{"record of a share", `share > 0.3`, `share > 0.3`},
		{"record of calls a second", `calls > 1`, `calls > 40`},
		{"record of seconds", `slow > 40`, `slow > 1`},
		{"clamped", `clamp_min(open_seconds_total, 40)`, `clamp_min(open_seconds_total, 1)`},
		{"default", `open_seconds_total or vector(40)`, `open_seconds_total or vector(1)`},
		{"unlike", `open_seconds_total > calls_total`, ``},
		{"unknown function", `predict_linear(open_seconds_total[5m], 60)`, ``},
		{"no step", `max_over_time(up[5m:])`, ``},
		{"at", `up @ 5`, ``},
		{"no name", `{job="x"} > 5`, ``},
		{"too short", `rate(calls_total[10ms])`, ``},
	} {
		t.Run(test.what, func(t *testing.T) {
			s := newScale(t, 1.0/40, map[string][]byte{"records.yml": []byte(records)})
			got, err := s.expression(test.expr)
			if (err != nil) != (test.want == "") || err == nil && got != test.want {
				t.Errorf("%s\nbecame %s\nwant   %s\nerror  %v", test.expr, got, test.want, err)
			}
		})
	}
}

func TestTemplate(t *testing.T) {
	s := newScale(t, 1.0/40, nil)
	got, err := s.template(`in 5 minutes {{ printf "increase(x{%[1]s}[5m]) or y{le='300.5',%[1]s}[2h:15s] offset 1m" $b | query }} [1] [see 5m]`)
	want := `in 5 minutes {{ printf "increase(x{%[1]s}[7s500ms]) or y{le='7.5',%[1]s}[3m:375ms] offset 1s500ms" $b | query }} [1] [see 5m]`
	if err != nil || got != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
}

// TestBound_Refuses: a scale at which two buckets become one, or that has none near enough, would test other rules than
// those that are shipped.
func TestBound_Refuses(t *testing.T) {
	s := newScale(t, 1.0/40, nil)
	if _, err := s.boundsOf("300.5|310", Bound); err == nil || !strings.Contains(err.Error(), "another scale") {
		t.Errorf("two bounds became one: %v", err)
	}
	if _, err := newScale(t, 1.0/70, nil).boundsOf("300.5", Bound); err == nil || !strings.Contains(err.Error(), "no bucket") {
		t.Errorf("a bound far off was taken: %v, want an error", err)
	}
}

func TestConfiguration(t *testing.T) {
	s := newScale(t, 1.0/40, nil)
	got, err := s.Rewrite("alertmanager/alertmanager.yml", []byte("route:\n  group_wait: 30s\n  routes:\n    - repeat_interval: 4h\n"))
	if want := "route:\n    group_wait: 750ms\n    routes:\n        - repeat_interval: 6m\n"; err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	if _, err := s.Rewrite("x.yml", []byte("route:\n  new_setting: 30s\n")); err == nil || !strings.Contains(err.Error(), "new_setting") {
		t.Errorf("a duration that is not known: %v, want an error", err)
	}
	if _, err := New(0, nil, nil); err == nil {
		t.Error("By = 0 was taken")
	}
}
