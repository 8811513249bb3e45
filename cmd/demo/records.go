package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/internal/bell"
)

// record is a log record of a transition, as it stands in a line of JSON.
type record struct {
	Time             time.Time `json:"time"`
	Level            string    `json:"level"`
	Message          string    `json:"msg"`
	Component        string    `json:"component"`
	EventType        string    `json:"event_type"`
	Service          string    `json:"service"`
	Endpoint         string    `json:"endpoint"`
	OldState         string    `json:"old_state"`
	NewState         string    `json:"new_state"`
	Reason           string    `json:"reason"`
	Note             string    `json:"note"`
	Observed         float64   `json:"observed"`
	Threshold        float64   `json:"threshold"`
	FailureCount     int       `json:"failure_count"`
	SuccessCount     int       `json:"success_count"`
	OutageID         string    `json:"outage_id"`
	ErrorType        string    `json:"error.type"`
	TraceID          string    `json:"trace_id"`
	SpanID           string    `json:"span_id"`
	RecoveryDuration *float64  `json:"recovery_duration_seconds"`
	BlockedCount     *int      `json:"blocked_count"`

	seq int // 1 for the first
}

// recorder passes log lines on and remembers the circuit breakers' records among them. What the page shows and what
// the verdict is about is thus what anybody can read in the log.
type recorder struct {
	to   io.Writer
	told func(record) // called with each, before any wait for it ends; may be nil

	mu      sync.Mutex
	seen    int
	records []record // the last so many, oldest first
	keep    int      // so many; 0: all
	newest  map[string]record
	changed bell.Bell
}

func newRecorder(to io.Writer, keep int) *recorder {
	return &recorder{to: to, keep: keep, newest: make(map[string]record)}
}

// Write takes one line, as slog's JSON handler writes them.
func (r *recorder) Write(line []byte) (int, error) {
	var rec record
	if json.Unmarshal(line, &rec) == nil && rec.Component == "circuit_breaker" && rec.EventType != "circuit_control" {
		r.remember(rec)
	}
	return r.to.Write(line)
}

func (r *recorder) remember(rec record) {
	r.mu.Lock()
	r.seen++
	rec.seq = r.seen
	if r.keep > 0 && len(r.records) == r.keep {
		copy(r.records, r.records[1:])
		r.records = r.records[:r.keep-1]
	}
	r.records = append(r.records, rec)
	r.newest[rec.Service] = rec
	r.mu.Unlock()
	if r.told != nil {
		r.told(rec)
	}
	r.changed.Ring()
}

// after gives the records behind the one numbered seq, of those that are kept.
func (r *recorder) after(seq int) []record {
	r.mu.Lock()
	defer r.mu.Unlock()
	var some []record
	for _, rec := range r.records {
		if rec.seq > seq {
			some = append(some, rec)
		}
	}
	return some
}

// newestOf gives a service's newest record, if there is one.
func (r *recorder) newestOf(service string) (record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, found := r.newest[service]
	return rec, found
}

// count is how many records there were.
func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

// times counts a service's records of an event type behind seq.
func (r *recorder) times(seq int, service, eventType string) (n int) {
	for _, rec := range r.after(seq) {
		if rec.Service == service && rec.EventType == eventType {
			n++
		}
	}
	return n
}

// why puts the reason of a record into words.
func (r record) why() string {
	var words string
	switch r.Reason {
	case "consecutive_failures":
		words = fmt.Sprintf("%.0f consecutive failures, threshold %.0f", r.Observed, r.Threshold)
	case "failure_rate":
		words = fmt.Sprintf("%.0f %% of calls failed, threshold %.0f %%", 100*r.Observed, 100*r.Threshold)
	case "slow_call_rate":
		words = fmt.Sprintf("%.0f %% of calls were slow, threshold %.0f %%", 100*r.Observed, 100*r.Threshold)
	case "probe_failed":
		words = "the probe failed"
	case "probe_timeout":
		words = "the probe did not end in time"
	case "probes_succeeded":
		words = "the probe succeeded"
		if r.Observed > 1 {
			words = fmt.Sprintf("%.0f probes succeeded", r.Observed)
		}
	case "delay_elapsed":
		words = fmt.Sprintf("open for %.1f s, time for a probe", r.Observed)
	default:
		words = r.Reason
	}
	if r.Note != "" {
		words += ": " + r.Note
	}
	if r.ErrorType != "" {
		words += " (" + r.ErrorType + ")"
	}
	return words
}
