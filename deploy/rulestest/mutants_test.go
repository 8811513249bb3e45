package rulestest_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mutant is a rule that is not what it should be: once in it, old is new.
type mutant struct{ rule, old, new string }

const (
	refusing = "breaker:circuit_breaker_refusing:share3m"
	edges    = "breaker:circuit_breaker_transitions:increase15m"
	changes  = "breaker:circuit_breaker_changes:increase15m"
	longer   = "breaker:circuit_breaker_recoveries_longer:increase15m"
	share    = "service_endpoint:circuit_breaker_refusing:ratio"
	failures = "service_endpoint:circuit_breaker_failures:ratio_rate5m"
	blocked  = "service_endpoint:circuit_breaker_blocked:ratio_rate5m"
	rates    = "service_endpoint_outcome:circuit_breaker_requests:rate5m"
	lasting  = "breaker:circuit_breaker_unclosed:state15m"
	siblings = "job_service_endpoint:circuit_breaker_siblings_failures:ratio_rate5m"
	alone    = "breaker:circuit_breaker_alone:since_time"
	disagree = "CircuitBreakerReplicasDisagree"
)

// mutants are thresholds, windows, waits and conditions, by the test files (without _test.yml) of which at least one
// case has to fail.
var mutants = map[string][]mutant{
	"open open_more open_otlp": {
		{refusing, "> 0.3", "> 0.1"},
		{refusing, "> 0.3", "> 0.5"},
		{refusing, "total[3m]) or", "total[1m]) or"},
		{refusing, "total[3m]) or", "total[6m]) or"},
		{refusing, "[3m:15s]) / 12", "[3m:15s]) / 120"},
		{refusing, "unless present_over_time(circuit_breaker_open_seconds_total[10m])", ""},
		{refusing, "and circuit_breaker_state > 0", ""},
		{refusing, "and last_over_time(circuit_breaker_state[5m] offset 1m) > 0", ""},
		{refusing, "offset 1m) > 0", "offset 45s) > 0"},
		{refusing, "offset 1m) > 0", "offset 75s) > 0"},
		{refusing, "circuit_breaker_state == 2 or", "circuit_breaker_state >= 1 or"},
		{refusing, "or breaker:circuit_breaker_refusing:share3m )", ")"},
		{refusing, "or sum without (from_state, to_state) ( increase(circuit_breaker_transitions_total{from_state=\"half_open\", to_state=\"open\"}[3m]) ) > 0.5", ""},
		{refusing, "unless min_over_time(circuit_breaker_state[1m]) == 0", ""},
		{refusing, "to_state=\"closed\"}[75s]) ) > 0.5", "to_state=\"closed\"}[75s]) ) > 5"},
		{refusing, "[75s]", "[1m]"},
		{"CircuitBreakerOpen", "cluster, namespace, service, endpoint", "service, endpoint"},
		{"CircuitBreakerOpen", "cluster, namespace, service, endpoint", "cluster, namespace, service"},
		{"CircuitBreakerOpen", "cluster, namespace, service, endpoint", "cluster, namespace, service, endpoint, instance"},
		{"CircuitBreakerOpen", "== 1) or vector(0)", "== 1)"},
	},
	"fleet": {
		{"CircuitBreakerFleetOpen", "> 0.5", ">= 0.5"},
		{"CircuitBreakerFleetOpen", "> 0.5", "> 0.7"},
		{"CircuitBreakerFleetOpen", ">= 2", ">= 1"},
		{"CircuitBreakerFleetOpen", ">= 2", ">= 3"},
		{share, "/ count by (cluster, namespace, service, endpoint) (circuit_breaker_state)", "/ count by (cluster, namespace, service, endpoint) (present_over_time(circuit_breaker_state[10m]))"},
	},
	"disagree": {
		{siblings, "outcome=\"failure\"}[5m]) unless ignoring (outcome) breaker:circuit_breaker_refusing:share3m", "outcome=\"failure\"}[5m])"},
		{siblings, "outcome=\"failure\"}[5m]", "outcome=~\"failure|blocked\"}[5m]"},
		{siblings, "outcome=~\"success|failure\"}[5m]", "outcome=\"success\"}[5m]"},
		{siblings, "outcome=~\"success|failure\"}[5m]", "outcome!=\"\"}[5m]"},
		{siblings, "( sum by (cluster, namespace, job, service, endpoint) (", "( sum by (cluster, namespace, job, service, endpoint, outcome) ("},
		{siblings, "> 0.065", "> 0.062"},
		{siblings, "> 0.065", "> 0.068"},
		{alone, "[50s]", "[30s]"},
		{alone, "[50s]", "[2m]"},
		{alone, "last_over_time(breaker:circuit_breaker_alone:since_time[50s]) or", ""},
		{alone, "ratio_rate5m <= 0.10", "ratio_rate5m < 0.10"},
		{alone, "ratio_rate5m <= 0.10", "ratio_rate5m <= 0.12"},
		{alone, "<= 0.5", "< 0.5"},
		{alone, "<= 0.5", "<= 0.7"},
		{alone, "unless circuit_breaker_override == 1", ""},
		{alone, "unless circuit_breaker_override == 1", "unless circuit_breaker_override == 2"},
		{alone, "and breaker:circuit_breaker_refusing:share3m and on", "and on"},
		{disagree, ">= 300", ">= 285"},
		{disagree, ">= 300", "> 300"},
		{disagree, "unless breaker:circuit_breaker_alone:since_time", ""},
		{disagree, "unless circuit_breaker_override == 1", ""},
		{disagree, "unless count by (cluster, namespace, service, endpoint) ( breaker", "unless count by (cluster, namespace, job, service, endpoint) ( breaker"},
		{disagree, "keep_firing_for: 30s", "keep_firing_for: 15s"},
		{disagree, "keep_firing_for: 30s", "keep_firing_for: 45s"},
		{disagree, "count by (cluster, namespace, service, endpoint) ( time()", "count by (cluster, namespace, service, endpoint, instance) ( time()"},
	},
	"flapping flapping_more": {
		{"CircuitBreakerFlapping", "> 6.5) keep_firing_for", "> 5.5)\n        keep_firing_for"},
		{"CircuitBreakerFlapping", "> 6.5) keep_firing_for", "> 7.5)\n        keep_firing_for"},
		{"CircuitBreakerFlapping", "count by (cluster, namespace, service, endpoint) (breaker:circuit_breaker_changes:increase15m >", "sum by (cluster, namespace, service, endpoint) (breaker:circuit_breaker_changes:increase15m) > (0*"},
		{edges, "increase(circuit_breaker_transitions_total[15m])", "increase(circuit_breaker_transitions_total[5m])"},
		{edges, "increase(circuit_breaker_transitions_total[15m])", "increase(circuit_breaker_transitions_total[20m])"},
		{edges, "- clamp_min(min_over_time(circuit_breaker_transitions_total[15m]) - 1, 0)", "- min_over_time(circuit_breaker_transitions_total[15m])"},
		{edges, "- clamp_min(min_over_time(circuit_breaker_transitions_total[15m]) - 1, 0)", ""},
		{edges, "unless ignoring (from_state, to_state) present_over_time(circuit_breaker_state[5m] offset 15m)", ""},
		{edges, "unless resets(circuit_breaker_transitions_total[15m]) > 0", ""},
		{changes, "from_state=\"closed\"", "from_state!=\"half_open\""},
		{changes, "{from_state=\"half_open\", to_state=\"closed\"}", "{from_state=\"half_open\"}"},
		{changes, "or breaker:circuit_breaker_transitions:increase15m{to_state=\"closed\"}", ""},
		{changes, "and circuit_breaker_state", ""},
		{changes, "unless max_over_time(circuit_breaker_override[15m]) > 0", ""},
		{changes, "circuit_breaker_override[15m]) > 0", "circuit_breaker_override[10m]) > 0"},
		{changes, "circuit_breaker_override[15m]) > 0", "circuit_breaker_override[20m]) > 0"},
		{changes, "unless max_over_time(circuit_breaker_override[15m]) > 0", "unless circuit_breaker_override > 0"},
		{changes, "and sum without (outcome) (increase(circuit_breaker_requests_total{outcome=\"failure\"}[15m])) == 0", ""},
		{changes, "outcome=\"failure\"", "outcome=\"blocked\""},
		{changes, "(increase(circuit_breaker_requests_total{outcome=\"failure\"}[15m])) == 0", "(increase(circuit_breaker_requests_total{outcome=\"failure\"}[15m])) >= 0"},
		{changes, "unless increase(circuit_breaker_slow_calls_total[15m]) > 0", ""},
		{changes, "{from_state=\"open\", to_state=\"closed\"}", "{to_state=\"closed\"}"},
		{changes, "{from_state=\"open\", to_state=\"closed\"}", "{from_state=\"half_open\", to_state=\"closed\"}"},
	},
	"failure_rate failure_rate_more": {
		{"CircuitBreakerHighFailureRate", "> 0.10", ">= 0.09"},
		{"CircuitBreakerHighFailureRate", "> 0.10", "> 0.12"},
		{"CircuitBreakerHighFailureRate", "> 19.5", "> 18.5"},
		{"CircuitBreakerHighFailureRate", "> 19.5", "> 20.5"},
		{"CircuitBreakerHighFailureRate", "> 4.5", "> 3.5"},
		{"CircuitBreakerHighFailureRate", "> 4.5", "> 9.5"},
		{"CircuitBreakerHighFailureRate", "outcome!=\"ignored\"", "outcome!=\"\""},
		{"CircuitBreakerHighFailureRate", "outcome!=\"ignored\"", "outcome=~\"success|failure\""},
		{"CircuitBreakerHighFailureRate", "for: 2m", "for: 1m45s"},
		{"CircuitBreakerHighFailureRate", "for: 2m", "for: 2m15s"},
		{failures, "\"success|failure\"", "\"success|failure|blocked\""},
		{failures, "\"success|failure\"", "\"success|failure|ignored\""},
		{rates, "[5m]", "[1m]"},
		{rates, "[5m]", "[10m]"},
		{failures, "/ (sum without (outcome) (", "/ (sum without () ("},
		{failures, ") > 0)", "))"},
	},
	"blocked": {
		{"CircuitBreakerTrafficBlocked", "ratio_rate5m > 0.5", "ratio_rate5m >= 0.5"},
		{"CircuitBreakerTrafficBlocked", "ratio_rate5m > 0.5", "ratio_rate5m > 0.6"},
		{"CircuitBreakerTrafficBlocked", "> 19.5", "> 9.5"},
		{"CircuitBreakerTrafficBlocked", "> 19.5", "> 299.5"},
		{"CircuitBreakerTrafficBlocked", "for: 2m", "for: 1m45s"},
		{"CircuitBreakerTrafficBlocked", "for: 2m", "for: 2m15s"},
		{rates, "[5m]", "[2m]"},
		{rates, "[5m]", "[10m]"},
	},
	"stuck_half_open": {
		{"CircuitBreakerStuckHalfOpen", "and circuit_breaker_state == 1 and", "and"},
		{"CircuitBreakerStuckHalfOpen", "breaker:circuit_breaker_unclosed:state15m == 1 and", ""},
		{"CircuitBreakerStuckHalfOpen", "[15m15s]", "[5m]"},
		{"CircuitBreakerStuckHalfOpen", "and sum without (outcome) (increase(circuit_breaker_requests_total{outcome=\"blocked\"}[15m])) > 0.5", ""},
		{"CircuitBreakerStuckHalfOpen", "unless sum without (outcome) (increase(circuit_breaker_requests_total{outcome!=\"blocked\"}[15m])) > 0.5", ""},
		{"CircuitBreakerStuckHalfOpen", "unless sum without (from_state, to_state) (increase(circuit_breaker_transitions_total{to_state=\"half_open\"}[15m15s])) > 0.5", ""},
	},
	"stuck": {
		{lasting, "offset 15m) > 0", "offset 14m45s) > 0"},
		{lasting, "offset 15m) > 0", "offset 15m15s) > 0"},
		{"CircuitBreakerStuckOpen", "state15m == 2", "state15m == 1"},
		{"CircuitBreakerStuckOpen", "state15m == 2 unless", "state15m == 2 and"},
		{"CircuitBreakerStuckOpen", "[15m15s]) ) > 0.5", "[15m15s]) ) > 5"},
		{"CircuitBreakerStuckOpen", "[15m15s]", "[5m]"},
		{"CircuitBreakerStuckOpen", "[15m15s]", "[20m]"},
	},
	"stuck_fleet": {
		{"CircuitBreakerStuckOpen", "circuit_breaker_override != 1", "circuit_breaker_override != 7"},
		{"CircuitBreakerStuckOpen", "circuit_breaker_fleet_connected == 1", "circuit_breaker_fleet_connected >= 0"},
		{"CircuitBreakerStuckOpen", "[15m30s]) ) > 0.5", "[15m30s]) ) > -1"},
		{"CircuitBreakerStuckOpen", "[15m30s]) ) > 0.5", "[15m30s]) ) > 5"},
	},
	"not_recovering": {
		{lasting, "offset 15m) > 0", "offset 14m45s) > 0"},
		{lasting, "offset 15m) > 0", "offset 15m15s) > 0"},
		{lasting, "and circuit_breaker_state > 0 and", "and circuit_breaker_state offset 1m > 0 and"},
		{lasting, "and min_over_time(circuit_breaker_state[15m]) > 0", ""},
		{"CircuitBreakerNotRecovering", "to_state=\"open\"}[15m15s]) ) > 0.5", "to_state=\"open\"}[15m15s]) ) > -1"},
		{"CircuitBreakerNotRecovering", "to_state=\"open\"}[15m15s]) ) > 0.5", "to_state=\"open\"}[15m15s]) ) > 1.5"},
		{"CircuitBreakerNotRecovering", "to_state=\"closed\"}[15m15s]) ) > 0.5", "to_state=\"closed\"}[15m15s]) ) > 5"},
		{"CircuitBreakerNotRecovering", "to_state=\"closed\"}[15m15s]", "to_state=\"closed\"}[10m]"},
		{"CircuitBreakerNotRecovering", "[5m]) ) > 0.5", "[5m]) ) > 50"},
		{"CircuitBreakerNotRecovering", "[5m]) ) > 0.5", "[10m]) ) > 0.5"},
	},
	"slow_recovery slow_recovery_words": {
		{"CircuitBreakerSlowRecovery", "le=\"300.5\"}) >", "le=\"600.5\"}) >"},
		{"CircuitBreakerSlowRecovery", "le=\"300.5\"}) > 0.5", "le=\"300.5\"}) > 1.5"},
		{longer, "count_over_time(circuit_breaker_state[15m]) >", "2 * count_over_time(circuit_breaker_state[15m]) >"},
		{longer, "count_over_time(circuit_breaker_state[15m]) >", "0 * count_over_time(circuit_breaker_state[15m]) >"},
		{longer, "[15m:15s]", "[30m:15s]"},
		{longer, "[15m:15s]", "[2m:15s]"},
	},
	"after_outage": {
		{"CircuitBreakerFleetOpen", "keep_firing_for: 1m30s", "keep_firing_for: 1s"},
		{"CircuitBreakerFleetOpen", "keep_firing_for: 1m30s", "keep_firing_for: 3m"},
		{"CircuitBreakerHighFailureRate", "unless ignoring (outcome) breaker:circuit_breaker_closings:increase5m", ""},
		{"CircuitBreakerHighFailureRate", "unless ignoring (outcome)", "unless on (service)"},
		{"CircuitBreakerHighFailureRate", "and count by (cluster, namespace, service, endpoint) (circuit_breaker_state)", ""},
		{"CircuitBreakerTrafficBlocked", "and count by (cluster, namespace, service, endpoint) (circuit_breaker_state)", ""},
		{"CircuitBreakerTrafficBlocked", "unless ignoring (outcome) breaker:circuit_breaker_closings:increase5m", ""},
	},
	"failed_scrape": {
		{refusing, "last_over_time(circuit_breaker_state[5m] offset 1m)", "circuit_breaker_state offset 1m"},
		{"CircuitBreakerOpen", "keep_firing_for: 30s", "keep_firing_for: 15s"},
		{"CircuitBreakerOpen", "keep_firing_for: 30s", "keep_firing_for: 45s"},
		{edges, "present_over_time(circuit_breaker_state[5m] offset 15m)", "circuit_breaker_state offset 15m"},
		{"CircuitBreakerFlapping", "keep_firing_for: 30s", ""},
		{"CircuitBreakerStuckOpen", "keep_firing_for: 30s", ""},
		{lasting, "last_over_time(circuit_breaker_state[5m] offset 15m)", "circuit_breaker_state offset 15m"},
		{"CircuitBreakerNotRecovering", "keep_firing_for: 30s", ""},
		{"CircuitBreakerOverrideLeftOn", "keep_firing_for: 2m", ""},
		{"CircuitBreakerOverrideLeftOn", "last_over_time(circuit_breaker_override[5m] offset 1h)", "circuit_breaker_override offset 1h"},
	},
	"telemetry_gone": {
		{"CircuitBreakerTelemetryGone", "[30m]", "[10m]"},
		{"CircuitBreakerTelemetryGone", "[30m]", "[60m]"},
		{"CircuitBreakerTelemetryGone", "for: 5m", "for: 4m"},
		{"CircuitBreakerTelemetryGone", "for: 5m", "for: 6m"},
		{"CircuitBreakerTelemetryGone", "count by (cluster, namespace, job, service) ( present", "count by (cluster, namespace, job, service, instance) ( present"},
		{"CircuitBreakerTelemetryGone", "unless on (cluster, namespace, job) count by (cluster, namespace, job) (circuit_breaker_state)", ""},
		{"CircuitBreakerTelemetryGone", "unless on (cluster, namespace, job) count", "unless on (cluster, namespace) count"},
		{"CircuitBreakerTelemetryGone", "unless on (cluster, namespace, job) count by (cluster, namespace, job)", "unless on (cluster, namespace, job, service) count by (cluster, namespace, job, service)"},
		{"CircuitBreakerTelemetryGone", "unless on (cluster, namespace, job) count by (cluster, namespace, job)", "unless on (namespace, job) count by (namespace, job)"},
		{"CircuitBreakerTelemetryGone", "unless on (cluster, namespace, job) up == 1", ""},
		{"CircuitBreakerTelemetryGone", "unless on (cluster, namespace, job) up == 1", "unless on (cluster, namespace, job) up"},
		{"CircuitBreakerTelemetryGone", "unless on (cluster, namespace, job) up == 1", "unless on (cluster, namespace) up == 1"},
		{"CircuitBreakerTelemetryGone", "unless on (cluster, namespace, job) up == 1", "unless on (cluster, job) up == 1"},
		{"CircuitBreakerTelemetryGone", "unless on (cluster, namespace, job) target_info", ""},
		{"CircuitBreakerTelemetryGone", "unless on (cluster, namespace, job) target_info", "unless on (cluster, namespace) target_info"},
		{"CircuitBreakerTelemetryGone", "unless on (cluster, namespace, job) target_info", "unless on (namespace, job) target_info"},
	},
	"override": {
		{"CircuitBreakerOverrideLeftOn", "circuit_breaker_override > 0 and min", "circuit_breaker_override > 1 and min"},
		{"CircuitBreakerOverrideLeftOn", "circuit_breaker_override > 0 and min", "circuit_breaker_override offset 2m > 0 and min"},
		{"CircuitBreakerOverrideLeftOn", "min_over_time(circuit_breaker_override[1h]) > 0 and", "min_over_time(circuit_breaker_override[1h]) >= 0 and"},
		{"CircuitBreakerOverrideLeftOn", "offset 1h) > 0", "offset 59m) > 0"},
		{"CircuitBreakerOverrideLeftOn", "offset 1h) > 0", "offset 61m) > 0"},
	},
}

