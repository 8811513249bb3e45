package breaker

import (
	"fmt"
	"iter"
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

// Group makes a breaker for each endpoint on first use, all with one configuration. It is bounded: when it is full,
// closed breakers that have had no call for a while make room; breakers that are not closed, or overridden, never do.
// Where none can make room, the call goes through one breaker that all such endpoints share, [OverflowEndpoint]. All
// methods may be called concurrently.
type Group struct {
	config Config
	most   int
	byName sync.Map // endpoint to *Breaker

	mu         sync.Mutex
	members    []*member // in the order in which they came
	hand       int       // where the search for room goes on
	overflow   atomic.Pointer[Breaker]
	subscribed []*subscription
}

type member struct {
	breaker *Breaker
	seen    uint64 // calls when the search for room last came by
}

// NewGroup makes an empty group. Config is checked as [New] does; its Endpoint must be empty, since Get names it, and
// its Service may be, for a breaker is then named for its endpoint's host.
func NewGroup(c Config, options ...GroupOption) (*Group, error) {
	if c.Endpoint != "" {
		return nil, &ConfigError{Field: "Endpoint", Value: fmt.Sprintf("%q", withoutSecrets(c.Endpoint)),
			Allowed: "empty in a group, whose breakers are named by Get"}
	}
	checked, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	checked.Service, checked.Endpoint = c.Service, ""
	g := &Group{config: checked, most: DefaultMaxEndpoints}
	for i, o := range options {
		if o == nil {
			return nil, fmt.Errorf("breaker: group option %d is nil", i)
		}
		if err := o.apply(g); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// Get gives the endpoint's breaker, making it where there is none. It never gives nil. User info, query and fragment
// of a URL are left out of its name, and what is not valid UTF-8 is replaced.
func (g *Group) Get(endpoint string) *Breaker {
	if b, found := g.byName.Load(endpoint); found {
		return b.(*Breaker)
	}
	if endpoint == "" {
		return g.Get(defaultName)
	}
	if clean := strings.ToValidUTF8(withoutSecrets(endpoint), "\uFFFD"); clean != endpoint {
		return g.Get(clean)
	}
	return g.add(endpoint)
}

func (g *Group) add(endpoint string) *Breaker {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b, found := g.byName.Load(endpoint); found {
		return b.(*Breaker)
	}
	if endpoint == OverflowEndpoint || len(g.members) >= g.most && !g.makeRoom() {
		if g.overflow.Load() == nil {
			g.overflow.Store(g.newBreaker(OverflowEndpoint))
		}
		return g.overflow.Load()
	}
	b := g.newBreaker(endpoint)
	g.members = append(g.members, &member{breaker: b})
	g.byName.Store(b.rules.Load().Endpoint, b)
	return b
}

func (g *Group) newBreaker(endpoint string) *Breaker {
	c := g.config
	c.Service, c.Endpoint = names(c.Service, endpoint)
	return newBreaker(c, g.subscribed)
}

// makeRoom drops an idle breaker: the first, going round, that is closed, not overridden, and has had no call since
// the search last came by.
func (g *Group) makeRoom() bool {
	for range 2 * len(g.members) {
		g.hand %= len(g.members)
		m := g.members[g.hand]
		if calls, droppable := m.breaker.activity(); !droppable || calls != m.seen {
			m.seen = calls
			g.hand++
			continue
		}
		g.byName.Delete(m.breaker.rules.Load().Endpoint)
		g.members = slices.Delete(g.members, g.hand, g.hand+1)
		return true
	}
	return false
}

// activity tells how many calls a breaker has had, and whether it may be dropped were that none lately.
func (b *Breaker) activity() (calls uint64, droppable bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	success, ignored, blocked := b.striped()
	calls = success + ignored + blocked + b.successes + b.ignored + b.failures
	return calls, b.state == Closed && b.override == Automatic
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
	if o := g.overflow.Load(); o != nil {
		all = append(all, o)
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
