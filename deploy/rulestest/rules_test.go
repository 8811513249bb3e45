// Package rulestest_test runs the tests of the alert rules by promtool, and checks that those tests would notice
// a rule that is not what it was. It is a module of its own because it needs programs in .bin/, which `make rules`
// builds.
package rulestest_test

import (
	"encoding/xml"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	alertsFile = "../prometheus/circuit_breaker_alerts.yml"
	testsDir   = "../prometheus/tests"

	// leastCases are promised to whoever changes a rule.
	leastCases = 40
)

// tool gives the path of a program in .bin/.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", ".bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s is not there: `make rules` builds it from its pinned module, and then runs these tests", path)
	} else if err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// result is promtool's of one case.
type result struct {
	Name     string   `xml:"name,attr"`
	Failures []string `xml:"failure"`
}

// promtool runs the cases of test files, and gives the result of each.
func promtool(t *testing.T, files ...string) []result {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.xml")
	// It exits with 1 where a case fails, and with 1 where it could not begin; then there is no report.
	command := exec.Command(tool(t, "promtool"), append([]string{"test", "rules", "--junit=" + report}, files...)...)
	command.Env = append(os.Environ(), "GOGC=400") // it lives for a second: a fifth less of the processor
	out, _ := command.CombinedOutput()
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("promtool wrote no report: %v\n%s", err, out)
	}
	var suites struct {
		Suites []struct {
			Cases []result `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &suites); err != nil {
		t.Fatal(err)
	}
	var cases []result
	for _, s := range suites.Suites {
		cases = append(cases, s.Cases...)
	}
	return cases
}

func testFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testsDir, "*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files in %s: %v", testsDir, err)
	}
	return files
}

// Each case of each file is a test of its own here, so that it is counted and can be named.
func TestRules(t *testing.T) {
	cases := 0
	for _, file := range testFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), "_test.yml"), func(t *testing.T) {
			results := promtool(t, file)
			// promtool leaves a case that it cannot read out of its report.
			if want := strings.Count(read(t, file), "\n  - name: "); len(results) != want {
				t.Errorf("promtool reports %d cases, the file has %d", len(results), want)
			}
			cases += len(results)
			for _, r := range results {
				t.Run(r.Name, func(t *testing.T) {
					for _, f := range r.Failures {
						t.Error(f)
					}
				})
			}
		})
	}
	if cases < leastCases {
		t.Errorf("%d cases, at least %d are wanted", cases, leastCases)
	}
}

// Each alert is seen with all its labels and annotations at an evaluation, and is seen not to be there before.
func TestEachAlertIsSeenInFull(t *testing.T) {
	all := ""
	for _, file := range testFiles(t) {
		all += read(t, file)
	}
	for _, alert := range alerts(t) {
		if !regexp.MustCompile(`alertname: ` + alert + `\n +exp_alerts:\n +- exp_labels: .+\n +exp_annotations:\n`).MatchString(all) {
			t.Errorf("no test has the labels and annotations of %s", alert)
		}
		if alert != "CircuitBreakerSlowRecovery" && !regexp.MustCompile(`alertname: `+alert+`\n +exp_alerts: \[\]`).MatchString(all) {
			t.Errorf("no test has %s absent", alert)
		}
		if !strings.Contains(all, `{alertname="`+alert+`"}`) {
			t.Errorf("no test has the minute of %s", alert)
		}
	}
}

// alerts are the names of the alerts, in the order of the file.
func alerts(t *testing.T) (names []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(read(t, alertsFile), -1) {
		names = append(names, m[1])
	}
	if len(names) < 10 {
		t.Fatalf("%d alerts: %v", len(names), names)
	}
	return names
}

func TestPromtoolAcceptsTheRules(t *testing.T) {
	files := []string{alertsFile, "../prometheus/circuit_breaker_recording.yml"}
	for _, file := range files {
		out, err := exec.Command(tool(t, "promtool"), "check", "rules", "--lint=all", "--lint-fatal", file).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
	out, err := exec.Command(tool(t, "promtool"), "check", "config", "../prometheus/prometheus.yml").CombinedOutput()
	if err != nil {
		t.Errorf("prometheus.yml: %v\n%s", err, out)
	}
	for _, file := range files {
		if !strings.Contains(string(out), filepath.Base(file)) {
			t.Errorf("prometheus.yml does not load %s", file)
		}
	}
}
