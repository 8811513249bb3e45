package enginetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/fleet"
)

// bench is what a test works with.
type bench struct {
	*testing.T
	prefix string
	engine fleet.Engine
}

func newBench(t *testing.T, s Store) *bench {
	return &bench{T: t, prefix: "t" + strings.ToLower(rand.Text()) + ".", engine: s.Open(t)}
}

func (b *bench) put(key, value string, ttl time.Duration) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if err := b.engine.Put(ctx, b.prefix+key, []byte(value), ttl); err != nil {
		b.Fatalf("Put(%s): %v", key, err)
	}
}

// swap tries with "" for no old value.
func (b *bench) swap(key, old, value string, ttl time.Duration) bool {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	swapped, err := b.engine.CompareAndSwap(ctx, b.prefix+key, orNil(old), []byte(value), ttl)
	if err != nil {
		b.Fatalf("CompareAndSwap(%s, %q, %q): %v", key, old, value, err)
	}
	return swapped
}

func (b *bench) remove(key, old string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if err := b.engine.CompareAndDelete(ctx, b.prefix+key, []byte(old)); err != nil {
		b.Fatalf("CompareAndDelete(%s, %q): %v", key, old, err)
	}
}

func orNil(text string) []byte {
	if text == "" {
		return nil
	}
	return []byte(text)
}

// watched is what a watch has told so far.
type watched struct {
	*testing.T
	prefix string
	end    context.CancelFunc

	mu     sync.Mutex
	news   chan struct{} // closed and replaced at each change
	values map[string]string
	told   map[string][]string // every value of a key in order, "" for gone
	listed map[string]string   // at Synced
	over   bool
	err    error
}

func (b *bench) watch(e fleet.Engine, prefix string) *watched {
	ctx, cancel := context.WithCancel(b.Context())
	w := &watched{T: b.T, prefix: prefix, end: cancel, news: make(chan struct{}),
		values: map[string]string{}, told: map[string][]string{}}
	go func() {
		err := e.Watch(ctx, prefix, w.take)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.over, w.err = true, err
		w.tell()
	}()
	b.Cleanup(func() {
		cancel()
		w.await("the watch to return when its context ends", func() bool { return w.over })
	})
	w.await("Synced", func() bool { return w.listed != nil || w.over })
	if w.over {
		b.Fatalf("Watch: %v", w.err)
	}
	return w
}

func (w *watched) take(c fleet.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key, own := strings.CutPrefix(c.Key, w.prefix)
	switch {
	case w.over:
		w.Error("f was called after Watch had returned")
	case c.Kind == fleet.Synced:
		if c.Key != "" || c.Value != nil || w.listed != nil {
			w.Errorf("Synced came with key %q and value %q, or twice", c.Key, c.Value)
		}
		w.listed = maps.Clone(w.values)
	case !own:
		w.Errorf("a watch of %q was told of %q", w.prefix, c.Key)
	case c.Kind == fleet.Written:
		w.values[key] = string(c.Value)
		w.told[key] = append(w.told[key], string(c.Value))
	case c.Kind == fleet.Gone:
		delete(w.values, key)
		w.told[key] = append(w.told[key], "")
	default:
		w.Errorf("a change is of kind %v", c.Kind)
	}
	w.tell()
}

func (w *watched) tell() {
	close(w.news)
	w.news = make(chan struct{})
}

// await waits for what shall become true; it is asked under the lock.
func (w *watched) await(what string, is func() bool) {
	w.Helper()
	timeout := time.After(patience)
	for {
		w.mu.Lock()
		done, news := is(), w.news
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-news:
		case <-timeout:
			w.mu.Lock()
			defer w.mu.Unlock()
			w.Fatalf("waited %v for %s; the values are %q", patience, what, w.values)
		}
	}
}

func (w *watched) awaitValue(key, value string) {
	w.Helper()
	w.await(fmt.Sprintf("%s to be %q", key, value), func() bool { return w.values[key] == value })
}

func (w *watched) awaitGone(key string) {
	w.Helper()
	w.await(key+" to be gone", func() bool { _, there := w.values[key]; return !there })
}
