// Package enginetest tests that an engine is what a fleet takes it for. Whoever writes a [fleet.Engine] calls [Run] in a
// test, against the real store:
//
//	func TestEngine(t *testing.T) {
//		enginetest.Run(t, enginetest.Store{Open: func(t *testing.T) fleet.Engine { … }})
//	}
//
// [Memory] is an engine without a store, for tests of what is built on one.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/fleet"
)

// Store is what the tests are run against.
type Store struct {
	// Open gives an engine on the store, as another replica would have one: with a connection of its own. It is to be
	// closed by the test's Cleanup. The tests keep to keys of their own, so one store serves them all.
	Open func(t *testing.T) fleet.Engine

	// Grace is how much later than its time to live an entry may be told gone. Default 5 s.
	Grace time.Duration

	// Away makes the store unreachable for all engines, Back ends that; what was in it may be lost. Where they are nil,
	// that part is skipped.
	Away, Back func(t *testing.T)
}

const (
	patience = 20 * time.Second // for what is to happen at once
	long     = time.Minute      // the life of what is not to expire
)

// Run runs all tests, as subtests of t. It takes some ten seconds of real time, for entries have to expire.
func Run(t *testing.T, s Store) {
	if s.Grace == 0 {
		s.Grace = 5 * time.Second
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, Store)
	}{
		{"WhatIsPutIsTold", whatIsPutIsTold},
		{"WhatIsThereIsListedBeforeSynced", whatIsThereIsListed},
		{"OfManySwapsOneSucceeds", ofManySwapsOneSucceeds},
		{"ASwapWantsTheOldValue", aSwapWantsTheOldValue},
		{"OnlyTheOwnValueIsDeleted", onlyTheOwnValueIsDeleted},
		{"WhatExpiresIsGone", whatExpiresIsGone},
		{"WhatIsWrittenAgainLives", whatIsWrittenAgainLives},
		{"AWatchSeesItsPrefixOnly", aWatchSeesItsPrefixOnly},
		{"ChangesOfAKeyKeepTheirOrder", changesKeepTheirOrder},
		{"SizesAreTaken", sizesAreTaken},
		{"AContextThatHasEndedIsHonoured", aContextIsHonoured},
		{"ManyMayCallAtOnceConcurrentSafe", manyMayCallAtOnce},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, s)
		})
	}
	if s.Away != nil && s.Back != nil {
		// Not beside the others, whose store it takes away: parallel tests begin when this function has returned.
		t.Run("AStoreThatGoesAwayEndsTheWatch", func(t *testing.T) { aStoreThatGoesAway(t, s) })
	}
}

func whatIsPutIsTold(t *testing.T, s Store) {
	b := newBench(t, s)
	mine, other := b.watch(b.engine, b.prefix), b.watch(s.Open(t), b.prefix)
	b.put("a", "1", long)
	for _, w := range []*watched{mine, other} {
		w.awaitValue("a", "1")
	}
	b.put("a", "2", long)
	for _, w := range []*watched{mine, other} {
		w.awaitValue("a", "2")
	}
	b.remove("a", "2")
	for _, w := range []*watched{mine, other} {
		w.awaitGone("a")
	}
	b.put("a", "3", long) // there once more
	for _, w := range []*watched{mine, other} {
		w.awaitValue("a", "3")
	}
}

func whatIsThereIsListed(t *testing.T, s Store) {
	b := newBench(t, s)
	if w := b.watch(b.engine, b.prefix); len(w.listed) != 0 {
		t.Errorf("an empty prefix lists %q", w.listed)
	}
	want := map[string]string{}
	for i := range 150 { // more than fits a page of any listing
		key, value := fmt.Sprintf("k.%d", i), fmt.Sprintf("v%d", i)
		b.put(key, value, long)
		want[key] = value
	}
	b.put("k.7", "again", long)
	want["k.7"] = "again"
	b.remove("k.8", "v8")
	delete(want, "k.8")
	if w := b.watch(s.Open(t), b.prefix); !maps.Equal(w.listed, want) {
		t.Errorf("listed are %q, want %q", w.listed, want)
	}
}

