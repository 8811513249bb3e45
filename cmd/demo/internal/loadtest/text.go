package loadtest

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

func percent(share float64) string { return fmt.Sprintf("%.4g %%", 100*share) }

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Microsecond).String()
}

// WriteText writes the report for people.
func (r *Report) WriteText(out io.Writer) error {
	var b strings.Builder
	line := func(head, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s  %s\n", head, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "\nLoad test: %s, %s%s\n\n", r.Scenario, r.Target, map[bool]string{true: ", an upstream of its own"}[r.OwnUpstream])
	line("requests", "%d in %.1f s; %.1f of %.0f a second, %d at once at most", r.Requests.Total, r.Duration, r.Rate.Made, r.Rate.Asked, r.Rate.Peak)
	if !r.Rate.Held {
		line("", "the rate was not held, %d requests were late: %s", r.Rate.Late, cmp.Or(r.Rate.Reason, "there was no time"))
	}
	line("answers", "%s well", percent(r.Requests.Success))
	for _, label := range slices.SortedFunc(maps.Keys(r.Requests.Answers), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.Requests.Answers[b], r.Requests.Answers[a]), strings.Compare(a, b))
	}) {
		line("", "%7d  %s", r.Requests.Answers[label], label)
	}
	head := "latency"
	for _, l := range []struct {
		what string
		*Latency
	}{{"sent", r.Latency.Sent}, {"blocked", r.Latency.Blocked}} {
		if l.Latency != nil {
			line(head, "%7d  %-7s  p50 %s  p90 %s  p95 %s  p99 %s  max %s", l.Requests, l.what,
				seconds(l.P50), seconds(l.P90), seconds(l.P95), seconds(l.P99), seconds(l.Max))
			head = ""
		}
	}
	line("outcomes", "%7s  %7s  %7s  %7s", "success", "failure", "blocked", "ignored")
	for _, c := range []struct {
		who string
		Counts
	}{{"client", r.Calls.Client}, {"breaker", r.Calls.Breaker}} {
		line("  "+c.who, "%7d  %7d  %7d  %7d", c.Success, c.Failure, c.Blocked, c.Ignored)
	}
	if len(r.Outages) == 0 {
		line("breaker", "it never opened")
	}
	for i, o := range r.Outages {
		line(fmt.Sprintf("outage %d", i+1), "opened at %.2f s: %s", o.Opened, reason(o.Rule, o.Observed, o.Threshold, o.ErrorType))
		if len(r.Breakers) > 1 {
			line("", "%s", o.Endpoint)
		}
		line("", "reopened %d times, %d calls blocked", o.Reopened, o.Blocked)
		if o.Closed == nil {
			line("", "not over")
		} else {
			line("", "recovered at %.2f s, after %s", *o.Closed, seconds(*o.Recovery))
		}
	}
	head = "expected"
	for _, v := range r.Expectations {
		line(head, "%s  %s: %s; found: %s", map[bool]string{true: "ok  ", false: "FAIL"}[v.Met], v.Name, v.Want, v.Found)
		head = ""
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// Failed names the expectations that were not met.
func (r *Report) Failed() (names []string) {
	for _, v := range r.Expectations {
		if !v.Met {
			names = append(names, v.Name)
		}
	}
	return names
}
