package e2e

import (
	"regexp"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// TestParity runs outages through breakers that are set up as in the quick start, on both routes at
// once, and compares what comes out: the process's own /metrics, and the page of a real collector
// that the process exports to. Every line about a circuit_breaker_… metric must be the same byte for
// byte and in the same order, HELP and TYPE included, in the text format and in OpenMetrics with its
// exemplars. Left aside are:
//
//   - the labels job and instance, which only the collector's page has;
//   - target_info, which is about the process and not a breaker;
//   - the order of an exemplar's labels, which changes between any two readings of either page;
//   - the time of an exemplar, which the SDK takes once for each route: they must be less than a
//     second apart;
//   - the value of circuit_breaker_open_seconds_total of a breaker that is open meanwhile: it grows
//     of itself, so the collector's must lie between two readings of the process's.
//
// The log records and spans of the same outages are then looked for in what the collector passes on.
func TestParity(t *testing.T) {
	for name, route := range map[string]struct {
		protocol string
		endpoint func(*stack.Collector) string
	}{
		"grpc": {"grpc", func(c *stack.Collector) string { return "http://" + c.GRPC }},
		"http": {"http/protobuf", func(c *stack.Collector) string { return c.HTTP }},
	} {
		t.Run(name, func(t *testing.T) {
			c := stack.Start(t)
			p := startProcess(t, route.protocol, route.endpoint(c))
			payments := p.recoveredOutage(t)
			p.lastingOutage(t)
			p.switchedOff(t)

			own := p.pipeline.MetricsHandler()
			for format, accept := range formats {
				page := string(waitEqual(t, own, c, accept, "circuit_breaker_", "circuit_breaker_open_seconds_total"))
				checkContents(t, format, page, payments)
				t.Logf("%s: no difference in %d lines about circuit_breaker_… metrics", format, strings.Count(page, "\n"))
			}

			p.shutdown(t)
			if err := c.Stop(); err != nil {
				t.Fatal(err)
			}
			spans := checkSpans(t, c, payments)
			checkLogs(t, c, payments, spans)
		})
	}
}

// checkContents makes sure that the routes agree on what is true: every metric of the contract is on
// the page, with what the outages must have left.
func checkContents(t *testing.T, format, page string, payments outage) {
	t.Helper()
	page = strings.ReplaceAll(page, ".0\n", "\n") // OpenMetrics writes whole numbers so
	of := `{endpoint="` + payments.endpoint + `",`
	for _, want := range []string{
		`state` + of + `service="payments"} 0`,
		`requests_total` + of + `outcome="success",service="payments"} 4`,
		`requests_total` + of + `outcome="failure",service="payments"} 4`,
		`requests_total` + of + `outcome="blocked",service="payments"} 5`,
		`requests_total` + of + `outcome="ignored",service="payments"} 1`,
		`transitions_total` + of + `from_state="closed",service="payments",to_state="open"} 1`,
		`transitions_total` + of + `from_state="open",service="payments",to_state="half_open"} 2`,
		`transitions_total` + of + `from_state="half_open",service="payments",to_state="open"} 1`,
		`transitions_total` + of + `from_state="half_open",service="payments",to_state="closed"} 1`,
		`failures_current` + of + `service="payments"} 0`,
		`recovery_duration_seconds_bucket` + of + `service="payments",le="0.5"} 0`,
		`recovery_duration_seconds_bucket` + of + `service="payments",le="1800.5"} 1`,
		`recovery_duration_seconds_count` + of + `service="payments"} 1`,
		`open_seconds_total` + of + `service="payments"} 0.`,
		`last_failure_time` + of + `service="payments"} 1.`,
		`override` + of + `service="payments"} 0`,
	} {
		if !strings.HasSuffix(want, ".") { // a whole number, and not the beginning of another
			want += "\n"
		}
		if !strings.Contains(page, "\ncircuit_breaker_"+want) {
			t.Errorf("%s: no circuit_breaker_%s", format, want)
		}
	}
	for _, want := range []string{
		`circuit_breaker_state\{.*service="inventory"\} 2`,
		`circuit_breaker_slow_calls_total\{.*service="inventory"\} 2`,
		`circuit_breaker_override\{.*service="reviews"\} 2`,
	} {
		if !regexp.MustCompile(want).MatchString(page) {
			t.Errorf("%s: no %s", format, want)
		}
	}
	exemplar := ` # {span_id="` + payments.closedBy.SpanID().String() + `",trace_id="` + payments.closedBy.TraceID().String() + `"} `
	if has := strings.Contains(page, exemplar); has != (format == "openmetrics") {
		t.Errorf("%s: the exemplar%s is there: %t", format, exemplar, has)
	}
	if t.Failed() {
		t.Logf("the page:\n%s", page)
	}
}
