package logs_test

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
)

// wanted is one record; fields are those besides component, service, endpoint, event_type and outage_id.
type wanted struct {
	eventType, body string
	severity        log.Severity
	at              time.Duration // since the start
	by              trace.SpanContext
	fields          map[string]any
}

// script has a breaker go through every kind of transition, by calls that are traced.
func script(t *testing.T, b *breaker.Breaker) []wanted {
	start := time.Now()
	var all []wanted
	add := func(eventType, body string, severity log.Severity, by trace.SpanContext, fields map[string]any) {
		all = append(all, wanted{eventType, body, severity, time.Since(start), by, fields})
	}
	open := func() trace.SpanContext {
		call(b, fail)
		by := call(b, fail)
		add("circuit_opened", "Circuit breaker opened", log.SeverityWarn, by, map[string]any{
			"old_state": "closed", "new_state": "open", "failure_count": int64(2), "success_count": int64(0),
			"reason": "consecutive_failures", "observed": 2.0, "threshold": 2.0, "error.type": "503"})
		return by
	}

	opening := open()
	for range 3 {
		call(b, succeed) // blocked
	}
	time.Sleep(10 * time.Second)
	synctest.Wait() // the open delay ran out, by itself
	add("circuit_half_open", "Circuit breaker testing recovery", log.SeverityInfo, opening, map[string]any{
		"old_state": "open", "new_state": "half_open", "failure_count": int64(0), "success_count": int64(0),
		"reason": "delay_elapsed", "observed": 10.0, "threshold": 10.0})
	reopening := call(b, fail)
	add("circuit_reopened", "Circuit breaker reopened", log.SeverityWarn, reopening, map[string]any{
		"old_state": "half_open", "new_state": "open", "failure_count": int64(1), "success_count": int64(0),
		"reason": "probe_failed", "observed": 1.0, "threshold": 1.0, "error.type": "503"})
	time.Sleep(10 * time.Second)
	synctest.Wait()
	add("circuit_half_open", "Circuit breaker testing recovery", log.SeverityInfo, opening, map[string]any{
		"old_state": "open", "new_state": "half_open", "failure_count": int64(1), "success_count": int64(0),
		"reason": "delay_elapsed", "observed": 10.0, "threshold": 10.0})
	closing := call(b, succeed)
	add("circuit_closed", "Circuit breaker closed", log.SeverityInfo, closing, map[string]any{
		"old_state": "half_open", "new_state": "closed", "failure_count": int64(1), "success_count": int64(1),
		"reason": "probes_succeeded", "observed": 1.0, "threshold": 1.0,
		"recovery_duration_seconds": 20.0, "blocked_count": int64(3)})

	time.Sleep(time.Minute)
	b.ForceOpen("drill")
	add("circuit_state_change", "Circuit breaker state changed", log.SeverityInfo, trace.SpanContext{}, map[string]any{
		"old_state": "closed", "new_state": "open", "failure_count": int64(0), "success_count": int64(0),
		"reason": "forced", "note": "drill", "override": "forced_open"})
	time.Sleep(time.Second)
	b.Reset()
	add("circuit_state_change", "Circuit breaker state changed", log.SeverityInfo, trace.SpanContext{}, map[string]any{
		"old_state": "open", "new_state": "closed", "failure_count": int64(0), "success_count": int64(0),
		"reason": "reset", "override": "automatic",
		"recovery_duration_seconds": 1.0, "blocked_count": int64(0)})

	opening = open()
	time.Sleep(time.Second)
	b.Recover(b.Snapshot().OutageID, breaker.Reason{Rule: breaker.RuleFleetRecovered, Observed: 1, Threshold: 1, Note: "replica a"})
	add("circuit_closed", "Circuit breaker closed", log.SeverityInfo, opening, map[string]any{
		"old_state": "open", "new_state": "closed", "failure_count": int64(0), "success_count": int64(0),
		"reason": "fleet_recovered", "observed": 1.0, "threshold": 1.0, "note": "replica a",
		"recovery_duration_seconds": 1.0, "blocked_count": int64(0)})

	opening = open()
	time.Sleep(time.Second)
	b.Reset()
	add("circuit_state_change", "Circuit breaker state changed", log.SeverityInfo, opening, map[string]any{
		"old_state": "open", "new_state": "closed", "failure_count": int64(0), "success_count": int64(0),
		"reason": "reset", "override": "automatic",
		"recovery_duration_seconds": 1.0, "blocked_count": int64(0)})
	flush(t, b)
	return all
}

