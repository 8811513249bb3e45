package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/e2e/internal/logql"
	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

var (
	lokiQueries = filepath.Join("..", "deploy", "loki", "queries.logql")

	// dayBefore is out of the reach of every query, and what is longer ago is asked for to know that it is there.
	dayBefore = 25 * time.Hour
	allDays   = 3 * dayBefore
)

// TestLoki_QueriesOverOTLP: a shift's records go from the real logs package over OTLP and the real collector with
// deploy/otel-collector.yaml into the real Loki with deploy/loki/loki.yaml, and each query of the file answers what
// happened, no more and no less.
func TestLoki_QueriesOverOTLP(t *testing.T) {
	loki := stack.StartLoki(t)
	c := stack.Start(t, loki.LogsTo()...)
	asks := asker{client: logql.Client{URL: loki.URL}}
	send(t, c, "/v1/logs", oldOpening(time.Now().Add(-dayBefore), "archive"))
	s := work(t, c.HTTP)
	for _, p := range s.programs {
		p.shutdown(t)
	}
	asks.awaits(t, s)
	asks.checkAll(t, s)

	// What is written to disk is found as what was in memory.
	if err := asks.client.Post(t.Context(), "/flush", nil); err != nil {
		t.Fatal(err)
	}
	asks.awaits(t, s)
	t.Run("on disk", func(t *testing.T) { asks.checkAll(t, s) })
}

// TestLoki_QueriesOverJSONLines: the same queries with a parser put into them, of the same shift in the lines that log/slog
// wrote, sent as an agent does that follows a file.
func TestLoki_QueriesOverJSONLines(t *testing.T) {
	loki := stack.StartLoki(t)
	asks := asker{client: logql.Client{URL: loki.URL}, parser: " | json"}
	s := work(t, "")
	push := func(program, instance string, lines []logql.Line) {
		t.Helper()
		if err := asks.client.Push(t.Context(), map[string]string{"job": program, "service_instance_id": instance}, lines); err != nil {
			t.Fatal(err)
		}
	}
	push("archive", "archive-1", []logql.Line{{At: time.Now().Add(-dayBefore), Text: `{"component":"circuit_breaker",` +
		`"event_type":"circuit_opened","service":"payments","endpoint":"` + payAPI + `","new_state":"open",` +
		`"outage_id":"00000000000000ff","reason":"consecutive_failures","error.type":"503"}`}})
	for _, p := range s.programs {
		var lines []logql.Line
		for text := range strings.Lines(p.lines.String()) {
			var fields struct{ Time time.Time }
			if err := json.Unmarshal([]byte(text), &fields); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, logql.Line{At: fields.Time, Text: strings.TrimSuffix(text, "\n")})
		}
		push(p.name, p.instance, lines)
	}
	asks.awaits(t, s)
	asks.checkAll(t, s)
}

