package breaker_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

const everyField = `{"service":"payments","endpoint":"https://pay.example","failure_threshold":3,"failure_rate":0.5,` +
	`"slow_call_rate":0.25,"slow_call_duration":"1.5s","window_calls":10,"window_duration":"10s","min_calls":5,` +
	`"recovery_timeout":"30s","backoff_factor":2,"max_recovery_timeout":"5m0s","jitter":0.1,"success_threshold":2,` +
	`"max_probes":4,"probe_timeout":"1m0s"}`

func TestConfigPrintsBackAsItWasGiven(t *testing.T) {
	for _, text := range []string{everyField, `{}`, `{"failure_rate":0.1,"window_duration":"1h0m0s"}`} {
		var c breaker.Config
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if back, err := json.Marshal(c); err != nil || string(back) != text {
			t.Errorf("gave %s\n got %s, %v", text, back, err)
		}
	}
}

// A field that is added to Config and forgotten in its serialized form would get lost in silence.
func TestConfigSerializesEveryField(t *testing.T) {
	var c breaker.Config
	if err := json.Unmarshal([]byte(everyField), &c); err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() != (name == "Classify") {
			t.Errorf("field %s: got %v", name, v.Field(i))
		}
	}
}

func TestConfigReadsMaps(t *testing.T) {
	c, err := breaker.ConfigFrom(map[string]any{"failure_rate": 0.5, "window_duration": "10s", "max_probes": 2})
	if want := (breaker.Config{FailureRate: 0.5, WindowDuration: 10 * time.Second, MaxProbes: 2}); err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, err := breaker.ConfigFrom(map[string]any{"jitter": func() {}}); err == nil {
		t.Error("a function is taken for a number")
	}
}

func TestG18_BadSerializedConfigIsRefusedByName(t *testing.T) {
	for text, want := range map[string]string{
		`{"recovery_timeout":30}`:         `recovery_timeout is 30: allowed is a duration with its unit`,
		`{"recovery_timeout":"30"}`:       `recovery_timeout is "30": allowed is a duration`,
		`{"failure_threshold":"5"}`:       `failure_threshold is "5": allowed is a whole number`,
		`{"failure_threshold":5.5}`:       `failure_threshold is 5.5: allowed is a whole number`,
		`{"failure_rate":null}`:           `failure_rate is null: allowed is a number`,
		`{"service":7}`:                   `service is (withheld): allowed is a text`,
		`{"min_cals":5}`:                  `breaker: unknown field "min_cals"; known are service, endpoint, failure_threshold, failure_rate, slow_`,
		`{"a\u001b[2Jb":null}`:            `unknown field "a\x1b[2Jb"; known are `,
		`{` + textOf(100) + `:1}`:         `unknown field ` + textOf(66)[:65] + `…"; known are `,
		`[1]`:                             `must be an object`,
		`{"jitter":` + textOf(1000) + `}`: `…: allowed is a number`,
		`{"jitter":` + textOf(64) + `}`:   textOf(64) + `: allowed is a number`,
		`{"jitter":` + textOf(65) + `}`:   textOf(64)[:63] + `x…: allowed is a number`,
	} {
		c := breaker.Config{FailureThreshold: 9}
		err := c.UnmarshalJSON([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", text, want, err)
		}
		if c.FailureThreshold != 9 {
			t.Errorf("%s: the Config was changed all the same", text)
		}
	}
	var c breaker.Config
	err := c.UnmarshalJSON([]byte(`{"jitter":"x","bogus":1}`))
	if !strings.Contains(err.Error(), "jitter") || !strings.Contains(err.Error(), "bogus") {
		t.Errorf("of two faults this is reported: %v", err)
	}
}

func TestAConfigWithANumberThatNoFileHoldsIsNotPrinted(t *testing.T) {
	if text, err := json.Marshal(breaker.Config{Jitter: math.NaN()}); err == nil || !strings.Contains(err.Error(), "jitter") {
		t.Errorf("got %s, %v", text, err)
	}
}

// textOf gives a text that takes so many bytes, quotes included.
func textOf(bytes int) string { return `"` + strings.Repeat("x", bytes-2) + `"` }
