package collector

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func TestG15_AttributesAreCut(t *testing.T) {
	for _, c := range []struct {
		key   attribute.Key
		value attribute.Value
		want  string
	}{
		{"url.port", attribute.IntValue(1), "1"},
		{"url.full", attribute.StringValue("http://u:canary@h/p?canary#canary"), "http://h/p"},
		{"url.full", attribute.StringValue("http://u:can/ary@h/p"), "(URL)"},
		{"url.original", attribute.StringValue("/p?canary"), "/p"},
		{"http.url", attribute.StringValue("http://h?canary"), "http://h"},
		{"http.target", attribute.StringValue("/p?canary"), "/p"},
		{"url.query", attribute.StringValue("canary"), ""},
		{"url.fragment", attribute.StringValue("canary"), ""},
		{"exception.message", attribute.StringValue(`Get "http://h/p?canary": EOF`), `Get "http://h/p": EOF`},
		{"anything", attribute.StringValue("see http://h/p?canary"), "see http://h/p"},
		{"anything", attribute.StringValue("what? no@one #1"), "what? no@one #1"},
		{"anything", attribute.StringSliceValue([]string{"a", "http://canary@h"}), `["a","http://h"]`},
		{"http.request.header.referer", attribute.StringSliceValue([]string{"http://h/p?canary", "/p?canary"}), `["http://h/p","/p"]`},
		{"http.response.header.location", attribute.StringSliceValue([]string{"?canary"}), `[""]`},
		{"http.response.header.refresh", attribute.StringSliceValue([]string{"5; url=http://h/?canary"}), `["5; url=http://h/"]`},
		{"http.request.header.authorization", attribute.StringSliceValue([]string{"canary", "canary"}), `["REDACTED","REDACTED"]`},
		{"http.request.header.Proxy-Authorization", attribute.StringValue("canary"), "REDACTED"},
		{"http.request.header.cookie", attribute.StringSliceValue([]string{"canary"}), `["REDACTED"]`},
		{"http.response.header.set_cookie", attribute.StringSliceValue([]string{"canary"}), `["REDACTED"]`},
		{"http.request.header.x_api_key", attribute.StringSliceValue([]string{"canary"}), `["REDACTED"]`},
		{"rpc.request.metadata.x-auth-token", attribute.StringSliceValue([]string{"canary"}), `["REDACTED"]`},
		{"http.request.header.content-type", attribute.StringSliceValue([]string{"text/plain"}), `["text/plain"]`},
		{"http.request.header.idempotency-key", attribute.StringValue("k"), "k"},
		{"deep", attribute.SliceValue(attribute.StringValue("http://h/?canary"), attribute.IntValue(1)), `["http://h/",1]`},
		{"deep", attribute.MapValue(attribute.String("url.full", "http://h/?canary"), attribute.Int("n", 1)), `{"n":1,"url.full":"http://h/"}`},
		{"deep", attribute.MapValue(), `{}`},
	} {
		attrs := []attribute.KeyValue{attribute.Int("first", 1), {Key: c.key, Value: c.value}}
		before := fmt.Sprint(attrs)
		got := redactAttributes(attrs)
		if text := got[1].Value.String(); text != c.want {
			t.Errorf("%s=%s: %q, want %q", c.key, c.value.String(), text, c.want)
		}
		if fmt.Sprint(attrs) != before {
			t.Errorf("%s: the span's own became %v", c.key, attrs)
		}
		if c.value.String() == c.want && &got[0] != &attrs[0] {
			t.Errorf("%s: copied for nothing", c.key)
		}
	}
}

func TestG15_NothingOfASpanIsForgotten(t *testing.T) {
	const at = "http://user:canary@h/p?canary#canary"
	attrs := []attribute.KeyValue{attribute.String("url.original", at)}
	to := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spanRedactor{to}))
	for _, name := range []string{"GET " + at, "GET /p?canary=1", "/p#canary"} {
		_, span := provider.Tracer("t").Start(t.Context(), name, trace.WithAttributes(attrs...),
			trace.WithLinks(trace.Link{Attributes: attrs}))
		span.AddEvent("to "+at, trace.WithAttributes(attrs...))
		span.RecordError(fmt.Errorf("calling %q failed", at))
		span.SetStatus(1, "failed: "+at)
		span.End()
	}
	spans := to.GetSpans()
	if len(spans) != 3 || len(spans[0].Links) != 1 || len(spans[0].Events) != 2 || spans[0].Name != "GET http://h/p" || spans[1].Name != "GET /p" {
		t.Fatalf("got %+v", spans)
	}
	for _, s := range spans {
		if text := fmt.Sprintf("%+v", s); strings.Contains(text, "canary") {
			t.Error(text)
		}
	}
}

// kept keeps what it was given, and the last record beside a copy of it.
type kept struct {
	sdklog.Exporter
	records []sdklog.Record
}

func (k *kept) Export(_ context.Context, records []sdklog.Record) error {
	k.records = append(k.records, records...)
	return nil
}
func (k *kept) Shutdown(context.Context) error { return nil }

func TestG15_LogRecordsAreCut(t *testing.T) {
	for _, limit := range []int{-1, 2} {
		to, other := new(kept), new(kept)
		provider := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewSimpleProcessor(logRedactor{to})),
			sdklog.WithProcessor(sdklog.NewSimpleProcessor(other)), sdklog.WithAttributeCountLimit(limit))
		var r log.Record
		r.SetBody(attribute.StringValue(`Get "http://u:canary@h/p?canary": EOF`))
		r.AddAttributes(attribute.String("err", "http://canary@h"), attribute.Int("n", 1), attribute.String("last", "x"))
		provider.Logger("t").Emit(t.Context(), r)
		if len(to.records) != 1 || len(other.records) != 1 {
			t.Fatalf("%d and %d records", len(to.records), len(other.records))
		}
		text := func(r sdklog.Record) string {
			text := fmt.Sprint(r.Body().String(), r.DroppedAttributes())
			r.WalkAttributes(func(a attribute.KeyValue) bool { text += fmt.Sprint(" ", a.Key, "=", a.Value.String()); return true })
			return text
		}
		want := `Get "http://h/p": EOF0 err=http://h n=1 last=x`
		if limit == 2 {
			want = `Get "http://h/p": EOF1 err=http://h n=1`
		}
		if got := text(to.records[0]); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got := text(other.records[0]); strings.Count(got, "canary") != 3 {
			t.Errorf("the record of another exporter became %s", got)
		}
	}
}
