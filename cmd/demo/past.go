package main

import (
	"sync"
	"time"
)

const (
	pastKept = 10 * time.Minute // that a page can see when it is opened
	maxSpans = 400              // of one breaker in that time; a breaker that flaps faster loses the oldest
)

// span begins when a breaker came into a state, and ends where the next begins.
type span struct {
	At    int64  `json:"at"` // milliseconds since 1970
	State string `json:"state"`
}

// past is which states the breakers were in, by service, as their log records tell.
type past struct {
	mu sync.Mutex
	of map[string]*spans
}

type spans struct {
	kept []span // oldest first; the first may begin before the time that is kept
	gone int    // so many before them
}

// begin has the breaker of a service begin in a state.
func (p *past) begin(service, state string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = make(map[string]*spans)
	}
	p.of[service] = &spans{kept: []span{{at.UnixMilli(), state}}}
}

func (p *past) note(r record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.of[r.Service]
	if s == nil || s.kept[len(s.kept)-1].State == r.NewState {
		return // an override that moved no state
	}
	s.kept = append(s.kept, span{r.Time.UnixMilli(), r.NewState})
	old := max(0, len(s.kept)-maxSpans)
	for oldest := r.Time.Add(-pastKept).UnixMilli(); old+1 < len(s.kept) && s.kept[old+1].At <= oldest; {
		old++
	}
	if old > 0 {
		s.kept = append([]span(nil), s.kept[old:]...)
		s.gone += old
	}
}

// after gives the spans of a service behind the first so many, and how many there have been in all.
func (p *past) after(service string, seen int) ([]span, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.of[service]
	if s == nil {
		return nil, seen
	}
	from := min(max(0, seen-s.gone), len(s.kept))
	return append([]span(nil), s.kept[from:]...), s.gone + len(s.kept)
}
