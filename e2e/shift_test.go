package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/control"
	"github.com/otelbreaker/otelbreaker/logs"
)

// speaker is a program that calls through breakers, whose records go by OTLP and, all the same, as lines of JSON.
type speaker struct {
	name, instance string
	pipeline       *collector.Pipeline
	tracer         trace.Tracer
	slog           *slog.Logger
	lines          lockedBuffer
}

func startSpeaker(t *testing.T, name, instance, endpoint string) *speaker {
	t.Helper()
	clearEnvironment(t)
	options := []collector.Option{
		collector.WithoutGlobals(), collector.WithoutRuntimeMetrics(), collector.WithServiceName(name),
		collector.WithResourceAttributes(attribute.String("service.instance.id", instance)),
	}
	if endpoint != "" {
		options = append(options, collector.WithOTLP("http/protobuf", endpoint))
	}
	pipeline, err := collector.Start(t.Context(), options...)
	if err != nil {
		t.Fatal(err)
	}
	p := &speaker{name: name, instance: instance, pipeline: pipeline, tracer: pipeline.TracerProvider().Tracer("e2e")}
	p.slog = slog.New(slog.NewJSONHandler(&p.lines, nil))
	t.Cleanup(func() { p.shutdown(t) })
	return p
}

// shutdown sends what the program still holds. A second call does nothing.
func (p *speaker) shutdown(t *testing.T) {
	t.Helper()
	if p.pipeline == nil {
		return
	}
	shutDown(t, p.pipeline)
	p.pipeline = nil
}

// say writes a line of the program's own, in a trace, to both logs.
func (p *speaker) say(in trace.SpanContext, text string) {
	var record log.Record
	record.SetTimestamp(time.Now())
	record.SetSeverity(log.SeverityInfo)
	record.SetBody(attribute.StringValue(text))
	p.pipeline.LoggerProvider().Logger("app").Emit(trace.ContextWithSpanContext(context.Background(), in), record)
	p.slog.Info(text, "trace_id", in.TraceID().String(), "span_id", in.SpanID().String())
}

// guarded is a breaker of a program, as its calls and this test see it.
type guarded struct {
	*breaker.Breaker
	by     *speaker
	events chan breaker.Event
}

func (p *speaker) guards(t *testing.T, c breaker.Config) *guarded {
	t.Helper()
	g := &guarded{by: p, events: make(chan breaker.Event, 16)}
	var err error
	g.Breaker, err = breaker.New(c, listener(g.events), logs.NewListener(logs.WithLoggerProvider(p.pipeline.LoggerProvider()),
		logs.WithSlog(p.slog), logs.WithFailureLimit(60)))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// status is an error that is named by a status of HTTP.
type status string

func (s status) Error() string     { return "status " + string(s) }
func (s status) ErrorType() string { return string(s) }

// call makes a call that comes back with an error, or nil, in a trace of its own.
func (g *guarded) call(t *testing.T, with error) trace.SpanContext {
	t.Helper()
	ctx, span := g.by.tracer.Start(t.Context(), "handle")
	defer span.End()
	if err := g.Do(ctx, func(context.Context) error { return with }); !errors.Is(err, with) {
		t.Fatalf("a call of %s returned %v, want %v", g.Snapshot().Service, err, with)
	}
	return span.SpanContext()
}

// blocks makes calls that are blocked.
func (g *guarded) blocks(t *testing.T, n int) {
	t.Helper()
	for range n {
		err := g.Do(t.Context(), func(context.Context) error { return nil })
		if !errors.Is(err, breaker.ErrOpen) {
			t.Fatalf("a call of %s while it is open returned %v", g.Snapshot().Service, err)
		}
	}
}

// controlled gives a way to operate the breaker, by a control over HTTP that lets one operator in.
func (g *guarded) controlled(t *testing.T, operator, token string) (operate func(status int, token, action, reason string)) {
	t.Helper()
	handler, err := control.Handler([]control.Source{g.Breaker}, control.WithToken(operator, token),
		control.WithLoggerProvider(g.by.pipeline.LoggerProvider()), control.WithSlog(g.by.slog))
	if err != nil {
		t.Fatal(err)
	}
	names := g.Snapshot()
	return func(status int, token, action, reason string) {
		t.Helper()
		order, err := json.Marshal(map[string]string{"action": action, "service": names.Service, "endpoint": names.Endpoint, "reason": reason})
		if err != nil {
			t.Fatal(err)
		}
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/control/circuit-breakers", bytes.NewReader(order))
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+token)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != status {
			t.Fatalf("%s of %s was answered with %d, want %d: %s", action, names.Service, answer.Code, status, answer.Body)
		}
	}
}

