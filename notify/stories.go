package notify

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// maxStories bounds the breakers that are remembered: twice those that can wait to be told of.
const maxStories = 2 * maxQueue

// stories is the outbox for people: of each breaker it keeps what is to be told, rather than a queue of messages, so
// what waits is gathered and what is told is true when it is sent.
type stories struct {
	interval     time.Duration
	flapOpenings int
	flapWithin   time.Duration
	most         int // that wait

	// post makes one attempt to tell a report, by changing an earlier message where there is one, and gives where the
	// message is then.
	post func(context.Context, report, place) (place, error)

	all     map[breakerName]*story
	waiting int
	order   uint64
}

type breakerName struct{ service, endpoint string }

// place is where a bot's message is; the zero place is nowhere.
type place struct{ channel, timestamp string }

// story is what one breaker has been doing. A chapter of it is what one message is about: an outage, or several that
// are told together.
type story struct {
	report
	chapter uint64
	place   place     // of the chapter's message
	recent  []outage  // the newest ones, as many as make flapping
	told    time.Time // when the newest message was begun

	due      time.Time // of what waits to be told; zero: nothing does
	order    uint64
	followUp bool // nothing but reopenings waits
}

type outage struct {
	at         time.Time
	reopenings int
	blocked    uint64
}

// report is what a message tells.
type report struct {
	breakerName
	state      breaker.State
	when       time.Time // of the newest event
	since      time.Time // the chapter's first opening
	begun      bool      // the chapter's first message was sent, or at least tried
	flapping   bool      // at the newest opening
	openings   int       // in the chapter
	reopenings int       // likewise
	blocked    uint64    // in those of its outages that are over
	recovery   time.Duration

	reason              breaker.Reason
	errorType           string
	failures, successes uint64
	outageID, traceID   string
}

func (*stories) wants(e *breaker.Event) bool { return e.To != breaker.HalfOpen }

func (b *stories) len() int { return b.waiting }

func (b *stories) take(e *breaker.Event, now time.Time) (dropped int) {
	name := breakerName{e.Service, e.Endpoint}
	s := b.all[name]
	switch {
	case s != nil:
	case !b.wants(e):
		return 0
	default:
		b.makeRoom(now)
		s = &story{report: report{breakerName: name}}
		b.all[name] = s
	}
	opens := e.To == breaker.Open && e.From == breaker.Closed
	if s.openings == 0 && !opens { // it opened before anybody listened, or that is forgotten
		s.begin(e.At.Add(-e.RecoveryDuration))
		s.begun = true
	}
	switch {
	case opens:
		b.opened(s, e.At, now)
	case e.To == breaker.Open:
		s.reopenings++
		s.latest().reopenings++
		b.tell(s, b.turn(s, now), true)
	case e.To == breaker.Closed:
		s.blocked += e.BlockedCount
		s.latest().blocked = e.BlockedCount
		s.recovery = e.RecoveryDuration
		due := now
		if s.flapping {
			due = b.turn(s, now)
		}
		b.tell(s, due, false)
	}
	s.note(e)
	return b.keepBound()
}

// opened begins a chapter or goes on with the one before.
func (b *stories) opened(s *story, at, now time.Time) {
	s.recent = append(s.recent, outage{at: at})
	if over := len(s.recent) - b.flapOpenings; over > 0 {
		s.recent = append(s.recent[:0], s.recent[over:]...)
	}
	before := s.flapping
	s.flapping = len(s.recent) == b.flapOpenings && at.Sub(s.recent[0].at) <= b.flapWithin
	due := now
	switch {
	case s.flapping && before:
		s.openings++
		due = b.turn(s, now)
	case s.flapping && s.openings+1 < len(s.recent): // the outages that make it so are told once more, together
		s.openings, s.since, s.reopenings, s.blocked = len(s.recent), s.recent[0].at, 0, 0
		for _, o := range s.recent {
			s.reopenings += o.reopenings
			s.blocked += o.blocked
		}
	case s.flapping, !s.due.IsZero(): // or what was before is not told yet
		s.openings++
	default:
		s.begin(at)
	}
	b.tell(s, due, false)
}

func (s *story) begin(since time.Time) {
	s.chapter++
	s.place = place{}
	s.report = report{breakerName: s.breakerName, since: since, openings: 1}
}