func TestG07_OneRecordATransitionInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		recorded, provider := newRecorder()
		var seen []breaker.Event
		b := newBreaker(t, config(), logs.NewListener(logs.WithLoggerProvider(provider)),
			breaker.ListenerFunc(func(e breaker.Event) { seen = append(seen, e) }))
		want := script(t, b)
		got := recorded.take()
		if len(got) != len(want) {
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
		for i, r := range got {
			w := want[i]
			if r.EventName() != w.eventType || r.Severity() != w.severity || r.SeverityText() != w.severity.String() ||
				r.Body().AsString() != w.body {
				t.Errorf("%d: got %s %v %q %q, want %+v", i, r.EventName(), r.Severity(), r.SeverityText(), r.Body().AsString(), w)
			}
			if !r.Timestamp().Equal(start.Add(w.at)) {
				t.Errorf("%d: %s is of %v, want %v after the start", i, w.eventType, r.Timestamp(), w.at)
			}
			if r.TraceID() != w.by.TraceID() || r.SpanID() != w.by.SpanID() {
				t.Errorf("%d: %s has trace %v/%v, want %v/%v", i, w.eventType, r.TraceID(), r.SpanID(), w.by.TraceID(), w.by.SpanID())
			}
			if s := r.InstrumentationScope(); s.Name != logs.ScopeName || s.Version != logs.Version {
				t.Errorf("%d: the scope is %s %s", i, s.Name, s.Version)
			}
			fields := maps.Clone(w.fields)
			maps.Copy(fields, map[string]any{"component": "circuit_breaker", "event_type": w.eventType, "service": service,
				"endpoint": endpoint, "outage_id": seen[i].OutageID})
			if a := attributes(r); !maps.Equal(a, fields) {
				t.Errorf("%d: %s has attributes\n%v, want\n%v", i, w.eventType, a, fields)
			}
		}
		if seen[0].OutageID != seen[4].OutageID || seen[0].OutageID == seen[5].OutageID {
			t.Error("an outage id is not one outage's")
		}
	})
}

// The same, as JSON lines: the same names, and what OpenTelemetry has of its own under the names of slog.
func TestSlogHasTheSameFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		logger, lines := jsonLogger(t, nil)
		var seen []breaker.Event
		b := newBreaker(t, config(), logs.NewListener(logs.WithSlog(logger)),
			breaker.ListenerFunc(func(e breaker.Event) { seen = append(seen, e) }))
		want := script(t, b)
		got := lines()
		if len(got) != len(want) {
			t.Fatalf("%d lines, want %d", len(got), len(want))
		}
		for i, line := range got {
			w := want[i]
			fields := map[string]any{"component": "circuit_breaker", "event_type": w.eventType, "service": service,
				"endpoint": endpoint, "outage_id": seen[i].OutageID, "msg": w.body, "level": w.severity.String(),
				"time": start.Add(w.at).Format(time.RFC3339Nano)}
			if w.by.IsValid() {
				fields["trace_id"], fields["span_id"] = w.by.TraceID().String(), w.by.SpanID().String()
			}
			maps.Copy(fields, w.fields)
			for k, v := range fields {
				if n, ok := v.(int64); ok {
					fields[k] = float64(n) // as JSON has it
				}
			}
			if !maps.Equal(line, fields) {
				t.Errorf("%d: got\n%v, want\n%v", i, line, fields)
			}
		}
	})
}

func TestOverridesThatMovedNoState(t *testing.T) {
	recorded, provider := newRecorder()
	b := newBreaker(t, config(), logs.NewListener(logs.WithLoggerProvider(provider)))
	b.Disable("trying thresholds")
	b.Reset()
	call(b, fail)
	opening := call(b, fail)
	b.ForceOpen("stay")
	flush(t, b)
	got := recorded.take()
	if len(got) != 4 {
		t.Fatalf("%d records, want 4", len(got))
	}
	for i, want := range map[int]map[string]any{
		0: {"old_state": "closed", "new_state": "closed", "reason": "disabled", "override": "disabled", "note": "trying thresholds"},
		1: {"old_state": "closed", "new_state": "closed", "reason": "reset", "override": "automatic"},
		3: {"old_state": "open", "new_state": "open", "reason": "forced", "override": "forced_open", "note": "stay"},
	} {
		a := attributes(got[i])
		if got[i].EventName() != "circuit_state_change" || a["event_type"] != "circuit_state_change" {
			t.Errorf("%d: is a %s, %v", i, got[i].EventName(), a["event_type"])
		}
		for k, v := range want {
			if a[k] != v {
				t.Errorf("%d: %s is %v, want %v", i, k, a[k], v)
			}
		}
		for _, k := range []string{"observed", "threshold", "recovery_duration_seconds", "blocked_count", "shadow"} {
			if _, found := a[k]; found {
				t.Errorf("%d: there is a %s", i, k)
			}
		}
	}
	if got[3].TraceID() != opening.TraceID() {
		t.Error("forcing an open breaker is not on the trace of the call that opened it")
	}
}

