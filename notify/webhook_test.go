package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/notify"
)

func jsonOf(t *testing.T, body string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return m
}

// A real breaker's outage, event by event.
func TestTheWebhookTellsEveryTransition(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		b, err := breaker.New(breaker.Config{Service: "payments", Endpoint: "https://pay.example:8443"},
			r.webhook(t, append(links, notify.WithSecret(secret))...))
		if err != nil {
			t.Fatal(err)
		}
		call := func(trace byte, err error) { _ = b.Do(traced(trace), func(context.Context) error { return err }) }
		for range 5 {
			call(1, down("503"))
		}
		id := b.Snapshot().OutageID
		call(2, nil)
		later(30 * time.Second)
		call(3, context.DeadlineExceeded)
		later(30 * time.Second)
		call(4, nil)
		later(0)
		var types []string
		deliveries := map[string]bool{}
		for _, q := range r.requests() {
			fields := jsonOf(t, q.body)
			types = append(types, fields["event_type"].(string))
			deliveries[fields["id"].(string)] = true
			if q.header.Get(notify.DeliveryHeader) != fields["id"] || q.header.Get("Content-Type") != "application/json" {
				t.Errorf("headers: %v", q.header)
			}
			if err := notify.VerifySignature(secret, q.header, []byte(q.body), time.Hour); err != nil {
				t.Error(err)
			}
		}
		want(t, types, "circuit_opened", "circuit_half_open", "circuit_reopened", "circuit_half_open", "circuit_closed")
		if len(deliveries) != 5 {
			t.Errorf("the ids are not distinct: %v", deliveries)
		}
		for i, file := range map[int]string{0: "webhook_opened.json", 4: "webhook_closed.json"} {
			body := r.requests()[i].body
			body = strings.ReplaceAll(body, id, "5bd1c9e204a7f836")
			golden(t, file, strings.ReplaceAll(body, jsonOf(t, body)["id"].(string), "6YOYUQIDCJQWPZPUKKJMPMPEPU"))
		}
		r.wantCounts(t, "webhook", 5, 0, 0)
	})
}

// What is sent again is the same event, signed anew.
func TestASecondAttemptIsSignedAnew(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		r.answer = answers(code(503, "Retry-After", "90"))
		(&circuit{to: r.webhook(t, notify.WithSecret(secret)), service: "payments"}).opens()
		later(90 * time.Second)
		got := r.requests()
		if len(got) != 2 || got[0].body != got[1].body || got[0].header.Get(notify.DeliveryHeader) != got[1].header.Get(notify.DeliveryHeader) {
			t.Fatalf("sent again: %+v", got)
		}
		if err := notify.VerifySignature(secret, got[1].header, []byte(got[1].body), time.Minute); err != nil {
			t.Error(err)
		}
		if err := notify.VerifySignature(secret, got[0].header, []byte(got[0].body), time.Minute); !errors.Is(err, notify.ErrSignature) {
			t.Errorf("one of 90 seconds ago: %v", err)
		}
	})
}

func TestWithoutASecretNothingIsSigned(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		(&circuit{to: r.webhook(t), service: "payments"}).opens()
		later(0)
		if h := r.requests()[0].header; h.Get(notify.SignatureHeader) != "" {
			t.Errorf("headers: %v", h)
		}
	})
}

func TestVerifySignatureRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := []byte(`{"version":1}`)
		now := strconv.FormatInt(time.Now().Unix(), 10)
		// Worked out apart: printf '946684800.{"version":1}' | openssl dgst -sha256 -hmac canary-of-the-signature
		const valid = "v1=2c017a132cbdb5b4dbd685f4da56beb7b1da654a7d47b8f6d84b270d3f56e3ab"
		sign := func(secret, timestamp string, body []byte) string {
			return notify.Signature([]byte(secret), timestamp, body)
		}
		header := func(timestamp, signature string) http.Header {
			h := http.Header{}
			h.Set(notify.TimestampHeader, timestamp)
			h.Set(notify.SignatureHeader, signature)
			return h
		}
		if got := sign(secret, now, body); now != "946684800" || got != valid {
			t.Errorf("the signature at %s is %s", now, got)
		}
		at := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
		for name, c := range map[string]struct {
			secret    string
			header    http.Header
			body      string
			tolerance time.Duration
			ok        bool
		}{
			"valid":              {secret, header(now, valid), string(body), 0, true},
			"one of several":     {secret, header(now, "v1=00, "+valid+",v2=ab"), string(body), 0, true},
			"of five minutes":    {secret, header(at(-5*time.Minute), sign(secret, at(-5*time.Minute), body)), string(body), 0, true},
			"too old":            {secret, header(at(-301*time.Second), sign(secret, at(-301*time.Second), body)), string(body), 0, false},
			"from the future":    {secret, header(at(301*time.Second), sign(secret, at(301*time.Second), body)), string(body), 0, false},
			"another body":       {secret, header(now, valid), `{"version":2}`, 0, false},
			"another time":       {secret, header(at(time.Second), valid), string(body), 0, false},
			"another secret":     {secret + "x", header(now, valid), string(body), 0, false},
			"no secret":          {"", header(now, sign("", now, body)), string(body), 0, false},
			"a short secret":     {"short", header(now, sign("short", now, body)), string(body), 0, false},
			"no headers":         {secret, http.Header{}, string(body), 0, false},
			"no signature":       {secret, header(now, ""), string(body), 0, false},
			"without version":    {secret, header(now, strings.TrimPrefix(valid, "v1=")), string(body), 0, false},
			"no number":          {secret, header("now", sign(secret, "now", body)), string(body), 0, false},
			"an overflow":        {secret, header("9223372036854775807", sign(secret, "9223372036854775807", body)), string(body), 0, false},
			"a negative one":     {secret, header("-9223372036854775808", sign(secret, "-9223372036854775808", body)), string(body), 0, false},
			"cut":                {secret, header(now, valid[:len(valid)-2]), string(body), 0, false},
			"in capital letters": {secret, header(now, "v1="+strings.ToUpper(valid[3:])), string(body), 0, false},
		} {
			err := notify.VerifySignature(c.secret, c.header, []byte(c.body), c.tolerance)
			if (err == nil) != c.ok {
				t.Errorf("%s: %v", name, err)
			}
			if err != nil && (!errors.Is(err, notify.ErrSignature) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), valid)) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestG16_HostileTextIsInertInTheWebhooksJSON(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		w := r.webhook(t)
		for _, text := range hostile {
			c := &circuit{to: w, service: text, endpoint: text}
			c.event(breaker.Closed, breaker.Open, text, func(e *breaker.Event) {
				e.ErrorType, e.OutageID = text, text
				e.Reason = breaker.Reason{Rule: text, Note: text, Observed: math.NaN(), Threshold: math.Inf(1)}
				e.Context, e.OpenedBy = nil, nil
			})
			later(0)
			all := r.requests()
			fields := jsonOf(t, all[len(all)-1].body)
			want := []rune(strings.ToValidUTF8(text, "\uFFFD"))
			if got := []rune(fields["service"].(string)); len(want) <= 2000 && string(got) != string(want) || len(got) > 2000 {
				t.Errorf("%.40q became %.40q", text, string(got))
			}
			if _, found := fields["observed"]; found {
				t.Errorf("NaN became %v", fields["observed"])
			}
			if fields["event_type"] != "circuit_opened" || len(all[len(all)-1].body) > 100<<10 {
				t.Errorf("%.200s", all[len(all)-1].body)
			}
		}
	})
}