// awaits returns the transition to a state, which has to be the next one.
func (g *guarded) awaits(t *testing.T, want breaker.State) breaker.Event {
	t.Helper()
	select {
	case e := <-g.events:
		if e.To != want {
			t.Fatalf("%s went from %v to %v, want to %v", e.Service, e.From, e.To, want)
		}
		return e
	case <-time.After(settle):
		t.Fatalf("no transition of %s to %v after %v", g.Snapshot().Service, want, settle)
		return breaker.Event{}
	}
}

// turn is an event, which program told it, and the trace that it belongs to.
type turn struct {
	breaker.Event
	by *speaker
	in trace.SpanContext
}

// shift is what happened while one was on call: outages and what is easily taken for one, of several services,
// endpoints, programs and instances.
type shift struct {
	programs []*speaker
	blocked  int // calls of the first outage

	// The first outage: payments as checkout sees it, from the opening by a third failure to the closing, with a probe
	// that failed. Its own line is written in the trace of the call that opened.
	outage []turn
	ranUp  []trace.SpanContext // the failures before the one that opened
	failed trace.SpanContext   // the probe

	opened []turn // every opening by its rules, in order
	closed []turn // every closing that ended an outage, by an operator, too
	lasts  []turn // the openings of outages that are not over

	shadow trace.SpanContext // the call that would have opened
}

const (
	payAPI, payInEU, stockAPI   = "https://pay.example", "https://pay-eu.example", "https://stock.example:8443"
	searchAPI, mailAPI, bulkAPI = "https://search.example", "smtp://mail.example:25", "https://bulk.example"
	forcedReason                = "migration of the database"
	forcedNote                  = forcedReason + " (by ann)"
	resetReason                 = "migration is over"
	disabledNote                = "index is rebuilt, bob"
	ownLine                     = "asking payments; circuit_opened is only a word of this line"
)

// work lets a shift happen, whose records go to an OTLP endpoint, if there is one.
func work(t *testing.T, endpoint string) *shift {
	t.Helper()
	s := &shift{blocked: 4}
	checkout := startSpeaker(t, "checkout", "checkout-1", endpoint)
	second := startSpeaker(t, "checkout", "checkout-2", endpoint)
	basket := startSpeaker(t, "basket", "basket-1", endpoint)
	s.programs = []*speaker{checkout, second, basket}

	s.firstOutage(t, checkout)

	// An operator forces a breaker of the same service open, and lets it go again.
	g := checkout.guards(t, breaker.Config{Service: "payments", Endpoint: payInEU})
	annsToken := strings.Repeat("a", control.MinTokenLength)
	operate := g.controlled(t, "ann", annsToken)
	operate(http.StatusOK, annsToken, "force_open", forcedReason)
	g.awaits(t, breaker.Open)
	g.blocks(t, 2)
	operate(http.StatusUnauthorized, "a guess", "reset", "none of yours")
	operate(http.StatusOK, annsToken, "reset", resetReason)
	s.closed = append(s.closed, turn{Event: g.awaits(t, breaker.Closed), by: checkout})
	flushed(t, g)

	// Both instances of a program see a service that stays away.
	for _, p := range []*speaker{checkout, second} {
		g := p.guards(t, breaker.Config{Service: "inventory", Endpoint: stockAPI, FailureThreshold: 2, RecoveryTimeout: time.Hour})
		g.call(t, status("502"))
		in := g.call(t, context.DeadlineExceeded)
		opened := turn{g.awaits(t, breaker.Open), p, in}
		s.opened, s.lasts = append(s.opened, opened), append(s.lasts, opened)
		g.blocks(t, 3)
		flushed(t, g)
	}

	// One is disabled, and would have opened.
	g = checkout.guards(t, breaker.Config{Service: "search", Endpoint: searchAPI, FailureThreshold: 2, RecoveryTimeout: time.Hour})
	g.Disable(disabledNote)
	g.call(t, status("503"))
	s.shadow = g.call(t, status("503"))
	flushed(t, g)

	// One flaps.
	g = checkout.guards(t, breaker.Config{Service: "mail", Endpoint: mailAPI, FailureThreshold: 1, RecoveryTimeout: 10 * time.Millisecond})
	for range 3 {
		s.opensAndCloses(t, g, status("421"))
	}
	flushed(t, g)

	// Another program has an outage of the service and endpoint of the first.
	g = basket.guards(t, breaker.Config{Service: "payments", Endpoint: payAPI, FailureThreshold: 1, RecoveryTimeout: 10 * time.Millisecond})
	s.opensAndCloses(t, g, status("500"))
	flushed(t, g)

	s.heldBack(t, checkout)
	return s
}

