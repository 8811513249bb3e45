package main

import (
	"bytes"
	"strings"
	"testing"
)

const found = `{"config":{"protocol_version":"v1.0.0"}}
{"osv":{"id":"GO-1","summary":"of Go"}}
{"osv":{"id":"GO-2","summary":"of a dependency"}}
{"finding":{"osv":"GO-1","fixed_version":"v1.99.9","trace":[{"module":"stdlib","package":"net/http","function":"Get"}]}}
{"finding":{"osv":"GO-2","trace":[{"module":"example.com/dep"}]}}
{"finding":{"osv":"GO-2","trace":[{"module":"example.com/dep","package":"example.com/dep/p"}]}}
`

func TestWhatIsCalledOfADependencyIsAnError(t *testing.T) {
	const called = `{"finding":{"osv":"GO-2","fixed_version":"v1.2.3","trace":[{"module":"example.com/dep","package":"example.com/dep/p","function":"F"}]}}`
	for name, c := range map[string]struct {
		text    string
		release bool
		bad     bool
		told    string
	}{
		"imported":           {found, false, false, "GO-2 example.com/dep: is imported, and not called; no version has it fixed"},
		"of Go":              {found, false, false, "GO-1 stdlib: is called by ours; fixed in v1.99.9 (of Go)"},
		"of Go in a release": {found, true, true, "GO-1 stdlib: ERROR: is called by ours"},
		"called":             {found + called, false, true, "GO-2 example.com/dep: ERROR: is called by ours"},
		"nothing":            {"", true, false, "0 vulnerabilities"},
	} {
		t.Run(name, func(t *testing.T) {
			all, out := findings{}, bytes.Buffer{}
			if err := all.read("ours", strings.NewReader(c.text)); err != nil {
				t.Fatal(err)
			}
			if err := all.judge(c.release, &out); (err != nil) != c.bad {
				t.Errorf("%v", err)
			}
			if !strings.Contains(out.String(), c.told) {
				t.Errorf("%q is not told:\n%s", c.told, out.String())
			}
		})
	}
	if err := (findings{}).read("ours", strings.NewReader("{")); err == nil {
		t.Error("half an answer passes")
	}
}
