package breaker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// fields lists what a Config has in its serialized form, in order. Classify is a function and has none.
var fields = []struct {
	key string
	of  func(*Config) any
}{
	{"service", func(c *Config) any { return &c.Service }},
	{"endpoint", func(c *Config) any { return &c.Endpoint }},
	{"failure_threshold", func(c *Config) any { return &c.FailureThreshold }},
	{"failure_rate", func(c *Config) any { return &c.FailureRate }},
	{"slow_call_rate", func(c *Config) any { return &c.SlowCallRate }},
	{"slow_call_duration", func(c *Config) any { return &c.SlowCallDuration }},
	{"window_calls", func(c *Config) any { return &c.WindowCalls }},
	{"window_duration", func(c *Config) any { return &c.WindowDuration }},
	{"min_calls", func(c *Config) any { return &c.MinCalls }},
	{"recovery_timeout", func(c *Config) any { return &c.RecoveryTimeout }},
	{"backoff_factor", func(c *Config) any { return &c.BackoffFactor }},
	{"max_recovery_timeout", func(c *Config) any { return &c.MaxRecoveryTimeout }},
	{"jitter", func(c *Config) any { return &c.Jitter }},
	{"success_threshold", func(c *Config) any { return &c.SuccessThreshold }},
	{"max_probes", func(c *Config) any { return &c.MaxProbes }},
	{"probe_timeout", func(c *Config) any { return &c.ProbeTimeout }},
}

// MarshalJSON writes the fields that are set, in the order of Config, by their names in lower case with underscores
// ("failure_threshold"), durations as text ("30s").
func (c Config) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for _, f := range fields {
		var value any
		switch p := f.of(&c).(type) {
		case *string:
			value = nonZero(*p)
		case *int:
			value = nonZero(*p)
		case *float64:
			value = nonZero(*p)
		case *time.Duration:
			if *p != 0 {
				value = p.String()
			}
		}
		if value == nil {
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("breaker: %s: %w", f.key, err)
		}
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, "%q:%s", f.key, text)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

func nonZero[T comparable](value T) any {
	var zero T
	if value == zero {
		return nil
	}
	return value
}

// UnmarshalJSON reads what MarshalJSON writes. Fields that are left out keep the value they have. Everything that is
// wrong (an unknown field, a value of the wrong kind) is reported at once, each as a [*ConfigError] that names it.
// Whether the values make sense is for [New] to say.
func (c *Config) UnmarshalJSON(text []byte) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil {
		return fmt.Errorf("breaker: a Config must be an object: %w", err)
	}
	read := *c
	var errs []error
	for _, f := range fields {
		value, found := given[f.key]
		if !found {
			continue
		}
		delete(given, f.key)
		if err := readField(f.of(&read), value); err != "" {
			bad := &ConfigError{Field: f.key, Value: short(value), Allowed: err}
			if _, text := f.of(&read).(*string); text {
				bad.Value = "(withheld)" // a name may hold a credential
			}
			errs = append(errs, bad)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(given)) { // what is left is unknown
		errs = append(errs, &ConfigError{Field: short([]byte(key)), Allowed: knownFields()})
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	*c = read
	return nil
}

// knownFields lists them for who has misspelt one.
func knownFields() string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return strings.Join(keys, ", ")
}

// readField puts a value into a field, or says what is allowed there.
func readField(field any, value []byte) string {
	if d, ok := field.(*time.Duration); ok {
		var text string
		if json.Unmarshal(value, &text) == nil {
			if read, err := time.ParseDuration(text); err == nil {
				*d = read
				return ""
			}
		}
		return `a duration with its unit, such as "30s" or "1m30s"`
	}
	if bytes.Equal(bytes.TrimSpace(value), []byte("null")) || json.Unmarshal(value, field) != nil {
		switch field.(type) {
		case *string:
			return "a text"
		case *int:
			return "a whole number"
		default:
			return "a number"
		}
	}
	return ""
}

// short keeps a wrong value from filling the error.
func short(value []byte) string {
	const most = 64
	if len(value) > most {
		return string(value[:most]) + "…"
	}
	return string(value)
}

// ConfigFrom reads a Config from a map, as a YAML or TOML reader makes of a section of a file. Keys and errors are
// those of [Config.UnmarshalJSON].
func ConfigFrom(section map[string]any) (Config, error) {
	text, err := json.Marshal(section)
	if err != nil {
		return Config{}, fmt.Errorf("breaker: the configuration holds what no file can: %w", err)
	}
	var c Config
	err = c.UnmarshalJSON(text)
	return c, err
}