func (s *shift) firstOutage(t *testing.T, p *speaker) {
	t.Helper()
	g := p.guards(t, breaker.Config{Service: "payments", Endpoint: payAPI, FailureThreshold: 3, RecoveryTimeout: 100 * time.Millisecond})
	g.call(t, nil)
	s.ranUp = append(s.ranUp, g.call(t, status("503")), g.call(t, context.DeadlineExceeded))
	by := g.call(t, status("503"))
	note := func(to breaker.State, in trace.SpanContext) {
		s.outage = append(s.outage, turn{g.awaits(t, to), p, in})
	}
	note(breaker.Open, by)
	p.say(by, ownLine)
	g.blocks(t, s.blocked)
	note(breaker.HalfOpen, by)
	s.failed = g.call(t, status("503"))
	note(breaker.Open, s.failed)
	note(breaker.HalfOpen, by)
	note(breaker.Closed, g.call(t, nil))
	s.opened = append(s.opened, s.outage[0])
	s.closed = append(s.closed, s.outage[len(s.outage)-1])
	flushed(t, g)
}

func (s *shift) opensAndCloses(t *testing.T, g *guarded, with error) {
	t.Helper()
	by := g.call(t, with)
	s.opened = append(s.opened, turn{g.awaits(t, breaker.Open), g.by, by})
	g.awaits(t, breaker.HalfOpen)
	by = g.call(t, nil)
	s.closed = append(s.closed, turn{g.awaits(t, breaker.Closed), g.by, by})
}

// heldBack makes more failed calls than there are records of, until one of the records tells so.
func (s *shift) heldBack(t *testing.T, p *speaker) {
	t.Helper()
	g := p.guards(t, breaker.Config{Service: "bulk", Endpoint: bulkAPI, FailureThreshold: 1 << 30})
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(settle); ; {
		for range 10 {
			g.call(t, status("507"))
		}
		flushed(t, g)
		if strings.Contains(p.lines.String(), `"held_back"`) {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("no record tells of others held back after %v", settle)
		}
	}
}

func flushed(t *testing.T, g *guarded) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	if err := g.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// jsonLines are the lines of a program.
func (p *speaker) jsonLines(t *testing.T) (lines []map[string]any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(p.lines.String()))
	for {
		var line map[string]any
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			return lines
		} else if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
}

// held is how many records the lines tell of that are not there.
func (s *shift) held(t *testing.T) (n float64) {
	t.Helper()
	for _, p := range s.programs {
		for _, line := range p.jsonLines(t) {
			if more, found := line["held_back"].(float64); found {
				n += more
			}
		}
	}
	return n
}

// lockedBuffer is written by deliveries while it is read.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// oldOpening is a record of the first outage's breaker as OTLP has it: an opening like that, but of another time and
// program.
func oldOpening(at time.Time, program string) string {
	var attributes []string
	for _, a := range [][2]string{
		{"component", "circuit_breaker"}, {"event_type", "circuit_opened"}, {"service", "payments"}, {"endpoint", payAPI},
		{"old_state", "closed"}, {"new_state", "open"}, {"reason", "consecutive_failures"}, {"outage_id", "00000000000000ff"},
		{"error.type", "503"},
	} {
		attributes = append(attributes, fmt.Sprintf(`{"key":%q,"value":{"stringValue":%q}}`, a[0], a[1]))
	}
	return fmt.Sprintf(`{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":%q}}]},`+
		`"scopeLogs":[{"logRecords":[{"timeUnixNano":"%d","severityNumber":13,"severityText":"WARN",`+
		`"body":{"stringValue":"Circuit breaker opened"},"attributes":[%s]}]}]}]}`,
		program, at.UnixNano(), strings.Join(attributes, ","))
}
