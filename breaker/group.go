package breaker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// DefaultMaxEndpoints bounds a [Group]. With it, the series of one instrument stay below the 2,000 at which the
	// OpenTelemetry SDK begins to lump them together; who raises it raises that limit too.
	DefaultMaxEndpoints = 256

	// OverflowEndpoint is the endpoint of the breaker that serves all for whom a full Group has no place.
	OverflowEndpoint = "other"
)

// GroupOption is a setting of [NewGroup].
type GroupOption interface{ apply(*Group) error }

type groupOption func(*Group) error

func (o groupOption) apply(g *Group) error { return o(g) }

// WithMaxEndpoints bounds the number of breakers; 1 or more. Default 256.
func WithMaxEndpoints(n int) GroupOption {
	return groupOption(func(g *Group) error {
		if n < 1 {
			return fmt.Errorf("breaker: WithMaxEndpoints is %d: allowed is 1 or more", n)
		}
		g.most = n
		return nil
	})
}

// WithListeners has every breaker of the group tell these listeners, from its first transition on.
func WithListeners(listeners ...Listener) GroupOption {
	return groupOption(func(g *Group) error {
		subscribed, err := subscriptions(listeners)
		g.subscribed = append(g.subscribed, subscribed...)
		return err
	})
}

// WithDisabled has every breaker of the group begin disabled, as by [Breaker.Disable] with that reason: it lets all
// through and tells what it would have done, so that thresholds can be tried on all of a program's calls. Reset makes
// one live. Being disabled, they make room in a full group as closed ones do; one that was reset keeps its place, for
// it would come back disabled.
func WithDisabled(reason string) GroupOption {
	return groupOption(func(g *Group) error {
		g.disabled, g.normal = &reason, shadow
		return nil
	})
}

// Group makes a breaker for each endpoint on first use, all with one configuration. It is bounded: in a full one the
// breaker that was asked for the longest time ago makes room, if it is idle: closed, with no call in flight that
// [Group.Acquire] made, and not in the midst of a run of failures (unless nobody has asked for it while as many others
// were asked for as the group holds). Where none is idle, the call goes through one breaker that all such endpoints
// share, [OverflowEndpoint]. Breakers that are not closed, or overridden, never make room (but see [WithDisabled]). All methods may be called
// concurrently.
type Group struct {
	config   Config
	given    Config // defaults not filled in
	most     int
	disabled *string       // the reason to begin so; nil: they begin automatic
	normal   word          // the flag of how they begin
	byName   sync.Map      // endpoint to *member
	turn     atomic.Uint64 // counts the endpoints that were not there; tells when members were asked for

	mu         sync.Mutex
	members    []*member // in the order in which they came
	overflow   *member   // nil until it is needed
	subscribed []*subscription
}

// member is a breaker's place in its group.
type member struct {
	breaker *Breaker
	asked   atomic.Uint64 // the group's turn when it was last asked for
	calls   uint64        // that had succeeded when the group last looked, under its lock
	pins    atomic.Int64  // calls in flight; far below 0 once the breaker was dropped
}

const (
	dropped     = math.MinInt64 / 2
	neverLooked = math.MaxUint64
)

// pin keeps the member from being dropped until release, unless it was dropped already.
func (m *member) pin() bool { return m.pins.Add(1) > 0 }

func (m *member) release() { m.pins.Add(-1) }

// idle tells whether a member may be dropped: its breaker is closed and not overridden (but as all begin), no call is in
// flight, and there is no run of failures that the next one would add to, unless nobody has asked for it while as many
// others were as the group holds. What is read of the breaker is one word, so a search takes no locks.
func (g *Group) idle(m *member, turn uint64) bool {
	w := word(m.breaker.word.Load())
	return w&(stateMask|shadow) == g.normal && m.pins.Load() == 0 && (w&look == 0 || turn-m.asked.Load() > uint64(g.most))
}

