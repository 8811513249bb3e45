package control

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// FuzzG17_OnlyWholeOrdersPass has any body parsed. What passes must be what a plain reading of it says, and an order
// that is complete.
func FuzzG17_OnlyWholeOrdersPass(f *testing.F) {
	for _, seed := range []string{
		`{"action":"force_open","service":"s","endpoint":"e","reason":"r","for":"15m"}`,
		`{"action":"disable","service":"s","endpoint":"e","reason":"r","for":"1e9h"}`,
		`{"action":"reset","service":"s","endpoint":"e","reason":"\u0000\ud800"}`,
		`{"action":"reconfigure","service":"s","endpoint":"e","reason":"r","configuration":{"failure_rate":0.5,"window_duration":"10s"}}`,
		`{"action":"reconfigure","service":"s","endpoint":"e","reason":"r","configuration":{"failure_rate":1e999}}`,
		`{"action":"reset","action":"force_open","service":"s","endpoint":"e","reason":"r"}`,
		`{"Action":"reset"}`, `{"reason":7}`, `[]`, `{}`, `{"a":`, "\xff", strings.Repeat("[", 20_000), strings.Repeat(`{"configuration":`, 3_000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := parseOrder(body)
		if err != nil {
			if !utf8.ValidString(err.Error()) && utf8.Valid(body) {
				t.Errorf("the error is no UTF-8: %q", err)
			}
			return
		}
		var plain struct {
			Action, Service, Endpoint, Reason, For string
			Configuration                          json.RawMessage
		}
		if err := json.Unmarshal(body, &plain); err != nil {
			t.Fatalf("%s passed, and yet: %v", body, err)
		}
		duration, _ := time.ParseDuration(plain.For)
		if o.action != plain.Action || o.service != plain.Service || o.endpoint != plain.Endpoint || o.reason != plain.Reason ||
			o.duration != duration {
			t.Errorf("%s was read as %+v", body, o)
		}
		if !slices.Contains(actions, o.action) || o.service == "" || o.endpoint == "" || strings.TrimSpace(o.reason) == "" {
			t.Errorf("%s passed, and is not whole: %+v", body, o)
		}
		if (o.action == reconfigure) != (o.configuration != nil) || o.duration > 0 && o.action != forceOpen && o.action != disable {
			t.Errorf("%s passed, and contradicts itself: %+v", body, o)
		}
		if o.configuration != nil {
			var c breaker.Config // must not panic, whatever it says
			if json.Unmarshal(o.configuration, &c) == nil {
				_, _ = breaker.New(c)
			}
		}
	})
}
