package health

import (
	"math"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/otelbreaker/otelbreaker/breaker"
)

const (
	rateWindow     = time.Minute
	sampleInterval = 5 * time.Second
	leastWindow    = time.Second // a rate over less would be a guess
)

// performance is how calls go, over window_seconds: about the last minute, or as long as they are watched; and what the
// process takes meanwhile, which is left out where the system does not tell, or not yet.
type performance struct {
	RequestsPerSecond   float64  `json:"requests_per_second"` // blocked ones included
	BlockRate           float64  `json:"block_rate"`          // share of those that were blocked, from 0 to 1
	WindowSeconds       float64  `json:"window_seconds"`
	ProcessCPUCores     *float64 `json:"process_cpu_cores,omitempty"` // CPU seconds a second: 1.5 is one and a half cores
	ResidentMemoryBytes *uint64  `json:"resident_memory_bytes,omitempty"`
}

// flow is the calls of one breaker, or of several, a second.
type flow struct{ calls, blocked, window float64 }

func (f *flow) add(other flow) {
	f.calls += other.calls
	f.blocked += other.blocked
	f.window = max(f.window, other.window)
}

func (f flow) performance(cores *float64, memory *uint64) performance {
	p := performance{RequestsPerSecond: rounded(f.calls), WindowSeconds: rounded(f.window), ProcessCPUCores: cores,
		ResidentMemoryBytes: memory}
	if f.calls > 0 {
		p.BlockRate = rounded(f.blocked / f.calls)
	}
	return p
}

// rates looks at all counters now and then, so that a page that nobody has asked for in hours can still tell of the
// last minute.
type rates struct {
	usages *usages

	mu      sync.Mutex
	samples []sample // oldest first, none older than the window
}

type sample struct {
	at    time.Time
	of    map[*breaker.Breaker]tally
	usage usage
}

type tally struct{ calls, blocked uint64 }

func tallyOf(s breaker.Snapshot) tally {
	return tally{calls: s.Success + s.Failure + s.Blocked + s.Ignored, blocked: s.Blocked}
}

// keepSampling samples now and at every interval for as long as somebody holds r.
func (r *rates) keepSampling(groups []*history) {
	r.sample(groups)
	held := weak.Make(r)
	var again func()
	again = func() {
		if r := held.Value(); r != nil {
			r.sample(groups)
			time.AfterFunc(sampleInterval, again)
		}
	}
	time.AfterFunc(sampleInterval, again)
}

func (r *rates) sample(groups []*history) {
	now := sample{at: time.Now(), of: make(map[*breaker.Breaker]tally), usage: r.usages.now()}
	for _, g := range groups {
		for _, b := range g.source.breakers() {
			now.of[b] = tallyOf(b.Snapshot())
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples = slices.DeleteFunc(append(r.samples, now), func(s sample) bool { return now.at.Sub(s.at) > rateWindow })
}

// process gives what the process takes.
func (r *rates) process() (cores *float64, memory *uint64) {
	now := r.usages.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.cores(r.oldest(now.at).usage), now.memory
}

// oldest is the oldest sample in the window before now. The newest one serves whatever its age, where the process was
// held up. There is always one, for the first is taken when the handler is made.
func (r *rates) oldest(now time.Time) sample {
	for _, s := range r.samples[:len(r.samples)-1] {
		if now.Sub(s.at) <= rateWindow {
			return s
		}
	}
	return r.samples[len(r.samples)-1]
}

// of gives the calls of b, whose counters stand as in s.
func (r *rates) of(b *breaker.Breaker, s breaker.Snapshot, now time.Time) flow {
	since, before := r.baseline(b, now)
	window := max(now.Sub(since), leastWindow).Seconds()
	count := tallyOf(s)
	count.calls -= min(count.calls, before.calls) // the baseline may have been taken a moment after s
	count.blocked -= min(count.blocked, before.blocked)
	return flow{calls: float64(count.calls) / window, blocked: float64(count.blocked) / window, window: window}
}

// baseline is the oldest moment in the window at which the counters of b are known. A breaker that a sample does not
// have was made after it, and then all its calls were.
func (r *rates) baseline(b *breaker.Breaker, now time.Time) (since time.Time, before tally) {
	r.mu.Lock()
	defer r.mu.Unlock()
	since = now
	missing := false
	for i, s := range r.samples {
		if now.Sub(s.at) > rateWindow && i < len(r.samples)-1 {
			continue // the last one serves whatever its age, where the process was held up
		}
		if t, known := s.of[b]; known {
			if missing {
				return since, tally{}
			}
			return s.at, t
		}
		missing, since = true, s.at
	}
	return since, tally{}
}

// rounded leaves three decimals, which is more than the samples are good for.
func rounded(f float64) float64 { return math.Round(f*1000) / 1000 }