// Nothing that only would have happened may look like something that did.
func TestShadowTransitionsAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorded, provider := newRecorder()
		b := newBreaker(t, config(), logs.NewListener(logs.WithLoggerProvider(provider)))
		b.Disable("trying thresholds")
		call(b, fail)
		call(b, fail)
		time.Sleep(10 * time.Second)
		call(b, fail)
		time.Sleep(10 * time.Second)
		call(b, succeed)
		flush(t, b)
		got := recorded.take()
		var types []string
		for _, r := range got[1:] {
			a := attributes(r)
			types = append(types, r.EventName())
			if a["shadow"] != true || a["event_type"] != r.EventName() || r.Severity() != log.SeverityInfo {
				t.Errorf("%s has %v, severity %v", r.EventName(), a, r.Severity())
			}
			if _, found := a["recovery_duration_seconds"]; found {
				t.Errorf("%s has a recovery", r.EventName())
			}
		}
		want := []string{"circuit_would_open", "circuit_would_half_open", "circuit_would_reopen", "circuit_would_half_open",
			"circuit_would_close"}
		if !slices.Equal(types, want) {
			t.Errorf("got %v, want %v", types, want)
		}
		if body := got[1].Body().AsString(); body != "Circuit breaker would have opened" {
			t.Errorf("the body is %q", body)
		}
	})
}

// installGlobal makes a listener, with a nil option at that, and then installs an SDK: the first time only, since the
// API's global providers are bound to the first one that they get for good.
var installGlobal = sync.OnceValues(func() (breaker.Listener, *recorder) {
	early := logs.NewListener(nil)
	r, provider := newRecorder()
	otel.SetLoggerProvider(provider)
	return early, r
})

func TestWhereRecordsGo(t *testing.T) {
	early, global := installGlobal()
	given, provider := newRecorder()
	logger, lines := jsonLogger(t, nil)
	before := slog.Default()
	slog.SetDefault(logger)
	defer slog.SetDefault(before)

	for name, c := range map[string]struct {
		listener            breaker.Listener
		global, given, slog int
	}{
		"default, made before the SDK": {early, 1, 0, 0},
		"provider":                     {logs.NewListener(logs.WithLoggerProvider(provider)), 0, 1, 0},
		"nil provider":                 {logs.NewListener(logs.WithLoggerProvider(nil)), 1, 0, 0},
		"slog":                         {logs.NewListener(logs.WithSlog(logger)), 0, 0, 1},
		"default slog":                 {logs.NewListener(logs.WithSlog(nil)), 0, 0, 1},
		"both":                         {logs.NewListener(logs.WithSlog(logger), logs.WithLoggerProvider(provider)), 0, 1, 1},
	} {
		b := newBreaker(t, config(), c.listener)
		b.ForceOpen("")
		flush(t, b)
		got := fmt.Sprint(len(global.take()), len(given.take()), len(lines()))
		if want := fmt.Sprint(c.global, c.given, c.slog); got != want {
			t.Errorf("%s: global, given, slog got %s, want %s", name, got, want)
		}
	}
}

// What is not wanted is not made.
func TestEnabledIsAsked(t *testing.T) {
	var asked []log.EnabledParameters
	recorded, provider := newRecorder()
	filtered := filteredProvider{LoggerProvider: provider, asked: &asked}
	logger, lines := jsonLogger(t, &slog.HandlerOptions{Level: slog.LevelWarn})
	b := newBreaker(t, config(), logs.NewListener(logs.WithLoggerProvider(filtered), logs.WithSlog(logger)))
	call(b, fail)
	call(b, fail)
	b.Reset()
	flush(t, b)
	want := []log.EnabledParameters{
		{Severity: log.SeverityWarn, EventName: "circuit_opened"},
		{Severity: log.SeverityInfo, EventName: "circuit_state_change"},
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %v, want %v", asked, want)
	}
	if got := recorded.take(); len(got) != 1 || got[0].EventName() != "circuit_opened" {
		t.Errorf("%d records, want only that of the opening", len(got))
	}
	if got := lines(); len(got) != 1 || got[0]["event_type"] != "circuit_opened" {
		t.Errorf("lines are %v, want only that of the opening", got)
	}
}

type filteredProvider struct {
	*sdklog.LoggerProvider
	asked *[]log.EnabledParameters
}

func (p filteredProvider) Logger(name string, options ...log.LoggerOption) log.Logger {
	return filteredLogger{p.LoggerProvider.Logger(name, options...), p.asked}
}
