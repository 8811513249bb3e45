package health_test

import (
	"iter"
	"sync"
	"sync/atomic"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// countingSource is a group that tells how often it was listed, and when its listener is gone.
type countingSource struct {
	*breaker.Group
	asked atomic.Int64

	mu   sync.Mutex
	gone chan struct{}
}

func (s *countingSource) All() iter.Seq[*breaker.Breaker] {
	s.asked.Add(1)
	return s.Group.All()
}

func (s *countingSource) Subscribe(l breaker.Listener) (cancel func()) {
	gone := s.cancelled()
	end := s.Group.Subscribe(l)
	return func() {
		end()
		close(gone)
	}
}

func (s *countingSource) cancelled() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone == nil {
		s.gone = make(chan struct{})
	}
	return s.gone
}
