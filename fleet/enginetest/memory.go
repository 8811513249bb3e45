package enginetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/fleet"
)

// Memory is an engine within the process, for tests. It reaches no other process. Its time is that of the time package,
// so it works in a bubble of testing/synctest. The zero Memory is not for use: see [NewMemory].
type Memory struct {
	mu      sync.Mutex
	entries map[string]*entry
	watches map[*watch]bool
}

type entry struct {
	value []byte
	timer *time.Timer
}

type watch struct {
	prefix string
	news   chan struct{} // holds one when there is something
	queue  []fleet.Change
}

// NewMemory makes an empty one.
func NewMemory() *Memory {
	return &Memory{entries: map[string]*entry{}, watches: map[*watch]bool{}}
}

// Put implements [fleet.Engine].
func (m *Memory) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.write(key, value, ttl)
	return nil
}

// CompareAndSwap implements [fleet.Engine].
func (m *Memory) CompareAndSwap(ctx context.Context, key string, old, value []byte, ttl time.Duration) (bool, error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.is(key, old) {
		return false, nil
	}
	m.write(key, value, ttl)
	return true, nil
}

// CompareAndDelete implements [fleet.Engine].
func (m *Memory) CompareAndDelete(ctx context.Context, key string, old []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[key]; e != nil && m.is(key, old) {
		m.remove(key, e)
	}
	return nil
}

// is compares, nil with none.
func (m *Memory) is(key string, value []byte) bool {
	e := m.entries[key]
	if e == nil || value == nil {
		return e == nil && value == nil
	}
	return bytes.Equal(e.value, value)
}

func (m *Memory) write(key string, value []byte, ttl time.Duration) {
	if before := m.entries[key]; before != nil {
		before.timer.Stop()
	}
	e := &entry{value: bytes.Clone(value)}
	e.timer = time.AfterFunc(ttl, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.entries[key] == e {
			m.remove(key, e)
		}
	})
	m.entries[key] = e
	m.tell(fleet.Change{Kind: fleet.Written, Key: key, Value: e.value})
}

func (m *Memory) remove(key string, e *entry) {
	e.timer.Stop()
	delete(m.entries, key)
	m.tell(fleet.Change{Kind: fleet.Gone, Key: key})
}

func (m *Memory) tell(c fleet.Change) {
	for w := range m.watches {
		if strings.HasPrefix(c.Key, w.prefix) {
			w.queue = append(w.queue, c)
			w.wake()
		}
	}
}

func (w *watch) wake() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// Watch implements [fleet.Engine].
func (m *Memory) Watch(ctx context.Context, prefix string, f func(fleet.Change)) error {
	w := &watch{prefix: prefix, news: make(chan struct{}, 1)}
	m.begin(w)
	defer m.end(w)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.news:
		}
		queue, ended := m.take(w)
		for _, c := range queue {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			c.Value = bytes.Clone(c.Value)
			f(c)
		}
		if ended {
			return errCut
		}
	}
}

func (m *Memory) begin(w *watch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watches[w] = true
	for key, e := range m.entries {
		if strings.HasPrefix(key, w.prefix) {
			w.queue = append(w.queue, fleet.Change{Kind: fleet.Written, Key: key, Value: e.value})
		}
	}
	w.queue = append(w.queue, fleet.Change{Kind: fleet.Synced})
	w.wake()
}

func (m *Memory) end(w *watch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.watches, w)
}

func (m *Memory) take(w *watch) (queue []fleet.Change, ended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	queue, w.queue = w.queue, nil
	return queue, !m.watches[w]
}

var errCut = errors.New("enginetest: the watch was cut")

// Cut ends every watch, as a store does that goes away for a moment.
func (m *Memory) Cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for w := range m.watches {
		delete(m.watches, w)
		w.wake()
	}
}

// Clear removes every entry, as a store does that is started anew with nothing on its disk. Watches are told.
func (m *Memory) Clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, e := range m.entries {
		m.remove(key, e)
	}
}

// Entries gives a copy of what is there.
func (m *Memory) Entries() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	entries := make(map[string][]byte, len(m.entries))
	for key, e := range m.entries {
		entries[key] = bytes.Clone(e.value)
	}
	return entries
}