// TestLoki_LateRecords: a record that waited in a collector's queue for half a day is taken and found at once, beside
// newer ones of its stream; one that waited longer than the configuration says is refused, and not lost without a word.
func TestLoki_LateRecords(t *testing.T) {
	loki := stack.StartLoki(t)
	client := logql.Client{URL: loki.URL}
	now := time.Now()
	post := func(at time.Time) error {
		return client.Post(t.Context(), "/otlp/v1/logs", []byte(oldOpening(at, "checkout")))
	}
	for _, late := range []time.Duration{0, 11 * time.Hour} {
		if err := post(now.Add(-late)); err != nil {
			t.Errorf("a record of %v ago: %v", late, err)
		}
	}
	if err := post(now.Add(-13 * time.Hour)); err == nil || !strings.Contains(err.Error(), "too far behind") {
		t.Errorf("a record of 13 hours ago: %v, want it refused as too far behind", err)
	}
	found, err := client.Instant(t.Context(), `sum(count_over_time({service_name="checkout"} | service="payments" [12h]))`, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Value != 2 {
		t.Errorf("found %v, want the two that were taken", found)
	}
}

// asker asks the queries of a Loki.
type asker struct {
	client logql.Client
	parser string // for lines that have their fields in their text
}

// everyProgram is in each query of the file.
const everyProgram = `{service_name=~".+"}`

func (a asker) parsed(query string) string {
	return strings.ReplaceAll(query, everyProgram, everyProgram+a.parser)
}

// awaits returns when every record of the shift can be found, and the old one.
func (a asker) awaits(t *testing.T, s *shift) {
	t.Helper()
	want := 1.0
	for _, p := range s.programs {
		want += float64(len(p.jsonLines(t)))
	}
	query := fmt.Sprintf(`sum(count_over_time(%s[%s]))`, everyProgram, allDays)
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(settle); ; {
		found, err := a.client.Instant(t.Context(), query, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 1 && found[0].Value == want {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("after %v Loki has %v, want %v records", settle, found, want)
		}
	}
}

// asked is a query with values for its variables, and its answer: a line of text for each line or number, in any order.
type asked struct {
	values map[string]string
	at     time.Time // as of when, or up to when
	want   []string
}

func (a asker) checkAll(t *testing.T, s *shift) {
	t.Helper()
	queries, err := logql.Read(lokiQueries)
	if err != nil {
		t.Fatal(err)
	}
	want := s.answers(t)
	for _, q := range queries {
		t.Run(q.Name, func(t *testing.T) {
			w, found := want[q.Name]
			if !found {
				t.Fatal("nobody has said what its answer is")
			}
			delete(want, q.Name)
			text, err := q.With(w.values)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(text, everyProgram) {
				t.Fatalf("it does not have %s", everyProgram)
			}
			got := a.ask(t, q.Kind, a.parsed(text), w.at)
			slices.Sort(got)
			slices.Sort(w.want)
			if !slices.Equal(got, w.want) {
				t.Errorf("got\n%s\nwant\n%s\nthe query: %s", strings.Join(got, "\n"), strings.Join(w.want, "\n"), a.parsed(text))
			}
		})
	}
	for name := range want {
		t.Errorf("the file has no query %s", name)
	}
}

// ask runs a query as its kind is run, and gives its answer as asked.want has it.
func (a asker) ask(t *testing.T, kind, query string, at time.Time) (got []string) {
	t.Helper()
	var numbers []logql.Number
	var err error
	switch kind {
	case logql.Lines:
		lines, err := a.client.Lines(t.Context(), query, at.Add(-24*time.Hour), at)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			got = append(got, a.lineOf(l))
		}
		return got
	case logql.Instant:
		numbers, err = a.client.Instant(t.Context(), query, at)
	case logql.Series:
		const step = 5 * time.Minute
		end := at.Truncate(step).Add(step)
		numbers, err = a.client.Sums(t.Context(), query, end.Add(-24*time.Hour), end, step)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range numbers {
		got = append(got, numberOf(n.Value, n.Labels))
	}
	return got
}

// lineOf tells a line by its program, its trace and what it says. What a query has not formatted is JSON on the one way
// and the bare text on the other: then it is told by its fields.
func (a asker) lineOf(l logql.Line) string {
	text := l.Text
	if event := l.Labels["event_type"]; event != "" && (strings.HasPrefix(text, "{") || strings.HasPrefix(text, "Circuit breaker ")) {
		text = fmt.Sprintf("%s %s %s %s", event, l.Labels["service"], l.Labels["endpoint"], l.At.UTC().Format(time.RFC3339Nano))
		if event == "call_failed" || event == "circuit_would_open" { // when they were, the test does not know
			text = fmt.Sprintf("%s %s %s", event, l.Labels["service"], l.Labels["endpoint"])
		}
	} else if l.Labels["msg"] == ownLine {
		text = ownLine
	}
	return strings.Join([]string{l.Labels["service_name"], l.Labels["service_instance_id"], l.Labels["trace_id"], text}, "|")
}

func numberOf(value float64, labels map[string]string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, key+"="+labels[key])
	}
	return strings.Join(append(parts, strconv.FormatFloat(value, 'g', -1, 64)), " ")
}

