package exposition

import (
	"strings"
	"testing"
	"time"
)

// inProcess is a page as a process shows it itself.
const inProcess = `# HELP cb_recovery_seconds How long.
# TYPE cb_recovery_seconds histogram
cb_recovery_seconds_bucket{endpoint="http://a",service="s",le="0.1"} 0
cb_recovery_seconds_bucket{endpoint="http://a",service="s",le="0.25"} 1 # {trace_id="t",span_id="u"} 0.2 1.5
cb_recovery_seconds_bucket{endpoint="http://a",service="s",le="+Inf"} 1
cb_recovery_seconds_sum{endpoint="http://a",service="s"} 0.2
cb_recovery_seconds_count{endpoint="http://a",service="s"} 1
# HELP cb_state Now.
# TYPE cb_state gauge
cb_state{endpoint="http://a",service="s"} 0
cb_state{endpoint="http://b",service="s"} 2
cb_up 1
# HELP other Else.
# TYPE other gauge
other 7
`

// collected is the same page as a collector shows it: with job and instance, with other metrics
// besides, and with an exemplar's labels in the other order.
const collected = `# HELP cb_recovery_seconds How long.
# TYPE cb_recovery_seconds histogram
cb_recovery_seconds_bucket{endpoint="http://a",instance="i",job="j",service="s",le="0.1"} 0
cb_recovery_seconds_bucket{endpoint="http://a",instance="i",job="j",service="s",le="0.25"} 1 # {span_id="u",trace_id="t"} 0.2 1.5
cb_recovery_seconds_bucket{endpoint="http://a",instance="i",job="j",service="s",le="+Inf"} 1
cb_recovery_seconds_sum{endpoint="http://a",instance="i",job="j",service="s"} 0.2
cb_recovery_seconds_count{endpoint="http://a",instance="i",job="j",service="s"} 1
# HELP cb_state Now.
# TYPE cb_state gauge
cb_state{endpoint="http://a",instance="i",job="j",service="s"} 0
cb_state{endpoint="http://b",instance="i",job="j",service="s"} 2
cb_up{instance="i",job="j"} 1
# HELP target_info Target metadata
# TYPE target_info gauge
target_info{instance="i",job="j"} 1
`

func compare(t *testing.T, a, b string) string {
	t.Helper()
	pageA, err := Select([]byte(a), "cb_", "job", "instance")
	if err != nil {
		t.Fatal(err)
	}
	pageB, err := Select([]byte(b), "cb_", "job", "instance")
	if err != nil {
		t.Fatal(err)
	}
	if pageA == "" || pageB == "" {
		t.Fatal("a page with nothing selected proves nothing")
	}
	return Diff("process", pageA, "collector", pageB)
}

func TestDiff_SameOnBothRoutes(t *testing.T) {
	if d := compare(t, inProcess, collected); d != "" {
		t.Errorf("the pages differ:\n%s", d)
	}
}

