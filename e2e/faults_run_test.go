package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/exposition"
	"github.com/otelbreaker/otelbreaker/e2e/internal/load"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// faultResult is what came of a program and one kind of trouble with its collector.
type faultResult struct {
	name   string
	seenBy map[string]bool // tests

	before, first, second load.Stretch  // the last two during the trouble
	delivered             time.Duration // how long the breaker's listeners took during it
	during                int           // transitions

	known          load.Totals // when the collector was back and the calls had ended
	counters       string      // what is wrong with them on the collector's page
	records, spans count
	again          int                           // records that arrived more than once
	written        map[load.Transition]time.Time // records that arrived

	ending load.End // in the middle of the trouble again
}

// cutsShort tells whether the trouble cuts exports short.
func (r *faultResult) cutsShort() bool {
	return r.name == "killed" || r.name == "refusing" || r.name == "black hole"
}

// count is of log records or spans.
type count struct{ made, arrived, dropped uint64 }

// lacking is how many have neither arrived nor been counted as dropped; less than 0 where some have both.
func (c count) lacking() int { return int(c.made) - int(c.arrived+c.dropped) }

func (c count) String() string {
	return fmt.Sprintf("%d made, %d arrived, %d dropped", c.made, c.arrived, c.dropped)
}

// faultRun is a run that is under way.
type faultRun struct {
	trouble
	collector *stack.Collector
	backend   *backend
	program   *program
	*faultResult
}

func runFault(t *testing.T, binary, name, protocol string) *faultResult {
	t.Helper()
	b, c := startBackend(t)
	trouble := troubles[name](t, c, protocol)
	r := &faultRun{
		trouble: trouble, collector: c, backend: b,
		program:     startLoad(t, binary, exportTo(trouble.endpoint(), protocol)...),
		faultResult: &faultResult{name: name, seenBy: make(map[string]bool)},
	}
	r.measure(t)
	r.compare(t)
	r.shutdown(t)
	return r.faultResult
}

// measure measures calls before and during the trouble.
func (r *faultRun) measure(t *testing.T) {
	t.Helper()
	r.program.ask("Go")
	r.program.ask("Storm")
	r.before = ask[load.Stretch](r.program, "Run", 2000)
	inTheMiddle := r.name == "killed"
	if !inTheMiddle { // but with no log record under way, so that they can be counted to the unit
		r.program.ask("Calm")
		told := uint64(r.told())
		r.eventually(func() bool {
			records, _ := r.backend.arrived()
			return records == told
		})
	}
	told := r.told()
	r.begin(t)
	if !inTheMiddle {
		r.program.ask("Storm")
	}
	r.first = r.stretch(3000)
	r.delivered = ask[time.Duration](r.program, "Flush", struct{}{})
	r.second = r.stretch(8000)
	r.during = r.told() - told
}

// told is how many transitions there were.
func (r *faultRun) told() int {
	return len(ask[load.Totals](r.program, "Totals", struct{}{}).Transitions)
}

// stretch measures some calls. On a machine that is busy with something else they can be too few in the time, which
// proves nothing either way, and then there are others.
func (r *faultRun) stretch(calls int) (s load.Stretch) {
	for limit := time.Now().Add(settle); ; {
		s = ask[load.Stretch](r.program, "Run", calls)
		if s.PerSecond() >= minRate || time.Now().After(limit) {
			return s
		}
	}
}

// compare ends the trouble, then the calls, and compares what the program knows with what arrives.
func (r *faultRun) compare(t *testing.T) {
	t.Helper()
	r.end(t)
	ask[load.Stretch](r.program, "Run", 1000)
	r.program.ask("Halt")
	r.known = ask[load.Totals](r.program, "Totals", struct{}{})
	r.eventually(func() bool {
		r.counters = r.wrongCounters(t)
		return r.counters == ""
	})
	r.eventually(func() bool {
		page := ask[string](r.program, "Page", struct{}{})
		records, spans := r.backend.arrived()
		r.records = count{uint64(len(r.known.Transitions)), records, droppedOn(t, page, "logs")}
		r.spans = count{r.known.Spans, spans, droppedOn(t, page, "traces")}
		return r.records.lacking() <= 0 && r.spans.lacking() <= 0
	})
	r.written, r.again = r.backend.written()
}

// shutdown ends the program in the middle of the trouble.
func (r *faultRun) shutdown(t *testing.T) {
	t.Helper()
	r.begin(t)
	r.program.ask("Go")
	r.program.ask("Storm")
	ask[load.Stretch](r.program, "Run", 1000)
	r.program.ask("Halt")
	r.ending = ask[load.End](r.program, "Shutdown", shutdownWithin)
}

// wrongCounters tells which of the breaker's counters on the collector's page is not what the program knows.
func (r *faultRun) wrongCounters(t *testing.T) string {
	t.Helper()
	want := map[string]uint64{
		`circuit_breaker_requests_total outcome="success"`: r.known.Success,
		`circuit_breaker_requests_total outcome="failure"`: r.known.Failure,
		`circuit_breaker_requests_total outcome="blocked"`: r.known.Blocked,
		`circuit_breaker_requests_total outcome="ignored"`: r.known.Ignored,
	}
	for _, edge := range r.known.Transitions {
		want[fmt.Sprintf(`circuit_breaker_transitions_total from_state="%s" to_state="%s"`, edge.From, edge.To)]++
	}
	page, err := r.collector.Page(t.Context(), formats["text"])
	if err != nil {
		return err.Error()
	}
	got := breakerSeries(t, page)
	for name, n := range want {
		if got[name] != strconv.FormatUint(n, 10) {
			return fmt.Sprintf("%s is %q on the collector's page, want %d", name, got[name], n)
		}
	}
	return ""
}

// breakerSeries gives the values on a page, by name and the labels that tell the series of one breaker apart.
func breakerSeries(t *testing.T, page []byte) map[string]string {
	t.Helper()
	lines, err := exposition.Select(page, "circuit_breaker_", "job", "instance", "service", "endpoint")
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]string)
	for line := range strings.Lines(string(lines)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "} ")
		values[strings.NewReplacer("{", " ", ",", " ").Replace(name)] = value
	}
	return values
}

// droppedOn reads on the program's own page how much of a signal was dropped.
func droppedOn(t *testing.T, page, signal string) uint64 {
	t.Helper()
	pattern := regexp.MustCompile(`(?m)^otelbreaker_export_dropped_total\{.*signal="` + signal + `"\} (\d+)$`)
	found := pattern.FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("the page does not tell how much of the %s was dropped:\n%s", signal, page)
	}
	n, err := strconv.ParseUint(found[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually waits until something is so, for so long that a failed export has been tried again, which is after up to
// 7.5 s. That it is not in the end, the tests say.
func (r *faultRun) eventually(so func() bool) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * settle)
	for !so() {
		select {
		case <-tick.C:
		case <-limit:
			return
		}
	}
}
