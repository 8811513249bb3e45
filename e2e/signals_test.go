package e2e

import (
	"slices"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// place is the span that a log record belongs to.
type place struct {
	trace trace.TraceID
	span  trace.SpanID
}

func (p place) String() string { return p.trace.String() + "/" + p.span.String() }

func placeOf(s trace.SpanContext) place { return place{s.TraceID(), s.SpanID()} }

// text returns the text of an attribute, and "" where there is none.
func text(attributes pcommon.Map, key string) string {
	value, found := attributes.Get(key)
	if !found {
		return ""
	}
	return value.AsString()
}

// checkLogs finds the outage in the log records that arrived: one record for each transition, in
// order, each in the span of the call that caused it, or of the call that opened the breaker where
// no call did.
func checkLogs(t *testing.T, c *stack.Collector, o outage, spans []ptrace.Span) {
	t.Helper()
	records, err := c.Logs()
	if err != nil {
		t.Fatal(err)
	}
	type transition struct {
		event, from, to string
		call            place
	}
	want := []transition{
		{"circuit_opened", "closed", "open", placeOf(o.openedBy)},
		{"circuit_half_open", "open", "half_open", placeOf(o.openedBy)},
		{"circuit_reopened", "half_open", "open", placeOf(o.reopenedBy)},
		{"circuit_half_open", "open", "half_open", placeOf(o.openedBy)},
		{"circuit_closed", "half_open", "closed", placeOf(o.closedBy)},
	}
	arrived := make(map[place]bool)
	for _, span := range spans {
		arrived[place{trace.TraceID(span.TraceID()), trace.SpanID(span.SpanID())}] = true
	}

	var got []transition
	outages := make(map[string]bool)
	for _, record := range records {
		attributes := record.Attributes()
		if text(attributes, "service") != "payments" {
			continue
		}
		call := place{trace.TraceID(record.TraceID()), trace.SpanID(record.SpanID())}
		if !arrived[call] {
			t.Errorf("the record %s points to the span %v, which has not arrived", text(attributes, "event_type"), call)
		}
		got = append(got, transition{
			event: text(attributes, "event_type"),
			from:  text(attributes, "old_state"),
			to:    text(attributes, "new_state"),
			call:  call,
		})
		outages[text(attributes, "outage_id")] = true
		if endpoint := text(attributes, "endpoint"); endpoint != o.endpoint {
			t.Errorf("a record of the endpoint %q, want %q", endpoint, o.endpoint)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log records of the outage are\n%v\nwant\n%v", got, want)
	}
	if len(outages) != 1 || outages[""] {
		t.Errorf("the records of one outage have the outage ids %v, want one", outages)
	}
}

// checkSpans finds the outage in the spans that arrived, and returns them all: the event of the trip
// in the trace of the call that tripped, and of each blocked call its event and its link there; and
// one span for the outage as a whole, linked to the calls that opened and closed the breaker.
func checkSpans(t *testing.T, c *stack.Collector, o outage) []ptrace.Span {
	t.Helper()
	spans, err := c.Spans()
	if err != nil {
		t.Fatal(err)
	}
	var tripped, blocked []trace.TraceID
	var outages int
	for _, span := range spans {
		id := trace.TraceID(span.TraceID())
		for _, event := range span.Events().All() {
			if text(event.Attributes(), "service") != "payments" {
				continue
			}
			switch event.Name() {
			case "circuit_breaker.state_change":
				if text(event.Attributes(), "event_type") == "circuit_opened" {
					tripped = append(tripped, id)
				}
			case "circuit_breaker.blocked":
				blocked = append(blocked, id)
				if !linksTo(span, o.openedBy.TraceID()) {
					t.Errorf("the blocked call's span %s has no link to the call that opened the breaker", span.Name())
				}
			}
		}
		if span.Name() == "circuit_breaker.outage" && text(span.Attributes(), "service") == "payments" {
			outages++
			if !linksTo(span, o.openedBy.TraceID()) && id != o.openedBy.TraceID() || !linksTo(span, o.closedBy.TraceID()) {
				t.Error("the outage's span does not lead to the calls that opened and closed the breaker")
			}
		}
	}
	if want := []trace.TraceID{o.openedBy.TraceID()}; !slices.Equal(tripped, want) {
		t.Errorf("the breaker was tripped in the traces %v, want %v", tripped, want)
	}
	if !slices.Equal(blocked, o.blocked) {
		t.Errorf("calls were blocked in the traces %v, want %v", blocked, o.blocked)
	}
	if outages != 1 {
		t.Errorf("%d spans of outages, want 1", outages)
	}
	return spans
}

func linksTo(span ptrace.Span, id trace.TraceID) bool {
	for _, link := range span.Links().All() {
		if trace.TraceID(link.TraceID()) == id {
			return true
		}
	}
	return false
}