// latest is the outage that is going on.
func (s *story) latest() *outage {
	if len(s.recent) == 0 {
		s.recent = append(s.recent, outage{at: s.since})
	}
	return &s.recent[len(s.recent)-1]
}

// note keeps of an event what a message tells, and not its contexts, which hold whatever the calls had.
func (s *story) note(e *breaker.Event) {
	s.state, s.when = e.To, e.At
	if e.To == breaker.HalfOpen {
		return // what is told is why it opened or closed
	}
	s.reason = e.Reason
	s.failures, s.successes = e.FailureCount, e.SuccessCount
	if e.ErrorType != "" {
		s.errorType = e.ErrorType
	}
	if e.OutageID != "" {
		s.outageID = e.OutageID
	}
	for _, ctx := range []context.Context{e.OpenedBy, e.Context} { // one trace id is to find the whole outage
		if ctx == nil {
			continue
		}
		if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
			s.traceID = sc.TraceID().String()
			return
		}
	}
}

// turn is when the breaker may be told of again.
func (b *stories) turn(s *story, now time.Time) time.Time {
	if next := s.told.Add(b.interval); !s.told.IsZero() && next.After(now) {
		return next
	}
	return now
}

// tell has the story told, at the latest then.
func (b *stories) tell(s *story, due time.Time, followUp bool) {
	if s.due.IsZero() {
		b.waiting++
		b.order++
		s.due, s.order, s.followUp = due, b.order, followUp
		return
	}
	if due.Before(s.due) {
		s.due = due
	}
	s.followUp = s.followUp && followUp
}

// keepBound drops what is too much: the oldest that is but a follow-up, or the oldest.
func (b *stories) keepBound() (dropped int) {
	if b.waiting <= b.most {
		return 0
	}
	var victim *story
	for _, s := range b.all {
		if !s.due.IsZero() && (victim == nil || s.followUp && !victim.followUp ||
			s.followUp == victim.followUp && s.order < victim.order) {
			victim = s
		}
	}
	victim.due = time.Time{}
	b.waiting--
	return 1
}

// makeRoom forgets breakers where there are too many: those that are closed and no longer near flapping, or else one
// that has been quiet for the longest time. None of which something is still to be told.
func (b *stories) makeRoom(now time.Time) {
	if len(b.all) < maxStories {
		return
	}
	var quiet *story
	for name, s := range b.all {
		switch {
		case !s.due.IsZero():
		case s.state == breaker.Closed && now.Sub(s.when) > b.flapWithin:
			delete(b.all, name)
		case quiet == nil || s.when.Before(quiet.when):
			quiet = s
		}
	}
	if len(b.all) >= maxStories {
		delete(b.all, quiet.breakerName)
	}
}

func (b *stories) next(now time.Time) (*letter, time.Time) {
	var first *story
	for _, s := range b.all {
		if !s.due.IsZero() && (first == nil || s.due.Before(first.due) || s.due.Equal(first.due) && s.order < first.order) {
			first = s
		}
	}
	switch {
	case first == nil:
		return nil, time.Time{}
	case first.due.After(now):
		return nil, first.due
	}
	l := b.letter(first)
	first.due, first.told, first.begun = time.Time{}, now, true
	b.waiting--
	return l, now
}

func (b *stories) letter(s *story) *letter {
	told, at, chapter := s.report, s.place, s.chapter
	return &letter{
		about: told.about,
		send: func(ctx context.Context) (err error) {
			at, err = b.post(ctx, told, at)
			return err
		},
		sent: func() {
			if s.chapter == chapter {
				s.place = at
			}
		},
	}
}

func (b *stories) hurry(now time.Time) {
	for _, s := range b.all {
		if s.due.After(now) {
			s.due = now
		}
	}
}

func (b *stories) clear() (left []string) {
	for {
		var first *story
		for _, s := range b.all {
			if !s.due.IsZero() && (first == nil || s.order < first.order) {
				first = s
			}
		}
		if first == nil {
			b.all = map[breakerName]*story{}
			return left
		}
		left = append(left, first.about())
		first.due = time.Time{}
		b.waiting--
	}
}

// about names the message in an error.
func (r report) about() string {
	return fmt.Sprintf("%q (%s): %v", shortened(clean(r.service), maxName), shortened(clean(r.endpoint), maxName), r.kind())
}