func TestDiff_NoticesEveryDifference(t *testing.T) {
	tests := map[string]struct{ old, new string }{
		"label value":        {`cb_state{endpoint="http://b"`, `cb_state{endpoint="http://c"`},
		"label name":         {`cb_state{endpoint="http://b"`, `cb_state{endpoints="http://b"`},
		"further label":      {`cb_state{endpoint="http://b",`, `cb_state{endpoint="http://b",extra="",`},
		"label order":        {`cb_state{endpoint="http://b",instance="i",job="j",service="s"}`, `cb_state{service="s",endpoint="http://b"}`},
		"missing bucket":     {`cb_recovery_seconds_bucket{endpoint="http://a",instance="i",job="j",service="s",le="0.1"} 0` + "\n", ""},
		"bucket bound":       {`le="0.25"`, `le="0.250"`},
		"missing series":     {`cb_state{endpoint="http://b",instance="i",job="j",service="s"} 2` + "\n", ""},
		"series twice":       {"# HELP target_info", "cb_up 1\n# HELP target_info"},
		"value":              {`service="s"} 2`, `service="s"} 1`},
		"form of a value":    {`service="s"} 2`, `service="s"} 2.0`},
		"timestamp":          {`service="s"} 2`, `service="s"} 2 1700000000000`},
		"metric name":        {"cb_up", "cb_up_ratio"},
		"help":               {"How long.", "How long"},
		"type":               {"cb_state gauge", "cb_state counter"},
		"unit line":          {"# TYPE cb_recovery_seconds histogram\n", "# TYPE cb_recovery_seconds histogram\n# UNIT cb_recovery_seconds seconds\n"},
		"exemplar's trace":   {`trace_id="t"`, `trace_id="u"`},
		"exemplar's labels":  {`{span_id="u",trace_id="t"}`, `{trace_id="t"}`},
		"exemplar's value":   {`} 0.2 1.5`, `} 0.20 1.5`},
		"missing exemplar":   {` # {span_id="u",trace_id="t"} 0.2 1.5`, ""},
		"order of series":    {"cb_up{instance=\"i\",job=\"j\"} 1\n# HELP target_info", "# HELP cb_state Now.\ncb_up 1\n# HELP target_info"},
		"label ending in it": {`cb_state{endpoint="http://b"`, `cb_state{endpoint="http://b",subjob="j"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(collected, test.old, test.new, 1)
			if changed == collected {
				t.Fatalf("%q is not in the page", test.old)
			}
			if compare(t, inProcess, changed) == "" {
				t.Error("the difference was not noticed")
			}
		})
	}
}

func TestBetween(t *testing.T) {
	const before = Page("# TYPE cb_open counter\ncb_open{a=\"1\"} 1.5\ncb_open{a=\"2\"} 7\ncb_state{a=\"1\"} 2\n")
	const after = Page("# TYPE cb_open counter\ncb_open{a=\"1\"} 2.5\ncb_open{a=\"2\"} 7\ncb_state{a=\"1\"} 3\n")
	tests := map[string]struct {
		old, new string
		same     bool
	}{
		"grown in between":            {`cb_open{a="1"} 1.5`, `cb_open{a="1"} 2.125`, true},
		"as before":                   {`cb_open{a="1"} 1.5`, `cb_open{a="1"} 1.5`, true},
		"less than before":            {`cb_open{a="1"} 1.5`, `cb_open{a="1"} 1.4`, false},
		"more than after":             {`cb_open{a="1"} 1.5`, `cb_open{a="1"} 2.6`, false},
		"no number":                   {`cb_open{a="1"} 1.5`, `cb_open{a="1"} x`, false},
		"at rest but written another": {`cb_open{a="2"} 7`, `cb_open{a="2"} 7.0`, false},
		"another metric":              {`cb_state{a="1"} 3`, `cb_state{a="1"} 2`, false},
		"missing":                     {`cb_open{a="1"} 1.5` + "\n", ``, false},
		"of another series":           {`cb_open{a="1"} 1.5`, `cb_open{a="3"} 2`, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			page := strings.Replace(strings.Replace(string(before), `cb_state{a="1"} 2`, `cb_state{a="1"} 3`, 1), test.old, test.new, 1)
			difference := Diff("after", after, "page", Between(before, Page(page), after, "cb_open"))
			if same := difference == ""; same != test.same {
				t.Errorf("same: %t, want %t\n%s", same, test.same, difference)
			}
		})
	}
}

func TestSameMoment(t *testing.T) {
	const sample = `cb_bucket{note=" # {",le="0.5"} 1 # {trace_id="t"} 0.2 `
	const process = Page("# HELP cb_bucket x # {} 1 2\n" + sample + "1.7954397048397028e+09\n")
	tests := map[string]struct {
		line string
		same bool
	}{
		"the same":         {sample + "1.7954397048397028e+09\n", true},
		"a little later":   {sample + "1.7954397048397083e+09\n", true},
		"a little earlier": {sample + "1.795439704e+09\n", true},
		"much later":       {sample + "1.795439706e+09\n", false},
		"without a time":   {strings.TrimSuffix(sample, " ") + "\n", false},
		"no number":        {sample + "x\n", false},
		"another trace":    {strings.Replace(sample, `"t"`, `"u"`, 1) + "1.7954397048397028e+09\n", false},
		"another value":    {strings.Replace(sample, "0.2", "0.3", 1) + "1.7954397048397028e+09\n", false},
		"no exemplar":      {`cb_bucket{note=" # {",le="0.5"} 1` + "\n", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			page := Page("# HELP cb_bucket x # {} 1 2\n" + test.line)
			difference := Diff("process", process, "collector", SameMoment(page, process, time.Second))
			if same := difference == ""; same != test.same {
				t.Errorf("same: %t, want %t\n%s", same, test.same, difference)
			}
		})
	}
}

func TestSelect_ValuesThatLookLikeSyntax(t *testing.T) {
	const page = `cb_a{instance="i\"},job=\\",job="j",note="job=\"x\",} # {",service="s"} 1 # {job="kept",b="} # {"} 1` + "\n"
	const want = `cb_a{note="job=\"x\",} # {",service="s"} 1 # {b="} # {",job="kept"} 1` + "\n"
	got, err := Select([]byte(page), "cb_", "job", "instance")
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestSelect_BrokenLine(t *testing.T) {
	for _, page := range []string{`cb_a{x="1" 1`, `cb_a{x 1`, `cb_a{x="1\`, `cb_a`, `cb_a 1 # x`, `cb_a 1 # {x="1" 1`} {
		if got, err := Select([]byte(page), "cb_"); err == nil {
			t.Errorf("%q was taken for %q", page, got)
		}
	}
}
