package logs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/log/noop"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
)

// filteredLogger lets warnings through and notes what it was asked.
type filteredLogger struct {
	log.Logger
	asked *[]log.EnabledParameters
}

func (l filteredLogger) Enabled(_ context.Context, p log.EnabledParameters) bool {
	*l.asked = append(*l.asked, p)
	return p.Severity >= log.SeverityWarn
}

var hostile = []string{
	"\xff\xfe", "a\x00b", "two\nlines", `","event_type":"circuit_closed`, "<script>alert(1)</script>", "\x1b[31mred",
	"\u202egnp.exe", "a=b c=\"d\"", strings.Repeat("x", 1<<16), "\xed\xa0\x80",
}

func TestG16_HostileTextIsInertInLogs(t *testing.T) {
	recorded, provider := newRecorder()
	for _, text := range hostile {
		var asJSON, asText bytes.Buffer
		e := breaker.Event{
			Service: text, Endpoint: text, From: breaker.Closed, To: breaker.Open, At: time.Now(), ErrorType: text,
			OutageID: text, Reason: breaker.Reason{Rule: text, Note: text}, Context: t.Context(), OpenedBy: t.Context(),
		}
		logs.NewListener(logs.WithLoggerProvider(provider), logs.WithSlog(slog.New(slog.NewJSONHandler(&asJSON, nil)))).OnTransition(e)
		logs.NewListener(logs.WithSlog(slog.New(slog.NewTextHandler(&asText, nil)))).OnTransition(e)

		var failed bytes.Buffer
		logs.NewListener(logs.WithSlog(slog.New(slog.NewJSONHandler(&failed, nil))), logs.WithFailures()).(breaker.FailureListener).
			OnFailure(breaker.FailedCall{Service: text, Endpoint: text, ErrorType: text, OutageID: text, Context: t.Context()})

		want := strings.ToValidUTF8(text, "\uFFFD")
		records := recorded.take()
		if len(records) != 1 {
			t.Fatalf("%.20q: %d records, want 1", text, len(records))
		}
		a := attributes(records[0])
		line := map[string]any{}
		if err := json.Unmarshal(asJSON.Bytes(), &line); err != nil {
			t.Errorf("%.20q: %v", text, err)
		}
		for _, key := range []string{"service", "endpoint", "error.type", "note", "reason", "outage_id"} {
			if a[key] != want || line[key] != want {
				t.Errorf("%.20q: %s is %.40q and %.40q, want %.40q", text, key, a[key], line[key], want)
			}
		}
		failure := map[string]any{}
		if err := json.Unmarshal(failed.Bytes(), &failure); err != nil {
			t.Errorf("%.20q: %v", text, err)
		}
		for _, key := range []string{"service", "endpoint", "error.type", "outage_id"} {
			if failure[key] != want {
				t.Errorf("%.20q: %s of a failed call is %.40q, want %.40q", text, key, failure[key], want)
			}
		}
		if a["event_type"] != "circuit_opened" || line["event_type"] != "circuit_opened" {
			t.Errorf("%.20q: event_type is %v and %v", text, a["event_type"], line["event_type"])
		}
		for form, out := range map[string][]byte{"json": asJSON.Bytes(), "text": asText.Bytes(), "failed call": failed.Bytes()} {
			if n := bytes.Count(out, []byte("\n")); n != 1 {
				t.Errorf("%.20q: %d lines of %s, want 1", text, n, form)
			}
			if !utf8.Valid(out) || bytes.ContainsAny(out, "\x00\x1b") {
				t.Errorf("%.20q: %s has bytes that are not text", text, form)
			}
		}
	}
}

// A logger that panics takes nothing from the other one, nor from later records.
func TestG07_PanickingLoggerHarmsNobody(t *testing.T) {
	before := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // where the breaker complains of the panic
	defer slog.SetDefault(before)
	recorded, provider := newRecorder()
	logger, lines := jsonLogger(t, nil)
	b := newBreaker(t, config(),
		logs.NewListener(logs.WithSlog(slog.New(panickingHandler{})), logs.WithLoggerProvider(provider)),
		logs.NewListener(logs.WithSlog(logger), logs.WithLoggerProvider(panickingProvider{})))
	b.ForceOpen("")
	b.Reset()
	flush(t, b)
	if r, l := len(recorded.take()), len(lines()); r != 2 || l != 2 {
		t.Errorf("%d records and %d lines, want 2 each", r, l)
	}
}

type panickingHandler struct{ slog.Handler }

func (panickingHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (panickingHandler) Handle(context.Context, slog.Record) error { panic("broken") }

type panickingProvider struct{ noop.LoggerProvider }

func (panickingProvider) Logger(string, ...log.LoggerOption) log.Logger { return panickingLogger{} }

type panickingLogger struct{ noop.Logger }

func (panickingLogger) Enabled(context.Context, log.EnabledParameters) bool { panic("broken") }
