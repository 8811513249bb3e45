package docs_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracespb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// What the backends make of what was sent, by the rules that telemetry-logs.md tells.

// exemplarLabels come in either order, from one scrape to the next.
var exemplarLabels = regexp.MustCompile(`# \{(span_id="\w+"),(trace_id="\w+")\}`)

// familiesOf gives the lines of a page about the metrics whose names begin so.
func familiesOf(page, prefix string) string {
	var kept strings.Builder
	for line := range strings.Lines(page) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		if strings.HasPrefix(name, prefix) {
			kept.WriteString(exemplarLabels.ReplaceAllString(line, `# {$2,$1}`))
		}
	}
	return kept.String()
}

// field is one of a JSON object whose order is kept.
type field struct {
	key   string
	value any // string, []field, or json.RawMessage
}

// object writes JSON in which every field has a line.
func object(indent string, fields []field) string {
	var lines []string
	for _, f := range fields {
		var value string
		switch v := f.value.(type) {
		case []field:
			value = object(indent+"  ", v)
		case json.RawMessage:
			value = string(v)
		case string:
			value = strconv.Quote(v)
		}
		lines = append(lines, indent+"  "+strconv.Quote(f.key)+": "+value)
	}
	return "{\n" + strings.Join(lines, ",\n") + "\n" + indent + "}"
}

// sent is a log record with what it was sent under.
type sent struct {
	*logspb.LogRecord
	schema   string // of the resource
	resource []*commonpb.KeyValue
	scope    *commonpb.InstrumentationScope
}

// record gives the first record of an event type.
func (p *program) record(eventType string) sent {
	p.t.Helper()
	for _, r := range p.logs {
		for _, s := range r.GetScopeLogs() {
			for _, l := range s.GetLogRecords() {
				if l.GetEventName() == eventType {
					return sent{l, r.GetSchemaUrl(), r.GetResource().GetAttributes(), s.GetScope()}
				}
			}
		}
	}
	p.t.Fatalf("there is no record of the type %s", eventType)
	return sent{}
}

var noLabel = regexp.MustCompile(`\W`)

// loki gives the record as a query's answer has it: index labels and structured metadata in one, by name.
func loki(r sent) string {
	stream := map[string]string{
		"observed_timestamp": fmt.Sprint(r.GetObservedTimeUnixNano()),
		"severity_number":    fmt.Sprint(int(r.GetSeverityNumber())),
		"severity_text":      r.GetSeverityText(),
		"detected_level":     strings.ToLower(r.GetSeverityText()),
		"scope_name":         r.scope.GetName(),
		"scope_version":      r.scope.GetVersion(),
	}
	for _, a := range slices.Concat(r.resource, r.GetAttributes()) {
		stream[noLabel.ReplaceAllString(a.GetKey(), "_")] = textOf(a.GetValue())
	}
	if r.GetFlags() != 0 {
		stream["flags"] = fmt.Sprint(r.GetFlags())
	}
	if len(r.GetTraceId()) > 0 {
		stream["trace_id"], stream["span_id"] = hex.EncodeToString(r.GetTraceId()), hex.EncodeToString(r.GetSpanId())
	}
	out, _ := json.MarshalIndent(map[string]any{
		"stream": stream,
		"values": [][2]string{{fmt.Sprint(r.GetTimeUnixNano()), r.GetBody().GetStringValue()}},
	}, "", "  ")
	return strings.NewReplacer("[\n    [\n      ", "[[", ",\n      ", ", ", "\n    ]\n  ]", "]]").Replace(string(out)) + "\n"
}