func ofManySwapsOneSucceeds(t *testing.T, s Store) {
	b := newBench(t, s)
	const replicas = 10
	engines := make([]fleet.Engine, replicas)
	for i := range engines {
		engines[i] = s.Open(t)
	}
	race := func(old []byte) (winner string) {
		t.Helper()
		var wg sync.WaitGroup
		won := make([]bool, replicas)
		for i, e := range engines {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				swapped, err := e.CompareAndSwap(ctx, b.prefix+"lease", old, fmt.Appendf(nil, "%s+%d", old, i), long)
				if err != nil {
					t.Errorf("CompareAndSwap: %v", err)
				}
				won[i] = swapped
			})
		}
		wg.Wait()
		for i, is := range won {
			if is {
				if winner != "" {
					t.Errorf("more than one succeeded")
				}
				winner = fmt.Sprintf("%s+%d", old, i)
			}
		}
		if winner == "" {
			t.Fatal("none succeeded")
		}
		return winner
	}
	first := race(nil)
	second := race([]byte(first))
	b.watch(b.engine, b.prefix).awaitValue("lease", second)
	b.remove("lease", second)
	race(nil) // also where there was one
}

func aSwapWantsTheOldValue(t *testing.T, s Store) {
	b := newBench(t, s)
	if b.swap("a", "1", "2", long) {
		t.Error("a key that is not there was swapped")
	}
	if !b.swap("a", "", "1", long) {
		t.Error("a key that is not there was not made")
	}
	if b.swap("a", "", "2", long) {
		t.Error("a key that is there was made")
	}
	if b.swap("a", "0", "2", long) {
		t.Error("another value was swapped")
	}
	if !b.swap("a", "1", "1", long) {
		t.Error("a value was not swapped for itself")
	}
	if !b.swap("a", "1", "2", long) {
		t.Error("the value was not swapped")
	}
	b.watch(b.engine, b.prefix).awaitValue("a", "2")
}

func onlyTheOwnValueIsDeleted(t *testing.T, s Store) {
	b := newBench(t, s)
	b.remove("a", "1") // none
	b.put("a", "1", long)
	b.remove("a", "2")
	w := b.watch(b.engine, b.prefix)
	w.awaitValue("a", "1")
	b.remove("a", "1")
	w.awaitGone("a")
}

func whatExpiresIsGone(t *testing.T, s Store) {
	b := newBench(t, s)
	w := b.watch(b.engine, b.prefix)
	begun := time.Now()
	b.put("put", "1", fleet.MinTTL)
	if !b.swap("swapped", "", "1", fleet.MinTTL) {
		t.Fatal("not swapped")
	}
	b.put("long", "1", long)
	w.awaitValue("put", "1")
	w.awaitValue("swapped", "1")
	w.awaitGone("put")
	w.awaitGone("swapped")
	if took := time.Since(begun); took < fleet.MinTTL || took > fleet.MinTTL+s.Grace {
		t.Errorf("what was to live for %v was told gone after %v", fleet.MinTTL, took)
	}
	if !b.swap("put", "", "2", long) || !b.swap("swapped", "", "2", long) {
		t.Error("a key that has expired cannot be made")
	}
	w.awaitValue("put", "2")
	w.awaitValue("swapped", "2")
	if got, want := b.watch(s.Open(t), b.prefix).listed, (map[string]string{"put": "2", "swapped": "2", "long": "1"}); !maps.Equal(got, want) {
		t.Errorf("listed are %q, want %q", got, want)
	}
}