// NewGroup makes an empty group. Config is checked as [New] does; its Endpoint must be empty, since Get names it, and
// its Service may be, for a breaker is then named for its endpoint's host.
func NewGroup(c Config, options ...GroupOption) (*Group, error) {
	var errs []error
	if c.Endpoint != "" {
		errs = append(errs, &ConfigError{Field: "Endpoint", Value: fmt.Sprintf("%q", withoutSecrets(c.Endpoint)),
			Allowed: "empty in a group, whose breakers are named by Get"})
	}
	c.Endpoint = ""
	given := c
	c, err := c.withDefaults()
	errs = append(errs, err)
	c.Service, c.Endpoint = given.Service, ""
	g := &Group{config: c, given: given, most: DefaultMaxEndpoints}
	for i, o := range options {
		if o == nil {
			errs = append(errs, fmt.Errorf("breaker: group option %d is nil", i))
			continue
		}
		errs = append(errs, o.apply(g))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return g, nil
}

// Get gives the endpoint's breaker, making it where there is none. It never gives nil. Ask for it at each call rather
// than keep it, for one that was dropped from a full group is seen by nobody any more. User info, query and fragment of a
// URL are left out of its name, and what is not valid UTF-8 is replaced.
func (g *Group) Get(endpoint string) *Breaker { return g.member(endpoint).breaker }

// Lookup gives the endpoint's breaker where there is one, named as for Get. Unlike Get it makes none, and does not count
// as asking for it: a mistyped name leaves nothing behind, and a look keeps no breaker in a full group. An endpoint whose
// calls go through the breaker of [OverflowEndpoint] has none of its own.
func (g *Group) Lookup(endpoint string) (*Breaker, bool) {
	name := canonical(endpoint)
	if found, ok := g.byName.Load(name); ok {
		return found.(*member).breaker, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if name == OverflowEndpoint && g.overflow != nil {
		return g.overflow.breaker, true
	}
	return nil, false
}

// Acquire is [Breaker.Acquire] of the endpoint's breaker, which stays in the group for as long as the call is in
// flight: until the permit is done.
func (g *Group) Acquire(ctx context.Context, endpoint string) (Permit, error) {
	m := g.member(endpoint)
	if ctx != nil && word(m.breaker.word.Load()).blocks() {
		return Permit{}, m.breaker.block(ctx) // which needs no pin, that all cores would write
	}
	for !m.pin() {
		m = g.member(endpoint) // it was dropped in between
	}
	t, err := m.breaker.admit(ctx)
	if err != nil {
		m.release()
		return Permit{}, err
	}
	return Permit{b: m.breaker, token: t, pin: m}, nil
}

func (g *Group) member(endpoint string) *member {
	if found, ok := g.byName.Load(endpoint); ok {
		m := found.(*member)
		if turn := g.turn.Load(); m.asked.Load() != turn { // written once a turn, or cores would pass it around
			m.asked.Store(turn)
		}
		return m
	}
	if name := canonical(endpoint); name != endpoint {
		return g.member(name)
	}
	return g.add(endpoint)
}

// canonical gives the name that a group has for an endpoint: one that it gives for itself, too.
func canonical(endpoint string) string {
	if endpoint == "" {
		return defaultName
	}
	if name := strings.ToValidUTF8(withoutSecrets(endpoint), "\uFFFD"); name != endpoint {
		return canonical(name)
	}
	return endpoint
}

func (g *Group) add(endpoint string) *member {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m, found := g.byName.Load(endpoint); found {
		return m.(*member)
	}
	g.turn.Add(1)
	if endpoint == OverflowEndpoint || len(g.members) >= g.most && !g.makeRoom() {
		if g.overflow == nil {
			g.overflow = g.newMember(OverflowEndpoint)
		}
		return g.overflow
	}
	m := g.newMember(endpoint)
	g.members = append(g.members, m)
	g.byName.Store(endpoint, m)
	return m
}

func (g *Group) newMember(endpoint string) *member {
	c := g.config
	c.Service, c.Endpoint = names(c.Service, endpoint)
	m := &member{breaker: newBreaker(c, &g.given, g.subscribed), calls: neverLooked}
	if g.disabled != nil {
		m.breaker.beginDisabled(*g.disabled)
	}
	m.asked.Store(g.turn.Load())
	return m
}

// makeRoom drops the idle breaker that was asked for the longest time ago, if there is one.
func (g *Group) makeRoom() bool {
	oldest, turn := -1, g.turn.Load()
	for i, m := range g.members {
		if !g.idle(m, turn) {
			continue
		}
		// Who kept the breaker need not ask for it, but shows in its count from one search to the next.
		if calls := m.breaker.plain(); calls != m.calls {
			if m.calls != neverLooked {
				m.asked.Store(turn)
			}
			m.calls = calls
		}
		if oldest < 0 || m.asked.Load() < g.members[oldest].asked.Load() {
			oldest = i
		}
	}
	if oldest < 0 || !g.members[oldest].pins.CompareAndSwap(0, dropped) {
		return false
	}
	g.byName.Delete(g.members[oldest].breaker.rules.Load().Endpoint)
	g.members = slices.Delete(g.members, oldest, oldest+1)
	return true
}

// All yields every breaker, in the order in which they came, the overflow breaker last. The group may change
// meanwhile: what is yielded are those it had when All began.
func (g *Group) All() iter.Seq[*Breaker] {
	return func(yield func(*Breaker) bool) {
		for _, b := range g.list() {
			if !yield(b) {
				return
			}
		}
	}
}

func (g *Group) list() []*Breaker {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.listLocked()
}

func (g *Group) listLocked() []*Breaker {
	all := make([]*Breaker, 0, len(g.members)+1)
	for _, m := range g.members {
		all = append(all, m.breaker)
	}
	if g.overflow != nil {
		all = append(all, g.overflow.breaker)
	}
	return all
}

// Subscribe adds a listener to every breaker of the group, those to come included. No event is begun for it once
// cancel has returned. A nil listener is never told anything.
func (g *Group) Subscribe(l Listener) (cancel func()) {
	if l == nil {
		return func() {}
	}
	s := newSubscription(l)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.subscribed = with(g.subscribed, s)
	for _, b := range g.listLocked() {
		b.subscribe(s)
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.subscribed = without(g.subscribed, s)
		for _, b := range g.listLocked() {
			b.unsubscribe(s)
		}
		s.cancelled.Store(true)
	}
}

// Flush is [Breaker.Flush] of every breaker that the group has.
func (g *Group) Flush(ctx context.Context) error {
	for _, b := range g.list() {
		if err := b.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}