// elasticsearch gives the record as a document.
func elasticsearch(r sent) string {
	milliseconds := func(ns uint64) string { return fmt.Sprintf("%d.%d", ns/1e6, ns%1e6) }
	attributes := func(all []*commonpb.KeyValue) (fields []field) {
		for _, a := range all {
			fields = append(fields, field{a.GetKey(), jsonOf(a.GetValue())})
		}
		return fields
	}
	fields := []field{
		{"@timestamp", milliseconds(r.GetTimeUnixNano())},
		{"observed_timestamp", milliseconds(r.GetObservedTimeUnixNano())},
		{"data_stream", []field{{"type", "logs"}, {"dataset", "generic.otel"}, {"namespace", "default"}}},
		{"severity_text", r.GetSeverityText()},
		{"severity_number", json.RawMessage(fmt.Sprint(int(r.GetSeverityNumber())))},
	}
	if len(r.GetTraceId()) > 0 {
		fields = append(fields, field{"trace_id", hex.EncodeToString(r.GetTraceId())},
			field{"span_id", hex.EncodeToString(r.GetSpanId())})
	}
	return object("", append(fields,
		field{"attributes", attributes(r.GetAttributes())},
		field{"event_name", r.GetEventName()},
		field{"resource", []field{{"schema_url", r.schema}, {"attributes", attributes(r.resource)}}},
		field{"scope", []field{{"name", r.scope.GetName()}, {"version", r.scope.GetVersion()}}},
		field{"body", []field{{"text", r.GetBody().GetStringValue()}}},
	)) + "\n"
}

func textOf(v *commonpb.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *commonpb.AnyValue_DoubleValue:
		return strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
	case *commonpb.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	}
	return fmt.Sprintf("a %T", v.GetValue())
}

// jsonOf writes a value as JSON; a double always with a point, for that is how Elasticsearch tells it from an integer.
func jsonOf(v *commonpb.AnyValue) json.RawMessage {
	text := textOf(v)
	switch v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return json.RawMessage(strconv.Quote(text))
	case *commonpb.AnyValue_DoubleValue:
		if !strings.ContainsAny(text, ".e") {
			text += ".0"
		}
	}
	return json.RawMessage(text)
}

// kindOf names a value's type as the document's tables do.
func kindOf(v *commonpb.AnyValue) string {
	switch v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return "string"
	case *commonpb.AnyValue_IntValue:
		return "int"
	case *commonpb.AnyValue_DoubleValue:
		return "double"
	case *commonpb.AnyValue_BoolValue:
		return "bool"
	}
	return fmt.Sprintf("%T", v.GetValue())
}

// traceView draws the traces in the order in which they began, as a trace view does.
func traceView(spans []*tracespb.Span) string {
	var out strings.Builder
	drawn := map[string]bool{}
	for _, root := range spans {
		id := hex.EncodeToString(root.GetTraceId())
		if drawn[id] {
			continue
		}
		drawn[id] = true
		fmt.Fprintf(&out, "trace %s\n", id)
		for _, s := range spans {
			if hex.EncodeToString(s.GetTraceId()) == id {
				drawSpan(&out, s)
			}
		}
	}
	return out.String()
}

func drawSpan(out *strings.Builder, s *tracespb.Span) {
	indent := "  "
	if len(s.GetParentSpanId()) > 0 {
		indent = "    "
	}
	begin, end := time.Unix(0, int64(s.GetStartTimeUnixNano())), time.Unix(0, int64(s.GetEndTimeUnixNano()))
	kind := strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_"))
	fmt.Fprintf(out, "%s%s  %s  span %s  at %s, %v\n",
		indent, s.GetName(), kind, hex.EncodeToString(s.GetSpanId()), clock(begin), end.Sub(begin))
	indent += "    "
	for _, a := range s.GetAttributes() {
		fmt.Fprintf(out, "%s%s=%s\n", indent, a.GetKey(), textOf(a.GetValue()))
	}
	for _, e := range s.GetEvents() {
		fmt.Fprintf(out, "%sevent %s  at %s\n", indent, e.GetName(), clock(time.Unix(0, int64(e.GetTimeUnixNano()))))
		for _, a := range e.GetAttributes() {
			fmt.Fprintf(out, "%s    %s=%s\n", indent, a.GetKey(), textOf(a.GetValue()))
		}
	}
	for _, l := range s.GetLinks() {
		fmt.Fprintf(out, "%slink to trace %s span %s\n",
			indent, hex.EncodeToString(l.GetTraceId()), hex.EncodeToString(l.GetSpanId()))
		for _, a := range l.GetAttributes() {
			fmt.Fprintf(out, "%s    %s=%s\n", indent, a.GetKey(), textOf(a.GetValue()))
		}
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
