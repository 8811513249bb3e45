package otelcb

import (
	"sync"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// subscriber has listeners told of the events of a source: through the source's own Subscribe, or breaker by breaker as
// collections find them.
type subscriber struct {
	listeners []breaker.Listener
	whole     bool // through the source's own Subscribe

	mu       sync.Mutex
	ended    bool
	cancel   func()                         // of the source's own
	followed map[*breaker.Breaker]*followed // otherwise
}

type followed struct {
	round  uint64
	cancel func()
}

func newSubscriber(src Source, found []*breaker.Breaker, listeners ...breaker.Listener) *subscriber {
	s := &subscriber{listeners: listeners}
	if all, ok := src.(subscribable); ok {
		s.whole, s.cancel = true, s.subscribe(all)
		return s
	}
	s.followed = map[*breaker.Breaker]*followed{}
	for _, b := range found {
		s.follow(b, 0)
	}
	return s
}

// subscribe has all listeners told of the events of one source or breaker.
func (s *subscriber) subscribe(to subscribable) (cancel func()) {
	cancels := make([]func(), len(s.listeners))
	for i, l := range s.listeners {
		cancels[i] = to.Subscribe(l)
	}
	return func() {
		for _, c := range cancels {
			c()
		}
	}
}

// order is 0 for sources that are to be read first.
func (s *subscriber) order() int {
	if s.whole {
		return 0
	}
	return 1
}

// follow takes note that this round found b.
func (s *subscriber) follow(b *breaker.Breaker, round uint64) {
	if s.whole {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	f := s.followed[b]
	if f == nil {
		f = &followed{cancel: s.subscribe(b)}
		s.followed[b] = f
	}
	f.round = round
}

// dropBefore ends the subscriptions to breakers that this round did not find.
func (s *subscriber) dropBefore(round uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for b, f := range s.followed {
		if f.round != round {
			f.cancel()
			delete(s.followed, b)
		}
	}
}

func (s *subscriber) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	if s.cancel != nil {
		s.cancel()
	}
	for _, f := range s.followed {
		f.cancel()
	}
	s.followed = nil
}