// The tests know each rule's thresholds, windows, waits and conditions: with any of them changed, a case fails.
func TestADoctoredRuleFailsACase(t *testing.T) {
	text := read(t, alertsFile)
	doctored := map[string]bool{}
	for files, list := range mutants {
		for _, m := range list {
			doctored[m.rule] = true
			t.Run(m.rule+"/"+m.old+"/"+m.new, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				write(t, filepath.Join(dir, filepath.Base(alertsFile)), m.apply(t, text))
				out, err := exec.Command(tool(t, "promtool"), "check", "rules", filepath.Join(dir, filepath.Base(alertsFile))).CombinedOutput()
				if err != nil {
					t.Fatalf("is no rule at all: %v\n%s", err, out)
				}
				for name := range strings.FieldsSeq(files) {
					name += "_test.yml"
					file := filepath.Join(dir, name)
					write(t, file, strings.Replace(read(t, filepath.Join(testsDir, name)), "../"+filepath.Base(alertsFile), filepath.Base(alertsFile), 1))
					for _, r := range promtool(t, file) {
						if len(r.Failures) > 0 {
							return
						}
					}
				}
				t.Errorf("no case of %s fails", files)
			})
		}
	}
	for _, alert := range alerts(t) {
		if !doctored[alert] {
			t.Errorf("%s is not doctored", alert)
		}
	}
}

// apply doctors one rule of the file. Blanks in old stand for any space between words, comments included.
func (m mutant) apply(t *testing.T, text string) string {
	t.Helper()
	start := strings.Index(text, ": "+m.rule+"\n")
	if start < 0 {
		t.Fatalf("there is no rule %s", m.rule)
	}
	end := len(text)
	if next := regexp.MustCompile(`\n      - (alert|record): `).FindStringIndex(text[start:]); next != nil {
		end = start + next[0]
	}
	words := strings.Fields(m.old)
	for i, w := range words {
		words[i] = regexp.QuoteMeta(w)
	}
	found := regexp.MustCompile(strings.Join(words, `(?:\s+|\s*#.*\n)+`)).FindAllStringIndex(text[start:end], -1)
	if len(found) != 1 {
		t.Fatalf("%q is in the rule %d times", m.old, len(found))
	}
	return text[:start+found[0][0]] + m.new + text[start+found[0][1]:]
}
