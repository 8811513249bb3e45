package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The actions.
const (
	forceOpen   = "force_open"
	disable     = "disable"
	reset       = "reset"
	reconfigure = "reconfigure"
)

var actions = []string{forceOpen, disable, reset, reconfigure}

const (
	maxReason   = 500
	maxName     = 4096
	minDuration = time.Second
	maxDuration = 720 * time.Hour
)

// order is what an operator wants.
type order struct {
	action, service, endpoint, reason string
	duration                          time.Duration   // 0: until further notice
	configuration                     json.RawMessage // what to change; compact
}

// readOrder also gives what it has understood where it refuses, for the audit.
func readOrder(w http.ResponseWriter, r *http.Request) (order, *refusal) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return order{}, refuse(http.StatusUnsupportedMediaType, "Content-Type: allowed is application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return order{}, refuse(http.StatusRequestEntityTooLarge, "the body is too long: allowed are %d bytes", maxBody)
	case err != nil:
		return order{}, refuse(http.StatusBadRequest, "the body could not be read")
	}
	o, err := parseOrder(body)
	if err != nil {
		return o, refuse(http.StatusBadRequest, "%v", err)
	}
	return o, nil
}

// parseOrder tells all that is wrong at once.
func parseOrder(body []byte) (o order, err error) {
	fields, err := object(body)
	if err != nil {
		return o, err
	}
	var errs []error
	text := func(field string, most int, required bool) string {
		raw, given := fields[field]
		delete(fields, field)
		value, isText := textOf(raw)
		switch {
		case !given && !required:
		case !given || isText && strings.TrimSpace(value) == "":
			errs = append(errs, fmt.Errorf("%s is missing: allowed is a text of 1 to %d characters", field, most))
		case !isText || utf8.RuneCountInString(value) > most:
			errs = append(errs, fmt.Errorf("%s: allowed is a text of 1 to %d characters", field, most))
		default:
			return value
		}
		return ""
	}
	action := text("action", maxName, true)
	if slices.Contains(actions, action) {
		o.action = action
	} else if action != "" {
		errs = append(errs, fmt.Errorf("action is %q: allowed is %s", shortened(action), strings.Join(actions, ", ")))
	}
	o.service, o.endpoint, o.reason = text("service", maxName, true), text("endpoint", maxName, true), text("reason", maxReason, true)

	if duration := text("for", maxName, false); duration != "" {
		o.duration, err = time.ParseDuration(duration)
		switch {
		case err != nil || o.duration < minDuration || o.duration > maxDuration:
			o.duration = 0
			errs = append(errs, fmt.Errorf(`for is %q: allowed is %v to %v, as in "15m" or "1h30m"`, shortened(duration), minDuration, maxDuration))
		case o.action != forceOpen && o.action != disable:
			errs = append(errs, fmt.Errorf("for: allowed only with %s and %s", forceOpen, disable))
		}
	}
	configuration, given := fields["configuration"]
	delete(fields, "configuration")
	switch changes, err := object(configuration); {
	case given != (o.action == reconfigure):
		errs = append(errs, fmt.Errorf("configuration: allowed, and needed, only with %s", reconfigure))
	case given && err != nil:
		errs = append(errs, fmt.Errorf("configuration: %w", err))
	case given && len(changes) == 0:
		errs = append(errs, errors.New("configuration: allowed is one field of it, or more"))
	case given:
		var compact bytes.Buffer
		_ = json.Compact(&compact, configuration) // it has been read before
		o.configuration = compact.Bytes()
	}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		errs = append(errs, fmt.Errorf("unknown field %q", shortened(field)))
	}
	return o, errors.Join(errs...)
}

// object reads a JSON object and nothing behind it. Other than encoding/json it takes no field twice: who reads the audit
// and who obeyed must not have seen different values.
func object(text []byte) (map[string]json.RawMessage, error) {
	errNone := errors.New("allowed is one JSON object")
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errNone
	}
	fields := make(map[string]json.RawMessage)
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, errNone
		}
		field := key.(string) // or the decoder would have failed
		if _, twice := fields[field]; twice {
			return nil, fmt.Errorf("%q is there twice", shortened(field))
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errNone
		}
		fields[field] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, errNone
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errNone
	}
	return fields, nil
}

// textOf reads a JSON text.
func textOf(raw json.RawMessage) (text string, isText bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return text, json.Unmarshal(raw, &text) == nil
}

// shortened keeps a text from filling what tells of it.
func shortened(text string) string { return cut(text, 200) }

func cut(text string, most int) string {
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
