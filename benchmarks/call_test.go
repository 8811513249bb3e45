package benchmarks

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The cases, each of which a library may lack.
var cases = []struct {
	name string
	of   func(subject) setting
}{
	{"Closed", func(s subject) setting { return s.closed }},
	{"Window", func(s subject) setting { return s.window }},
	{"Mixed", func(s subject) setting { return s.mixed }},
	{"Rejected", func(s subject) setting { return s.rejected }},
	{"Failing", func(s subject) setting { return s.failing }},
}

// BenchmarkCall is one call through each library in each case, one after the other.
func BenchmarkCall(b *testing.B) {
	for _, c := range cases {
		for _, s := range subjects {
			measure(b, c.name+"/"+s.name, c.of(s), serially)
		}
	}
}

// BenchmarkCall8 is the same from eight goroutines at once. The time is that of the whole divided by the number of
// calls, so two cores that do not hinder each other halve it.
func BenchmarkCall8(b *testing.B) {
	for _, c := range cases {
		for _, s := range subjects {
			measure(b, c.name+"/"+s.name, c.of(s), byEight)
		}
	}
}

// BenchmarkLimit is what a breaker could cost at the least, measured through the same function value as the calls. The
// price of that function value is the first of them.
func BenchmarkLimit(b *testing.B) {
	for _, l := range limits {
		measure(b, l.name, l.setting, serially)
	}
}

// BenchmarkLimit8 is the same from eight goroutines at once.
func BenchmarkLimit8(b *testing.B) {
	for _, l := range limits {
		measure(b, l.name, l.setting, byEight)
	}
}

var limits = []struct {
	name    string
	setting setting
}{
	{"harness", func(testing.TB) call { return succeed }},
	{"atomic-add", func(testing.TB) call {
		var n atomic.Uint64
		return func() error { n.Add(1); return nil }
	}},
	{"mutex", func(testing.TB) call {
		var mu sync.Mutex
		var n uint64
		return func() error {
			mu.Lock()
			n++
			mu.Unlock()
			return nil
		}
	}},
	{"time-now", func(testing.TB) call { return func() error { _ = time.Now(); return nil } }},
	{"time-since", func(testing.TB) call {
		base := time.Now()
		return func() error { _ = time.Since(base); return nil }
	}},
	{"two-clock-reads", func(testing.TB) call {
		base := time.Now()
		return func() error { _ = time.Since(base); _ = time.Since(base); return nil }
	}},
}

func measure(b *testing.B, name string, s setting, loop func(*testing.B, call)) {
	b.Helper()
	if s == nil {
		return
	}
	b.Run(name, func(b *testing.B) {
		once := s(b)
		b.ReportAllocs()
		loop(b, once)
	})
}

func serially(b *testing.B, once call) {
	b.Helper()
	for b.Loop() {
		_ = once()
	}
}

func byEight(b *testing.B, once call) {
	b.Helper()
	b.ResetTimer()
	b.SetParallelism(max(1, 8/runtime.GOMAXPROCS(0)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = once()
		}
	})
}
