package breaker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"sync"
)

// DefaultMaxSources bounds a [Set].
const DefaultMaxSources = 1000

// Source is what a [Set] holds: a [*Breaker], a [*Group], a [*Mirror], or an adapter for a breaker of another make. All
// gives the breakers that it has at the moment, Subscribe covers those to come as well. Neither may call the set.
type Source interface {
	All() iter.Seq[*Breaker]
	Subscribe(Listener) (cancel func())
}

// Set is many sources as one, so that one observation, one health page and one listener serve all breakers of a program,
// whatever their make, those that are added later included. It decides nothing. The zero value is an empty set, ready for
// use; do not copy it. All methods may be called concurrently, also while the set is observed.
type Set struct {
	// MaxSources bounds the set, so that a program which adds and never removes is told so. Default
	// [DefaultMaxSources]. It must not be changed once the set is in use.
	MaxSources int

	mu         sync.Mutex
	sources    []Source // replaced, never changed
	subscribed []*setSubscription
}

// setSubscription is one listener and what ends its subscription to each source.
type setSubscription struct {
	listener Listener
	cancels  map[Source]func()
}

// Add adds all of these sources, or none where the error says what is wrong with one: that it is nil, or a set itself, or
// there already; that the set is full; or that a breaker of it is called as another one is. Metrics, records and pages know
// a breaker by service and endpoint alone, so two of one name could not be told apart. Breakers that a group makes later
// are not looked at: metrics show such a pair as one, counters added up and the worst state.
func (s *Set) Add(sources ...Source) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := s.MaxSources
	if most == 0 {
		most = DefaultMaxSources
	}
	if most < 0 {
		return &ConfigError{Field: "MaxSources", Value: most, Allowed: fmt.Sprintf("1 or more, or 0 for %d", DefaultMaxSources)}
	}
	if n := len(s.sources) + len(sources); n > most {
		return fmt.Errorf("breaker: a set would have %d sources: allowed are %d (MaxSources); Remove those that are gone", n, most)
	}
	all, names := slices.Clone(s.sources), s.names()
	var errs []error
	for i, src := range sources {
		if err := s.fits(src, all, names); err != nil {
			errs = append(errs, fmt.Errorf("breaker: source %d (%T) for a set: %w", i, src, err))
			continue
		}
		all = append(all, src)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, src := range sources {
		for _, sub := range s.subscribed {
			sub.cancels[src] = src.Subscribe(sub.listener)
		}
	}
	s.sources = all
	return nil
}

// setName is what breakers are told apart by.
type setName struct{ service, endpoint string }

func (b *Breaker) setName() setName {
	c := b.rules.Load()
	return setName{c.Service, c.Endpoint}
}

// names are those that are taken.
func (s *Set) names() map[setName]*Breaker {
	names := make(map[setName]*Breaker)
	for _, src := range s.sources {
		for b := range src.All() {
			names[b.setName()] = b
		}
	}
	return names
}

// fits tells what speaks against src beside these, and takes its names.
func (s *Set) fits(src Source, others []Source, names map[setName]*Breaker) error {
	switch v := reflect.ValueOf(src); {
	case src == nil, v.Kind() == reflect.Pointer && v.IsNil():
		return errors.New("it is nil")
	case !v.Comparable():
		return errors.New("it cannot be compared: pass a pointer")
	}
	if _, nested := src.(*Set); nested {
		return errors.New("it is a set itself: add its sources")
	}
	if slices.Contains(others, src) {
		return errors.New("it is there already")
	}
	var errs []error
	for b := range src.All() {
		n := b.setName()
		switch names[n] {
		case nil:
			names[n] = b
		case b:
			errs = append(errs, fmt.Errorf("breaker %q (%s) is there already", n.service, n.endpoint))
		default:
			errs = append(errs, fmt.Errorf("another breaker is called service %q, endpoint %q: give each a name of its own", n.service, n.endpoint))
		}
	}
	return errors.Join(errs...)
}

// Remove takes a source out, and tells whether it was there. Its listeners hear no more of it, its series are gone from the
// next collection on, and its breakers go on as they did.
func (s *Set) Remove(src Source) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if src == nil || !reflect.ValueOf(src).Comparable() {
		return false
	}
	i := slices.Index(s.sources, src)
	if i < 0 {
		return false
	}
	s.sources = slices.Concat(s.sources[:i], s.sources[i+1:])
	for _, sub := range s.subscribed {
		sub.cancels[src]()
		delete(sub.cancels, src)
	}
	return true
}

// All yields the breakers of all sources, in the order in which those were added.
func (s *Set) All() iter.Seq[*Breaker] {
	return func(yield func(*Breaker) bool) {
		s.mu.Lock()
		sources := s.sources
		s.mu.Unlock()
		for _, src := range sources {
			for b := range src.All() {
				if !yield(b) {
					return
				}
			}
		}
	}
}

// Subscribe adds a listener to every breaker of the set, those to come included. It is told of one breaker's events one at
// a time, and of several breakers' at once. No event is begun for it once cancel has returned. A nil listener is never told
// anything.
func (s *Set) Subscribe(l Listener) (cancel func()) {
	if l == nil {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := &setSubscription{listener: l, cancels: make(map[Source]func(), len(s.sources))}
	for _, src := range s.sources {
		sub.cancels[src] = src.Subscribe(l)
	}
	s.subscribed = append(s.subscribed, sub)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.subscribed = slices.DeleteFunc(s.subscribed, func(other *setSubscription) bool { return other == sub })
		for _, end := range sub.cancels {
			end()
		}
		clear(sub.cancels)
	}
}

// Flush is [Breaker.Flush] of every breaker of the set.
func (s *Set) Flush(ctx context.Context) error {
	for b := range s.All() {
		if err := b.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}
