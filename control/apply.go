package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// done is what was done, for the operator to see.
type done struct {
	Action        string         `json:"action"`
	Service       string         `json:"service"`
	Endpoint      string         `json:"endpoint"`
	Operator      string         `json:"operator"`
	Breakers      int            `json:"breakers"` // that have these names; below is the first of them
	State         string         `json:"state"`
	Override      string         `json:"override"`
	OverrideNote  string         `json:"override_note,omitempty"`
	Until         *time.Time     `json:"until,omitempty"`
	Configuration breaker.Config `json:"configuration"`
}

// temporary is an override that ends by itself.
type temporary struct {
	timer    *time.Timer
	by       string
	override breaker.Override
	note     string
	before   standing
}

// standing is what an override was, and may be again.
type standing struct {
	override breaker.Override
	note     string
}

func (s standing) restore(b *breaker.Breaker) {
	switch s.override {
	case breaker.ForcedOpen:
		b.ForceOpen(s.note)
	case breaker.Disabled:
		b.Disable(s.note)
	default:
		b.Reset()
	}
}

// find gives the breakers of these names, none of which it makes. A name that a group would clean (of credentials, say)
// finds what it stands for.
func (h *handler) find(service, endpoint string) []*breaker.Breaker {
	var all []*breaker.Breaker
	found := make(map[*breaker.Breaker]bool) // it can be in several groups
	take := func(b *breaker.Breaker, endpoint string) {
		if b == nil || found[b] {
			return
		}
		if s := b.Snapshot(); s.Service == service && s.Endpoint == endpoint {
			found[b] = true
			all = append(all, b)
		}
	}
	for _, g := range h.groups {
		for b := range g.All() {
			take(b, endpoint)
		}
	}
	if len(all) > 0 {
		return all
	}
	for _, g := range h.groups {
		if looker, ok := g.(interface {
			Lookup(endpoint string) (*breaker.Breaker, bool)
		}); ok {
			if b, known := looker.Lookup(endpoint); known {
				take(b, b.Snapshot().Endpoint)
			}
		}
	}
	return all
}

// apply does it, under the lock.
func (h *handler) apply(all []*breaker.Breaker, u *use) (*done, *refusal) {
	o := u.order
	u.before = all[0].Snapshot().Config
	note := fmt.Sprintf("%s (by %s)", o.reason, u.operator)
	var until *time.Time
	if o.duration > 0 {
		end := u.at.Add(o.duration).UTC().Truncate(time.Second)
		until = &end
		note = fmt.Sprintf("%s (by %s, until %s)", o.reason, u.operator, end.Format(time.RFC3339))
	}
	for i, b := range all {
		switch o.action {
		case forceOpen:
			h.override(b, breaker.ForcedOpen, note, u)
		case disable:
			h.override(b, breaker.Disabled, note, u)
		case reset:
			h.override(b, breaker.Automatic, "", u)
		case reconfigure:
			if err := b.Adjust(func(c *breaker.Config) error { return json.Unmarshal(o.configuration, c) }); err != nil {
				if i > 0 {
					err = fmt.Errorf("%d of the %d breakers of that name have changed, the next one not: %w", i, len(all), err)
				}
				return nil, refuse(http.StatusUnprocessableEntity, "%s", tidy(err))
			}
		}
	}
	s := all[0].Snapshot()
	return &done{
		Action: o.action, Service: s.Service, Endpoint: s.Endpoint, Operator: u.operator, Breakers: len(all),
		State: s.State.String(), Override: s.Override.String(), OverrideNote: s.OverrideNote, Until: until,
		Configuration: s.Config,
	}, nil
}

// tidy leaves of a breaker's error what can be said, which is all but what JSON itself has to say of the text.
func tidy(err error) string {
	var wrong *breaker.ConfigError
	if errors.As(err, &wrong) {
		return err.Error()
	}
	return "configuration: allowed is an object with fields of the breaker's configuration"
}

// override puts one in force, for a time if the order says so.
func (h *handler) override(b *breaker.Breaker, to breaker.Override, note string, u *use) {
	s := b.Snapshot()
	before := standing{s.Override, s.OverrideNote}
	if t := h.temporary[b]; t != nil {
		t.timer.Stop()
		delete(h.temporary, b)
		if t.holds(s) {
			before = t.before
		}
	}
	standing{to, note}.restore(b)
	if u.order.duration == 0 {
		return
	}
	t := &temporary{by: u.operator, override: to, note: note, before: before}
	t.timer = time.AfterFunc(u.order.duration, func() { h.expire(b, t) })
	h.temporary[b] = t
}

// holds tells that it is still in force, and not one that somebody else has put on since.
func (t *temporary) holds(s breaker.Snapshot) bool {
	return s.Override == t.override && s.OverrideNote == t.note
}

func (h *handler) expire(b *breaker.Breaker, t *temporary) {
	if u, ended := h.end(b, t); ended {
		h.audit.record(context.Background(), u)
	}
}

func (h *handler) end(b *breaker.Breaker, t *temporary) (use, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.temporary[b] != t {
		return use{}, false // replaced while the timer fired
	}
	delete(h.temporary, b)
	s := b.Snapshot()
	if !t.holds(s) {
		return use{}, false
	}
	t.before.restore(b)
	return use{at: time.Now(), operator: t.by, before: s.Config, order: order{
		action: actionFor[t.before.override], service: s.Service, endpoint: s.Endpoint, reason: "has run out: " + t.note,
	}}, true
}

var actionFor = map[breaker.Override]string{
	breaker.Automatic: reset, breaker.ForcedOpen: forceOpen, breaker.Disabled: disable,
}
