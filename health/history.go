package health

import (
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
)

const (
	keptTransitions = 10

	// leastHistories is below what number of breakers nobody asks whether they still exist.
	leastHistories = 2 * breaker.DefaultMaxEndpoints
)

// name is what tells breakers of one source apart.
type name struct{ service, endpoint string }

// transition is one change of state as the page shows it. The fields are named as in the log record of the same change.
type transition struct {
	Time             time.Time `json:"time"`
	OldState         string    `json:"old_state"`
	NewState         string    `json:"new_state"`
	Reason           string    `json:"reason"`
	Observed         float64   `json:"observed,omitempty"`  // left out where an operator moved it
	Threshold        float64   `json:"threshold,omitempty"` // likewise
	Note             string    `json:"note,omitempty"`
	ErrorType        string    `json:"error.type,omitempty"`
	OutageID         string    `json:"outage_id,omitempty"`
	TraceID          string    `json:"trace_id,omitempty"`
	SpanID           string    `json:"span_id,omitempty"`
	RecoveryDuration *float64  `json:"recovery_duration_seconds,omitempty"` // on closing
	BlockedCount     *uint64   `json:"blocked_count,omitempty"`             // on closing
}

// history remembers the last transitions of each breaker of a source, of those that still exist.
type history struct {
	source *guarded

	mu   sync.Mutex
	last map[name]*remembered
	most int // at this many, those that are gone make room
}

type remembered struct {
	transitions []transition // oldest first
	touched     time.Time
}

func newHistory(s *guarded) *history {
	return &history{source: s, last: make(map[name]*remembered), most: leastHistories}
}

// OnTransition remembers e. It takes the ids out of the context and lets go of it, for a context may hold a whole
// request.
func (h *history) OnTransition(e breaker.Event) {
	t := transition{
		Time: stamp(e.At), OldState: e.From.String(), NewState: e.To.String(),
		Reason: e.Reason.Rule, Observed: e.Reason.Observed, Threshold: e.Reason.Threshold, Note: e.Reason.Note,
		ErrorType: e.ErrorType, OutageID: e.OutageID,
	}
	if c := trace.SpanContextFromContext(e.Context); c.IsValid() {
		t.TraceID, t.SpanID = c.TraceID().String(), c.SpanID().String()
	}
	if e.To == breaker.Closed {
		recovery, blocked := e.RecoveryDuration.Seconds(), e.BlockedCount
		t.RecoveryDuration, t.BlockedCount = &recovery, &blocked
	}
	if full := h.add(name{e.Service, e.Endpoint}, t); full {
		h.forgetGone()
	}
}

func (h *history) add(of name, t transition) (full bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.last[of]
	if r == nil {
		r = &remembered{}
		h.last[of] = r
	}
	if len(r.transitions) == keptTransitions {
		copy(r.transitions, r.transitions[1:])
		r.transitions = r.transitions[:keptTransitions-1]
	}
	r.transitions = append(r.transitions, t)
	r.touched = time.Now()
	return len(h.last) > h.most
}

// forgetGone drops the breakers that the source no longer has. One that came while it was listed stays.
func (h *history) forgetGone() {
	before := time.Now()
	live := make(map[name]bool)
	for _, b := range h.source.breakers() {
		s := b.Snapshot()
		live[name{s.Service, s.Endpoint}] = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for of, r := range h.last {
		if !live[of] && r.touched.Before(before) {
			delete(h.last, of)
		}
	}
	h.most = max(leastHistories, 2*len(h.last)) // so that the listing costs each newcomer little
}

// of gives a breaker's last transitions, oldest first; never nil.
func (h *history) of(service, endpoint string) []transition {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.last[name{service, endpoint}]
	if r == nil {
		return []transition{}
	}
	return append([]transition{}, r.transitions...)
}
