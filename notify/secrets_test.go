package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/otelbreaker/otelbreaker/notify"
)

// silent fails where a text has a canary in it.
func silent(t *testing.T, where, text string) {
	t.Helper()
	for _, canary := range []string{"canary", "hooks.slack.example", "T0/B0", "user:password"} {
		if strings.Contains(text, canary) {
			t.Errorf("%s: %q is in %q", where, canary, text)
		}
	}
}

const token = "xoxb-canary-of-the-token"

func TestG15_TheAddressAndTheTokenLeaveNowhere(t *testing.T) {
	virtual(t, func(t *testing.T) {
		r := newRig()
		r.answer = func(n int, q *http.Request) (*http.Response, error) {
			switch n % 6 {
			case 0:
				return nil, fmt.Errorf("Post %q: %w", q.URL, errNetwork)
			case 1:
				panic(q.URL)
			case 2:
				return status(404, "no such hook: "+q.URL.String(), "Location", q.URL.String()), nil
			case 3:
				return status(302, "", "Location", q.URL.String()), nil
			case 4:
				return status(200, `{"ok":false,"error":"invalid token `+token+`"}`), nil
			}
			return status(500, q.URL.String(), "Retry-After", q.URL.String()), nil
		}
		bot, err := notify.NewSlackBot(token, "C1", r.options(notify.WithRetryFor(0))...)
		if err != nil {
			t.Fatal(err)
		}
		s, w := r.slack(t, notify.WithRetryFor(0)), r.webhook(t, notify.WithRetryFor(0), notify.WithSecret(secret))
		for _, n := range []notifier{s, w, bot} {
			for i := range 12 {
				(&circuit{to: n, service: fmt.Sprint("s", i)}).opens()
				later(2 * time.Minute)
			}
			(&circuit{to: n, service: "last"}).opens() // which Close has to give up
			later(0)
			hang := r.answer
			r.answer = func(_ int, q *http.Request) (*http.Response, error) {
				<-q.Context().Done()
				return nil, fmt.Errorf("Post %q: %w", q.URL, q.Context().Err())
			}
			(&circuit{to: n, service: "hangs"}).opens()
			later(2 * time.Second)
			err := n.Close(t.Context())
			if err == nil {
				t.Errorf("%v: closed without an error", n)
			}
			silent(t, "Close", fmt.Sprintf("%v %+v %#v %q", err, err, err, errors.Unwrap(err)))
			later(0) // nothing runs any more that a look inside would race with
			r.answer = hang
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				silent(t, verb, fmt.Sprintf(verb, n))
				silent(t, verb+" of the value", fmt.Sprintf(verb, reflect.ValueOf(n).Elem().Interface()))
			}
			if text, err := json.Marshal(n); err != nil || string(text) != "{}" {
				t.Errorf("as JSON it is %s, %v", text, err)
			}
			for _, walked := range walk(reflect.ValueOf(n), map[uintptr]bool{}) {
				silent(t, "what a debugging printer finds", walked)
			}
		}
		if len(r.lines.get()) < 10 {
			t.Errorf("but %d lines", len(r.lines.get()))
		}
		silent(t, "the log", strings.Join(r.lines.get(), ""))
		var data metricdata.ResourceMetrics
		if err := r.reader.Collect(context.Background(), &data); err != nil {
			t.Fatal(err)
		}
		silent(t, "the metrics", fmt.Sprintf("%+v", data))
	})
}

// walk gives every string that is reached from a value by reflection, as printers do that go deeper than fmt.
func walk(v reflect.Value, seen map[uintptr]bool) (all []string) {
	if !v.IsValid() {
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		return []string{v.String()}
	case reflect.Pointer:
		if v.IsNil() || seen[v.Pointer()] || strings.Contains(v.Type().String(), "_test.") {
			return nil
		}
		seen[v.Pointer()] = true
		return walk(v.Elem(), seen)
	case reflect.Interface:
		return walk(v.Elem(), seen)
	case reflect.Struct:
		for i := range v.NumField() {
			all = append(all, walk(v.Field(i), seen)...)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice {
			return []string{string(v.Bytes())}
		}
		for i := range v.Len() {
			all = append(all, walk(v.Index(i), seen)...)
		}
	case reflect.Map:
		for i := v.MapRange(); i.Next(); {
			all = append(append(all, walk(i.Key(), seen)...), walk(i.Value(), seen)...)
		}
	default:
	}
	return all
}

func TestG15_ABadAddressIsRefusedWithoutIt(t *testing.T) {
	for _, bad := range []string{
		"", "canary", "ftp://canary.example/x", "http://canary.example/services/T0", "https://", "https:///canary", "://canary",
		"https://canary.example/%zz", "https://canary.example/\n", " https://canary.example/", "https://canary.example:port/", "https://user:password@[::1/canary",
	} {
		_, err1 := notify.NewSlack(bad)
		_, err2 := notify.NewWebhook(bad)
		_, err3 := notify.NewSlackBot(token, "C1", notify.WithAPI(bad))
		for _, err := range []error{err1, err2, err3} {
			if err == nil || !strings.Contains(err.Error(), "address") || !strings.Contains(err.Error(), "allowed is https://") {
				t.Errorf("%q: %v", bad, err)
			} else {
				silent(t, "the error", err.Error())
			}
		}
	}
	for _, bad := range []string{"", "canary of a token", "canary\n"} {
		if _, err := notify.NewSlackBot(bad, "C1"); err == nil || !strings.Contains(err.Error(), "token") {
			t.Errorf("%q: %v", bad, err)
		} else {
			silent(t, "the error", err.Error())
		}
	}
}
