package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/cmd/demo/internal/loadtest"
	"github.com/otelbreaker/otelbreaker/internal/cli"
)

func TestLoad_Usage(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		says []string
	}{
		{"--help", cli.OK, []string{"demo load [flags]", "--url URL", "--allow-remote", "--expect-recovery-within", "1 to 2000", "docs/load.md", "  3  "}},
		{"-rate 0 -for 1h", cli.Usage, []string{"--rate is 0", "1 to 2000", "--for is 1h0m0s", "demo load --help"}},
		{"--scenario fire", cli.Usage, []string{`--scenario is "fire"`, "brownout"}},
		{"--for soon", cli.Usage, []string{"--for", "soon"}},
		{"--min-success 2 --max-p99 0s", cli.Usage, []string{"--min-success is 2", "--max-p99 is 0s"}},
		{"--min-success 0", cli.Usage, []string{"--min-success is 0"}},
		{"--breaker {", cli.Usage, []string{"--breaker"}},
		{`--breaker {"failure_rat":1}`, cli.Usage, []string{"--breaker", "failure_rat"}},
		{`--breaker {"failure_rate":7}`, cli.Usage, []string{"--breaker", "FailureRate"}},
		{"--url http://u:word@192.0.2.1/?word", cli.Usage, []string{"--url", "192.0.2.1", "loopback", "--allow-remote"}},
		{"--url ftp://u:word@127.0.0.1/?word", cli.Usage, []string{"--url", `"ftp"`, "http://"}},
		{"now", cli.Usage, []string{`"now"`}},
	} {
		out, log := &lines{t: t}, &lines{t: t}
		args := append([]string{"load"}, strings.Fields(c.args)...)
		if code := run(t.Context(), args, out, log); code != c.code {
			t.Errorf("%s: exit code %d, want %d", c.args, code, c.code)
		}
		for _, text := range c.says {
			if !strings.Contains(out.String()+log.String(), text) {
				t.Errorf("%s: %q is not said:\n%s%s", c.args, text, out, log)
			}
		}
		if strings.Contains(log.String(), "word") {
			t.Errorf("%s: it says what may be secret: %s", c.args, log)
		}
	}
	out, log := &lines{t: t}, &lines{t: t}
	if run(t.Context(), []string{"__complete", "load", "--scenario", "fl"}, out, log); !strings.Contains(out.String(), "flapping") {
		t.Errorf("scenarios are completed by %s", out)
	}
}

// TestLoad_ExitCodes has an expectation met and another not, both ways to write the report.
func TestLoad_ExitCodes(t *testing.T) {
	out, log := &lines{t: t}, &lines{t: t}
	if code := run(t.Context(), []string{"load", "--for", "1s", "--min-success", "0.99", "--max-openings", "0"}, out, log); code != cli.OK {
		t.Errorf("exit code %d\n%s\n%s", code, out, log)
	}
	for _, text := range []string{"ok    min-success", "ok    max-openings", "ok    accounts-agree", "it never opened", "p99 "} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("the report has no %q:\n%s", text, out)
		}
	}

	out, log = &lines{t: t}, &lines{t: t}
	if code := run(t.Context(), []string{"load", "--for", "1s", "--json", "--max-p99", "1ms", "--max-openings", "0", "--min-blocked", "1"}, out, log); code != exitUnmet {
		t.Errorf("exit code %d, want %d\n%s", code, exitUnmet, log)
	}
	if !strings.Contains(log.String(), "not as expected: max-p99, min-blocked\n") || strings.Contains(log.String(), "--help") {
		t.Errorf("it says %s", log)
	}
	var r loadtest.Report
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if r.Passed || len(r.Failed()) != 2 || r.Requests.Total < 45 {
		t.Errorf("the report is %+v", r)
	}
}

func TestLoad_InterruptedReportsAndFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, log := &lines{t: t}, &lines{t: t}
	ended := make(chan int)
	go func() { ended <- run(ctx, []string{"load", "--for", "5m"}, out, log) }()
	log.await("requests,")
	cancel()
	if code := <-ended; code != exitUnmet {
		t.Errorf("exit code %d, want %d", code, exitUnmet)
	}
	if !strings.Contains(log.String(), "not as expected: completed") || !strings.Contains(out.String(), "FAIL  completed") || !strings.Contains(out.String(), "ok    accounts-agree") {
		t.Errorf("it says %s\n%s", out, log)
	}
}