func whatIsWrittenAgainLives(t *testing.T, s Store) {
	b := newBench(t, s)
	w := b.watch(b.engine, b.prefix)
	b.put("put", "0", 3*fleet.MinTTL)
	if !b.swap("swapped", "", "same", 3*fleet.MinTTL) {
		t.Fatal("not swapped")
	}
	b.put("longer", "1", fleet.MinTTL)
	b.put("longer", "2", long) // the newest life counts
	ticker := time.NewTicker(fleet.MinTTL)
	defer ticker.Stop()
	for i := range 5 {
		<-ticker.C
		b.put("put", fmt.Sprint(i), 3*fleet.MinTTL)
		if !b.swap("swapped", "same", "same", 3*fleet.MinTTL) {
			t.Fatal("a lease that was renewed in time is lost")
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range []string{"put", "swapped", "longer"} {
		for _, value := range w.told[key] {
			if value == "" {
				t.Errorf("%s was told gone, though it was written again in time: %q", key, w.told[key])
			}
		}
	}
}

func aWatchSeesItsPrefixOnly(t *testing.T, s Store) {
	b := newBench(t, s)
	b.put("in.a", "1", long)
	b.put("inn.a", "1", long)
	b.put("out.a", "1", long)
	w := b.watch(b.engine, b.prefix+"in.") // fails by itself where it is told of another
	b.put("out.b", "1", long)
	b.put("in.deep.er_still-1", "1", long)
	w.awaitValue("deep.er_still-1", "1")
	if !maps.Equal(w.listed, map[string]string{"a": "1"}) {
		t.Errorf("listed are %q", w.listed)
	}
}

func changesKeepTheirOrder(t *testing.T, s Store) {
	b := newBench(t, s)
	w := b.watch(s.Open(t), b.prefix)
	const last = 100
	for i := range last + 1 {
		b.put("a", fmt.Sprintf("%03d", i), long)
	}
	w.awaitValue("a", fmt.Sprintf("%03d", last))
	w.mu.Lock()
	defer w.mu.Unlock()
	before := ""
	for _, value := range w.told["a"] {
		if value < before {
			t.Fatalf("%q came after %q", value, before)
		}
		before = value
	}
}

func sizesAreTaken(t *testing.T, s Store) {
	b := newBench(t, s)
	w := b.watch(s.Open(t), b.prefix)
	value := strings.Repeat("v", fleet.MaxValueSize)
	key := strings.Repeat("k", fleet.MaxKeySize-len(b.prefix))
	b.put(key, value, long)
	w.awaitValue(key, value)
	if !b.swap(key, value, value, long) {
		t.Error("the largest value cannot be compared")
	}
	b.remove(key, value)
	w.awaitGone(key)
}

func aContextIsHonoured(t *testing.T, s Store) {
	b := newBench(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	w := b.watch(b.engine, b.prefix)
	w.end()
	w.await("the watch to return", func() bool { return w.over })
	if !errors.Is(w.err, context.Canceled) {
		t.Errorf("a watch whose context was cancelled returns %v", w.err)
	}
	cancel()
	if err := b.engine.Put(ctx, b.prefix+"a", []byte("1"), long); err == nil {
		t.Error("Put with a context that has ended gives no error")
	}
	if _, err := b.engine.CompareAndSwap(ctx, b.prefix+"a", nil, []byte("1"), long); err == nil {
		t.Error("CompareAndSwap with a context that has ended gives no error")
	}
	if err := b.engine.CompareAndDelete(ctx, b.prefix+"a", []byte("1")); err == nil {
		t.Error("CompareAndDelete with a context that has ended gives no error")
	}
	if err := b.engine.Watch(ctx, b.prefix, func(fleet.Change) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Watch with a context that has ended gives %v", err)
	}
}

func manyMayCallAtOnce(t *testing.T, s Store) {
	b := newBench(t, s)
	w := b.watch(s.Open(t), b.prefix)
	var wg sync.WaitGroup
	const callers, times = 16, 20
	for i := range callers {
		wg.Go(func() {
			for n := range times {
				b.put(fmt.Sprintf("own.%d", i), fmt.Sprint(n), long)
				b.swap("shared", "", fmt.Sprint(i), long)
				b.remove("shared", fmt.Sprint(i))
			}
		})
	}
	wg.Wait()
	for i := range callers {
		w.awaitValue(fmt.Sprintf("own.%d", i), fmt.Sprint(times-1))
	}
	w.awaitGone("shared")
}

func aStoreThatGoesAway(t *testing.T, s Store) {
	b := newBench(t, s)
	w := b.watch(b.engine, b.prefix)
	b.put("before", "1", long)
	w.awaitValue("before", "1")
	s.Away(t)
	w.await("the watch to end with the store", func() bool { return w.over })
	if w.err == nil {
		t.Error("a watch that was lost gives no error")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	begun := time.Now()
	if err := b.engine.Put(ctx, b.prefix+"during", []byte("1"), long); err == nil {
		t.Error("Put into a store that is away gives no error")
	}
	cancel()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("with a context of one second Put took %v", took)
	}
	s.Back(t)
	deadline := time.Now().Add(patience)
	for { // the engine's client connects again in its own time
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := b.engine.Put(ctx, b.prefix+"after", []byte("2"), long)
		<-ctx.Done() // what is left of the second, for one that fails at once
		cancel()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the store is back, and Put still says: %v", err)
		}
	}
	b.watch(b.engine, b.prefix).awaitValue("after", "2")
}
