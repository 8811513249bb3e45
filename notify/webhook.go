package notify

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
)

// payloadVersion is the field version of the JSON. It grows when a field is renamed or removed; new ones may come.
const payloadVersion = 1

// Webhook posts every transition as JSON, with the names of the log records (see docs/telemetry-logs.md), and version, id,
// time, trace_id, span_id, instance, and dashboard_url, runbook_url and trace_url where there are templates for them.
// Nothing is gathered. It may listen to any number of breakers and groups, and be used concurrently.
type Webhook struct{ courier *courier }

var _ breaker.Listener = (*Webhook)(nil)

// NewWebhook makes a notifier that posts to an address, signed where there is a secret ([WithSecret]). 2xx is success.
//
// The error says what is wrong with the address, without it, and with the options.
func NewWebhook(address string, opts ...Option) (*Webhook, error) {
	s, err := newSettings(webhook, "webhook", opts)
	to, bad := checkAddress("the webhook's address", address, s.plain)
	if err = errors.Join(bad, err); err != nil {
		return nil, err
	}
	client, release := s.newClient()
	c, err := newCourier(s, &line{most: s.queue, post: postJSON(to, client, s.secret), payload: payloadOf(s)}, 0, release)
	if err != nil {
		return nil, err
	}
	return &Webhook{c}, nil
}

// OnTransition notes what happened and returns at once.
func (w *Webhook) OnTransition(e breaker.Event) { w.courier.take(&e) }

// Close is as [Slack.Close].
func (w *Webhook) Close(ctx context.Context) error { return w.courier.close(ctx) }

// String names the notifier, and not where it sends.
func (w *Webhook) String() string { return "notify.Webhook(" + w.courier.name + ")" }

// postJSON keeps address and secret where nothing that prints or walks a value comes by them.
func postJSON(to *url.URL, client *http.Client, secret []byte) func(ctx context.Context, id string, body []byte) error {
	address := to.String()
	return func(ctx context.Context, id string, body []byte) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
		if err != nil {
			return err
		}
		timestamp := strconv.FormatInt(time.Now().Unix(), 10) // of this attempt, for the receiver's tolerance
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("User-Agent", "otelbreaker/"+Version)
		r.Header.Set(TimestampHeader, timestamp)
		r.Header.Set(DeliveryHeader, id)
		if secret != nil {
			r.Header.Set(SignatureHeader, signature(secret, timestamp, body))
		}
		res, err := client.Do(r)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body) // so that the connection can be used again
		if res.StatusCode/100 != 2 {
			return statusFailure(res.StatusCode, retryAfter(res.Header))
		}
		return nil
	}
}

// payloadOf gives what makes the fields of an event.
func payloadOf(s *settings) func(*breaker.Event) map[string]any {
	return func(e *breaker.Event) map[string]any {
		p := map[string]any{"version": payloadVersion, "id": rand.Text(), "time": e.At.UTC().Format(time.RFC3339Nano)}
		for _, a := range logs.Attributes(*e) {
			if v, ok := jsonValue(a.Value); ok {
				p[string(a.Key)] = v
			}
		}
		about := subject{service: e.Service, endpoint: e.Endpoint, outage: e.OutageID}
		if sc := spanContext(e.Context); sc.IsValid() {
			p["trace_id"], p["span_id"] = sc.TraceID().String(), sc.SpanID().String()
			about.trace = sc.TraceID().String()
		}
		if by := spanContext(e.OpenedBy); by.IsValid() {
			about.trace = by.TraceID().String()
		}
		if s.instance != "" {
			p["instance"] = s.instance
		}
		for _, l := range s.links {
			if address := l.to(about); address != "" {
				p[l.key()+"_url"] = address
			}
		}
		return p
	}
}

func spanContext(ctx context.Context) trace.SpanContext {
	if ctx == nil {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(ctx)
}

// jsonValue leaves out what JSON has no number for, and cuts texts.
func jsonValue(v attribute.Value) (any, bool) {
	switch v.Type() {
	case attribute.STRING:
		return shortened(v.AsString(), maxField), true
	case attribute.FLOAT64:
		f := v.AsFloat64()
		return f, !math.IsNaN(f) && !math.IsInf(f, 0)
	default:
		return v.AsInterface(), true
	}
}

// line is the outbox for programs: every event, first in, first out.
type line struct {
	most    int
	post    func(ctx context.Context, id string, body []byte) error
	payload func(*breaker.Event) map[string]any
	all     []queued
}

type queued struct {
	fields   map[string]any
	about    func() string
	followUp bool
}

func (*line) wants(*breaker.Event) bool { return true }

func (l *line) len() int { return len(l.all) }

func (l *line) take(e *breaker.Event, _ time.Time) (dropped int) {
	service, endpoint, from, to := e.Service, e.Endpoint, e.From, e.To // and not e, which has contexts
	l.all = append(l.all, queued{
		fields: l.payload(e),
		about: func() string {
			return fmt.Sprintf("%q (%s): %v to %v", shortened(clean(service), maxName),
				shortened(clean(endpoint), maxName), from, to)
		},
		followUp: e.To == breaker.HalfOpen || e.From == breaker.HalfOpen && e.To == breaker.Open,
	})
	if len(l.all) <= l.most {
		return 0
	}
	victim := 0
	for i := range l.all {
		if l.all[i].followUp {
			victim = i
			break
		}
	}
	l.all = append(l.all[:victim], l.all[victim+1:]...)
	return 1
}

func (l *line) next(now time.Time) (*letter, time.Time) {
	if len(l.all) == 0 {
		return nil, time.Time{}
	}
	first := l.all[0]
	l.all[0] = queued{} // what was sent is not to be kept by the array
	l.all = l.all[1:]
	id, _ := first.fields["id"].(string)
	return &letter{about: first.about, send: func(ctx context.Context) error {
		body, err := json.Marshal(first.fields)
		if err != nil {
			return &failure{what: "the event could not be encoded"}
		}
		return l.post(ctx, id, body)
	}}, now
}

func (*line) hurry(time.Time) {}

func (l *line) clear() (left []string) {
	for _, q := range l.all {
		left = append(left, q.about())
	}
	l.all = nil
	return left
}