// firstOpenings are when each process first opened a breaker, in Unix milliseconds.
func (s *shift) firstOpenings(service, endpoint string) (numbers []string) {
	first := map[string]time.Time{}
	for _, e := range s.opened {
		process := "service_name=" + e.by.name + " service_instance_id=" + e.by.instance
		if at, found := first[process]; e.Service == service && e.Endpoint == endpoint && (!found || e.At.Before(at)) {
			first[process] = e.At
		}
	}
	for process, at := range first {
		labels := map[string]string{}
		for pair := range strings.FieldsSeq(process) {
			key, value, _ := strings.Cut(pair, "=")
			labels[key] = value
		}
		numbers = append(numbers, numberOf(float64(at.UnixMilli()), labels))
	}
	return numbers
}

// answers are what each query of the file has to find of the shift.
func (s *shift) answers(t *testing.T) map[string]asked {
	t.Helper()
	now := time.Now()
	first, last, newest := s.outage[0], s.outage[len(s.outage)-1], s.opened[len(s.opened)-1]
	line := func(by *speaker, in trace.SpanContext, text string) string {
		id := ""
		if in.IsValid() {
			id = in.TraceID().String()
		}
		return strings.Join([]string{by.name, by.instance, id, text}, "|")
	}
	record := func(e turn, event string) string {
		return line(e.by, e.in, fmt.Sprintf("%s %s %s %s", event, e.Service, e.Endpoint, e.At.UTC().Format(time.RFC3339Nano)))
	}
	number := func(value float64, pairs ...string) string {
		labels := map[string]string{}
		for _, pair := range pairs {
			key, value, _ := strings.Cut(pair, "=")
			labels[key] = value
		}
		return numberOf(value, labels)
	}
	about := func(service, endpoint string, further ...string) []string {
		return append([]string{"service=" + service, "endpoint=" + endpoint}, further...)
	}
	checkout := s.programs[0]
	ofPayments := map[string]string{"service": "payments", "endpoint": payAPI}

	var openings, notOver, recoveries, slow []string
	for _, e := range s.opened {
		openings = append(openings, record(e, "circuit_opened"))
	}
	for _, e := range s.lasts {
		notOver = append(notOver, number(1, about(e.Service, e.Endpoint, "service_name="+e.by.name, "outage_id="+e.OutageID)...))
	}
	durations := []time.Duration{}
	for _, e := range s.closed {
		recoveries = append(recoveries, number(e.RecoveryDuration.Seconds(),
			about(e.Service, e.Endpoint, "service_name="+e.by.name, "outage_id="+e.OutageID)...))
		durations = append(durations, e.RecoveryDuration)
	}
	slices.Sort(durations)
	// Between the longest and the next, so that what is just too short is there as well.
	limit := (durations[len(durations)-1] + durations[len(durations)-2]) / 2
	for _, e := range s.closed {
		if e.RecoveryDuration > limit {
			event := "circuit_closed"
			if e.Reason.Rule == breaker.RuleReset {
				event = "circuit_state_change"
			}
			slow = append(slow, record(e, event))
		}
	}

	timeline := []string{line(checkout, s.failed, "call_failed 503")}
	for i, event := range []string{"circuit_opened", "circuit_half_open", "circuit_reopened", "circuit_half_open", "circuit_closed"} {
		e := s.outage[i]
		text := fmt.Sprintf("%s %s %v/%v", event, e.Reason.Rule, e.Reason.Observed, e.Reason.Threshold)
		if e.ErrorType != "" {
			text += " " + e.ErrorType
		}
		timeline = append(timeline, line(e.by, e.in, text))
	}
	ofTheTrace := []string{
		line(checkout, first.in, ownLine),
		line(checkout, first.in, "call_failed payments "+payAPI),
		record(first, "circuit_opened"), record(s.outage[1], "circuit_half_open"), record(s.outage[3], "circuit_half_open"),
	}
	nowhere := trace.SpanContext{}

	return map[string]asked{
		"openings": {at: now, want: openings},
		"openings-by-breaker": {at: now, want: []string{
			number(2, about("payments", payAPI)...), number(2, about("inventory", stockAPI)...), number(3, about("mail", mailAPI)...),
		}},
		"openings-by-reason": {at: now, want: []string{
			number(1, about("payments", payAPI, "reason=consecutive_failures", "error_type=503")...),
			number(1, about("payments", payAPI, "reason=consecutive_failures", "error_type=500")...),
			number(2, about("inventory", stockAPI, "reason=consecutive_failures", "error_type=timeout")...),
			number(3, about("mail", mailAPI, "reason=consecutive_failures", "error_type=421")...),
		}},
		"openings-by-instance": {at: now, want: []string{
			number(1, about("payments", payAPI, "service_name=checkout")...),
			number(1, about("payments", payAPI, "service_name=basket")...),
			number(2, about("inventory", stockAPI, "service_name=checkout")...),
			number(1, about("mail", mailAPI, "service_name=checkout")...),
		}},
		"first-to-open": {values: ofPayments, at: now, want: s.firstOpenings("payments", payAPI)},
		"events-over-time": {at: now, want: []string{
			number(2, "service=payments", "event_type=circuit_opened"),
			number(3, "service=payments", "event_type=circuit_half_open"),
			number(1, "service=payments", "event_type=circuit_reopened"),
			number(2, "service=payments", "event_type=circuit_closed"),
			number(2, "service=payments", "event_type=circuit_state_change"),
			number(2, "service=payments", "event_type=circuit_control"),
			number(1, "event_type=circuit_control"),
			number(2, "service=inventory", "event_type=circuit_opened"),
			number(1, "service=search", "event_type=circuit_state_change"),
			number(1, "service=search", "event_type=circuit_would_open"),
			number(3, "service=mail", "event_type=circuit_opened"),
			number(3, "service=mail", "event_type=circuit_half_open"),
			number(3, "service=mail", "event_type=circuit_closed"),
		}},
		// Up to the last program's, so that the failed probe of the first outage is within the range as well.
		"before-an-opening": {values: ofPayments, at: newest.At.Add(time.Nanosecond), want: []string{
			line(newest.by, newest.in, "call_failed 500"), line(newest.by, newest.in, "circuit_opened 500 consecutive_failures"),
			line(checkout, s.ranUp[0], "call_failed 503"), line(checkout, s.ranUp[1], "call_failed timeout"),
			line(checkout, first.in, "call_failed 503"), line(checkout, first.in, "circuit_opened 503 consecutive_failures"),
		}},
		"failure-patterns":   {values: ofPayments, at: first.At, want: []string{number(2, "error_type=503"), number(1, "error_type=timeout")}},
		"trace":              {values: map[string]string{"trace_id": first.in.TraceID().String()}, at: now, want: ofTheTrace},
		"outage":             {values: map[string]string{"outage_id": first.OutageID}, at: now, want: timeline},
		"outages-not-over":   {at: now, want: notOver},
		"longest-recoveries": {at: now, want: recoveries},
		"slow-recoveries":    {values: map[string]string{"seconds": strconv.FormatFloat(limit.Seconds(), 'f', -1, 64)}, at: now, want: slow},
		"blocked": {at: now, want: []string{
			number(float64(last.BlockedCount), about("payments", payAPI)...), number(2, about("payments", payInEU)...),
			number(0, about("mail", mailAPI)...),
		}},
		"failed-probes": {at: now, want: []string{number(1, about("payments", payAPI, "reason=probe_failed", "error_type=503")...)}},
		"flapping":      {at: now, want: []string{number(3, about("mail", mailAPI)...)}},
		"overrides": {at: now, want: []string{
			line(checkout, nowhere, "payments "+payInEU+" forced_open: "+forcedNote),
			line(checkout, nowhere, "payments "+payInEU+" automatic: "),
			line(checkout, nowhere, "search "+searchAPI+" disabled: "+disabledNote),
		}},
		"overrides-in-force": {at: now, want: []string{
			number(2, about("search", searchAPI, "service_name=checkout", "service_instance_id=checkout-1")...),
		}},
		"audit": {at: now, want: []string{
			line(checkout, nowhere, "applied 192.0.2.1 ann force_open payments "+payInEU+": "+forcedReason),
			line(checkout, nowhere, "refused 192.0.2.1    : unauthorized"),
			line(checkout, nowhere, "applied 192.0.2.1 ann reset payments "+payInEU+": "+resetReason),
		}},
		"would-have-opened": {at: now, want: []string{line(checkout, s.shadow, "circuit_would_open search "+searchAPI)}},
		"held-back":         {at: now, want: []string{number(s.held(t), about("bulk", bulkAPI)...)}},
	}
}
