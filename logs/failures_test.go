package logs_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
)

func eventNames(records []sdklog.Record) (names []string) {
	for _, r := range records {
		names = append(names, r.EventName())
	}
	return names
}

// One record a failed call, before that of what it brings about, with all that signals.md says of it, in both forms.
func TestOneRecordAFailedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorded, provider := newRecorder()
		logger, lines := jsonLogger(t, nil)
		b := newBreaker(t, config(), logs.NewListener(logs.WithLoggerProvider(provider), logs.WithSlog(logger), logs.WithFailures()))
		type failed struct {
			at           time.Time
			by           trace.SpanContext
			state, error string
			inOutage     bool
		}
		var want []failed
		call(b, succeed)
		want = append(want, failed{time.Now(), call(b, fail), "closed", "503", false})
		time.Sleep(time.Second)
		want = append(want, failed{time.Now(), call(b, func(context.Context) error { return context.DeadlineExceeded }),
			"closed", "timeout", false})
		call(b, fail) // blocked
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want = append(want, failed{time.Now(), call(b, fail), "half_open", "503", true})
		flush(t, b)

		got, printed := recorded.take(), lines()
		wantNames := []string{"call_failed", "call_failed", "circuit_opened", "circuit_half_open", "call_failed", "circuit_reopened"}
		if names := eventNames(got); !slices.Equal(names, wantNames) || len(printed) != len(wantNames) {
			t.Fatalf("got %v and %d lines, want %v", names, len(printed), wantNames)
		}
		for i, at := range []int{0, 1, 4} {
			r, w := got[at], want[i]
			if r.Severity() != log.SeverityWarn || r.SeverityText() != "WARN" || r.Body().AsString() != "Circuit breaker counted a failed call" ||
				!r.Timestamp().Equal(w.at) || r.TraceID() != w.by.TraceID() || r.SpanID() != w.by.SpanID() {
				t.Errorf("%d: got %v %q %q of %v, trace %v/%v, want %+v", i, r.Severity(), r.SeverityText(), r.Body().AsString(),
					r.Timestamp(), r.TraceID(), r.SpanID(), w)
			}
			fields := map[string]any{"component": "circuit_breaker", "event_type": "call_failed", "service": service,
				"endpoint": endpoint, "state": w.state, "error.type": w.error}
			if w.inOutage {
				fields["outage_id"] = b.Snapshot().OutageID
			}
			if a := attributes(r); !maps.Equal(a, fields) {
				t.Errorf("%d: attributes are\n%v, want\n%v", i, a, fields)
			}
			maps.Copy(fields, map[string]any{"level": "WARN", "msg": "Circuit breaker counted a failed call",
				"time": w.at.Format(time.RFC3339Nano), "trace_id": w.by.TraceID().String(), "span_id": w.by.SpanID().String()})
			if !maps.Equal(printed[at], fields) {
				t.Errorf("%d: printed\n%v, want\n%v", i, printed[at], fields)
			}
		}
	})
}

func TestFailedCallsAreLimitedByTheirOwnLimit(t *testing.T) {
	for name, c := range map[string]struct {
		options []logs.Option
		want    int
	}{
		"not asked for": {[]logs.Option{logs.WithLimit(5)}, 0},
		"default":       {[]logs.Option{logs.WithFailures(), logs.WithLimit(5)}, logs.DefaultFailureLimit},
		"few":           {[]logs.Option{logs.WithFailureLimit(3)}, 3},
		"all":           {[]logs.Option{logs.WithFailureLimit(0)}, 500},
		"last wins":     {[]logs.Option{logs.WithFailures(), logs.WithFailureLimit(7)}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				recorded, provider := newRecorder()
				b := newBreaker(t, breaker.Config{Service: service, FailureThreshold: 1 << 60},
					logs.NewListener(append(c.options, logs.WithLoggerProvider(provider))...))
				for range 500 {
					call(b, fail)
					flush(t, b)
				}
				if got := recorded.take(); len(got) != c.want || toldOf(got) != c.want {
					t.Errorf("%d records of %d calls, want %d", len(got), toldOf(got), c.want)
				}
				time.Sleep(time.Minute)
				call(b, fail)
				flush(t, b)
				if got := recorded.take(); c.want > 0 && toldOf(got) != 501-c.want {
					t.Errorf("the next record tells of %d calls, want %d", toldOf(got), 501-c.want)
				}
			})
		})
	}
}

// Neither form tells more of an error than its type.
func TestG15_NoErrorsTextIsWritten(t *testing.T) {
	recorded, provider := newRecorder()
	var printed strings.Builder
	b := newBreaker(t, config(), logs.NewListener(logs.WithLoggerProvider(provider), logs.WithFailures(),
		logs.WithSlog(slog.New(slog.NewJSONHandler(&printed, nil)))))
	call(b, fail)
	call(b, func(context.Context) error { return fmt.Errorf("to https://u:secret@pay.example: %w", downError{}) })
	flush(t, b)
	got := recorded.take()
	if names := eventNames(got); !slices.Equal(names, []string{"call_failed", "call_failed", "circuit_opened"}) {
		t.Fatalf("records are %v", names)
	}
	for _, r := range got {
		if text := fmt.Sprint(r.Body(), attributes(r)); strings.Contains(text, "secret") {
			t.Errorf("an error's text is in %s", text)
		}
	}
	if strings.Contains(printed.String(), "secret") {
		t.Errorf("an error's text is in %s", printed.String())
	}
}

// A call that is not sampled is found by its trace id all the same.
func TestUnsampledCallsGiveTheirTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorded, provider := newRecorder()
		logger, lines := jsonLogger(t, nil)
		b := newBreaker(t, config(), logs.NewListener(logs.WithLoggerProvider(provider), logs.WithSlog(logger), logs.WithFailures()))
		by := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
		ctx := trace.ContextWithSpanContext(t.Context(), by)
		for range 2 {
			_ = b.Do(ctx, fail)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait() // half-open, which no call caused
		flush(t, b)
		got, printed := recorded.take(), lines()
		if len(got) != 4 || len(printed) != 4 {
			t.Fatalf("%d records and %d lines, want 4 each", len(got), len(printed))
		}
		for i, r := range got {
			if r.TraceID() != by.TraceID() || r.SpanID() != by.SpanID() || r.TraceFlags().IsSampled() {
				t.Errorf("%s has trace %v/%v", r.EventName(), r.TraceID(), r.SpanID())
			}
			if printed[i]["trace_id"] != by.TraceID().String() || printed[i]["span_id"] != by.SpanID().String() {
				t.Errorf("line %d has trace %v/%v", i, printed[i]["trace_id"], printed[i]["span_id"])
			}
		}
	})
}

func TestEnabledIsAskedOfFailedCalls(t *testing.T) {
	var asked []log.EnabledParameters
	recorded, provider := newRecorder()
	logger, lines := jsonLogger(t, &slog.HandlerOptions{Level: slog.LevelError})
	b := newBreaker(t, config(), logs.NewListener(logs.WithFailures(), logs.WithSlog(logger),
		logs.WithLoggerProvider(filteredProvider{LoggerProvider: provider, asked: &asked})))
	call(b, fail)
	flush(t, b)
	if want := []log.EnabledParameters{{Severity: log.SeverityWarn, EventName: "call_failed"}}; !slices.Equal(asked, want) {
		t.Errorf("asked %v, want %v", asked, want)
	}
	if r, l := len(recorded.take()), len(lines()); r != 1 || l != 0 {
		t.Errorf("%d records and %d lines, want 1 and none", r, l)
	}
}
