package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/slack-go/slack"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/notify"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	address = "https://hooks.slack.example/services/T0/B0/canary-of-the-webhook"
	secret  = "canary-of-the-signature"
)

// receiver stands in for Slack, which no test can reach, and for whoever else takes webhooks. It is a round tripper and
// no server, so that time is virtual; wire_test.go has servers.
type receiver struct {
	answer func(n int, r *http.Request) (*http.Response, error) // nil: 200

	mu  sync.Mutex
	got []request
}

type request struct {
	at     time.Time
	path   string
	header http.Header
	body   string
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	n := len(r.got)
	r.got = append(r.got, request{time.Now(), req.URL.Path, req.Header.Clone(), string(body)})
	r.mu.Unlock()
	if r.answer == nil {
		return status(200, "ok"), nil
	}
	return r.answer(n, req)
}

func (r *receiver) requests() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]request(nil), r.got...)
}

func (r *receiver) client() *http.Client { return &http.Client{Transport: r} }

// status is an answer; further ones are pairs of a header.
func status(code int, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: code, Status: strconv.Itoa(code), Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

var errNetwork = errors.New("dial " + address + ": connection refused") // as careless a text as there may be

// texts are the messages' texts, without the marks that keep them from being links.
func (r *receiver) texts(t *testing.T) (all []string) {
	t.Helper()
	for _, q := range r.requests() {
		all = append(all, message(t, q.body).Text)
	}
	return all
}

func message(t *testing.T, body string) slack.WebhookMessage {
	t.Helper()
	var m slack.WebhookMessage
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	m.Text = strings.ReplaceAll(m.Text, "\u200b", "")
	return m
}

// rig is a meter and a log beside a notifier.
type rig struct {
	*receiver
	reader *sdkmetric.ManualReader
	meters metric.MeterProvider
	lines  *lines
}

func newRig() *rig {
	reader := sdkmetric.NewManualReader()
	return &rig{&receiver{}, reader, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), &lines{}}
}

func (r *rig) options(more ...notify.Option) []notify.Option {
	return append([]notify.Option{
		notify.WithHTTPClient(r.client()), notify.WithMeterProvider(r.meters), notify.WithInstance("shop-1"),
		notify.WithLogger(slog.New(slog.NewJSONHandler(r.lines, nil))),
	}, more...)
}

func (r *rig) slack(t *testing.T, more ...notify.Option) *notify.Slack {
	t.Helper()
	s, err := notify.NewSlack(address, r.options(more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func (r *rig) webhook(t *testing.T, more ...notify.Option) *notify.Webhook {
	t.Helper()
	w, err := notify.NewWebhook(address, r.options(more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(context.Background()) })
	return w
}

// counts are those of one channel: sent, failed, dropped.
func (r *rig) counts(t *testing.T, channel string) (sent, failed, dropped int64) {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := r.reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	found := map[string]int64{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
				c, _ := p.Attributes.Value("channel")
				o, _ := p.Attributes.Value("outcome")
				if c.AsString() == channel {
					found[o.AsString()] = p.Value
				}
			}
		}
	}
	if len(found) != 3 {
		t.Errorf("the outcomes of %s: %v", channel, found)
	}
	return found["sent"], found["failed"], found["dropped"]
}

func (r *rig) wantCounts(t *testing.T, channel string, sent, failed, dropped int64) {
	t.Helper()
	s, f, d := r.counts(t, channel)
	if s != sent || f != failed || d != dropped {
		t.Errorf("%s: sent %d, failed %d, dropped %d; want %d, %d, %d", channel, s, f, d, sent, failed, dropped)
	}
}

// lines are what was logged.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(p))
	return len(p), nil
}

func (l *lines) get() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.all...)
}

// circuit makes the events of a breaker by hand, where what is told matters and not why.
type circuit struct {
	to       breaker.Listener
	service  string
	endpoint string
	id       int
}

func (c *circuit) event(from, to breaker.State, rule string, change func(*breaker.Event)) {
	e := breaker.Event{
		Service: c.service, Endpoint: c.endpoint, From: from, To: to, At: time.Now(),
		Reason:   breaker.Reason{Rule: rule, Observed: 5, Threshold: 5},
		OutageID: "outage-" + strconv.Itoa(c.id), Context: context.Background(), OpenedBy: context.Background(),
	}
	if change != nil {
		change(&e)
	}
	c.to.OnTransition(e)
}

func (c *circuit) opens() {
	c.id++
	c.event(breaker.Closed, breaker.Open, breaker.RuleConsecutiveFailures, func(e *breaker.Event) {
		e.FailureCount, e.ErrorType = 5, "503"
	})
}

func (c *circuit) probes() { c.event(breaker.Open, breaker.HalfOpen, breaker.RuleDelayElapsed, nil) }

func (c *circuit) reopens() {
	c.probes()
	c.event(breaker.HalfOpen, breaker.Open, breaker.RuleProbeFailed, func(e *breaker.Event) {
		e.FailureCount, e.ErrorType = 1, "timeout"
	})
}

func (c *circuit) closes(after time.Duration, blocked uint64) {
	c.probes()
	c.event(breaker.HalfOpen, breaker.Closed, breaker.RuleProbesSucceeded, func(e *breaker.Event) {
		e.RecoveryDuration, e.BlockedCount, e.SuccessCount = after, blocked, 1
	})
}

// virtual runs f with virtual time, and fails where a goroutine outlives it.
func virtual(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// later is a moment after so much time, when all has been done that was due by then.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func closeNow(t *testing.T, n interface{ Close(context.Context) error }) {
	t.Helper()
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func traced(b byte) context.Context {
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{15: b}, SpanID: trace.SpanID{7: b},
	}))
}

func want(t *testing.T, got []string, texts ...string) {
	t.Helper()
	if len(got) != len(texts) {
		t.Fatalf("%d messages, want %d: %q", len(got), len(texts), got)
	}
	for i := range texts {
		if !strings.Contains(got[i], texts[i]) {
			t.Errorf("message %d is %q, want %q in it", i, got[i], texts[i])
		}
	}
}

// golden compares JSON with a file.
func golden(t *testing.T, file, body string) {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	pretty, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	pretty = append(pretty, '\n')
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, pretty, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	known, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(known) != string(pretty) {
		t.Errorf("%s is not what is sent:\n%s", file, pretty)
	}
}

// keepsToSlacksRules checks a message against Slack's documented limits, and that nothing in it is markup.
func keepsToSlacksRules(t *testing.T, body string) {
	t.Helper()
	if !utf8.ValidString(body) {
		t.Errorf("not UTF-8: %q", body)
	}
	m := message(t, body)
	if strings.Contains(body, `"mrkdwn"`) {
		t.Errorf("a text with markup: %s", body)
	}
	short := func(what, text string, most int) {
		if n := len(utf16.Encode([]rune(text))); n == 0 || n > most {
			t.Errorf("%s has %d characters, want 1 to %d: %q", what, n, most, text)
		}
		if strings.ContainsAny(text, "<>") || strings.ContainsAny(strings.NewReplacer("&amp;", "", "&lt;", "", "&gt;", "").Replace(text), "&") {
			t.Errorf("%s is not escaped: %q", what, text)
		}
	}
	short("the text", m.Text, 3000)
	if strings.ContainsAny(m.Text, "*`~") {
		t.Errorf("the text has formatting: %q", m.Text)
	}
	if m.Parse != "none" || m.UnfurlLinks == nil || *m.UnfurlLinks {
		t.Errorf("links may be found: %s", body)
	}
	if len(m.Attachments) != 1 || m.Attachments[0].Color == "" || m.Attachments[0].Fallback == "" {
		t.Fatalf("no attachment with colour and fallback: %s", body)
	}
	blocks := append(m.Blocks.BlockSet, m.Attachments[0].Blocks.BlockSet...)
	if len(blocks) < 3 || len(blocks) > 50 {
		t.Errorf("%d blocks", len(blocks))
	}
	for _, b := range blocks {
		switch b := b.(type) {
		case *slack.HeaderBlock:
			short("the header", b.Text.Text, 150)
		case *slack.SectionBlock:
			if len(b.Fields) < 1 || len(b.Fields) > 10 {
				t.Errorf("%d fields", len(b.Fields))
			}
			for _, f := range b.Fields {
				short("a field", f.Text, 2000)
			}
		case *slack.ContextBlock:
			if len(b.ContextElements.Elements) > 10 {
				t.Errorf("%d elements", len(b.ContextElements.Elements))
			}
			for _, e := range b.ContextElements.Elements {
				short("a context", e.(*slack.TextBlockObject).Text, 2000)
			}
		case *slack.ActionBlock:
			for _, e := range b.Elements.ElementSet {
				short("a button", e.(*slack.ButtonBlockElement).Text.Text, 75)
				if u := e.(*slack.ButtonBlockElement).URL; len(u) > 3000 || !strings.HasPrefix(u, "https://") {
					t.Errorf("a button to %q", u)
				}
			}
		default:
			t.Errorf("a block %T", b)
		}
	}
}

// lineChannel is a log, to be waited for.
type lineChannel chan string

func (c lineChannel) Write(p []byte) (int, error) {
	c <- string(p)
	return len(p), nil
}

func (c lineChannel) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(c, nil)) }
