package e2e

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/fault"
	"github.com/otelbreaker/otelbreaker/e2e/internal/load"
)

// The tests here run a program at thousands of calls a second, through outages of what it calls, while something is
// wrong with the collector that it exports to. Then the collector is back, and what the program knows is compared with
// what has arrived. In the end the program is shut down with the same thing wrong once more.
//
// What arrives, arrives at least once, so it counts once however often it does. All that does not arrive must have been
// counted as dropped. The reverse does not hold to the unit where an export is cut short: what a collector has taken
// but could no longer say so is dropped to the program, and arrives.

const (
	// unnoticed is longer than any call here takes by itself, and half of what an export takes that is held up.
	unnoticed = fault.Delay / 2

	// minRate is how many calls a second there have to be.
	minRate = 2000

	// A queue of spans holds up to five megabytes, full in one moment and not in another, and then there is no more:
	// spans come at that much a second.
	queues  = 32 << 20
	growing = 8 << 20

	// cut is how much can be in exports that the beginning and the end of the trouble cut short.
	cut = 2 * 512

	shutdownWithin = time.Second
)

// faultResults are those of this run of the tests, which share them: of one kind of trouble and protocol one is enough.
var faultResults = struct {
	mu sync.Mutex
	of map[string]*faultResult
}{of: make(map[string]*faultResult)}

// forEachFault calls check with what came of every kind of trouble with every protocol. A test that asks twice (by
// -count) gets a new one.
func forEachFault(t *testing.T, check func(*testing.T, *faultResult)) {
	t.Helper()
	test := t.Name()
	known := func(key string) *faultResult { // to this test it is new
		faultResults.mu.Lock()
		defer faultResults.mu.Unlock()
		if r := faultResults.of[key]; r != nil && !r.seenBy[test] {
			r.seenBy[test] = true
			return r
		}
		return nil
	}
	var binary string
	for _, name := range slices.Sorted(maps.Keys(troubles)) {
		for _, protocol := range []string{"grpc", "http/protobuf"} {
			key := name + " " + strings.TrimSuffix(protocol, "/protobuf")
			result := known(key)
			if result == nil && binary == "" {
				binary = buildLoad(t)
			}
			t.Run(key, func(t *testing.T) {
				t.Parallel()
				if result == nil {
					result = runFault(t, binary, name, protocol)
					result.seenBy[test] = true
					faultResults.mu.Lock()
					faultResults.of[key] = result
					faultResults.mu.Unlock()
				}
				check(t, result)
			})
		}
	}
}

// TestG14_CallsNeverWaitOnTheCollector: no call takes longer or fails, memory stays flat, all that was lost is counted,
// and Shutdown ends in time and tells what it could not send.
func TestG14_CallsNeverWaitOnTheCollector(t *testing.T) {
	forEachFault(t, func(t *testing.T, r *faultResult) {
		for i, s := range []load.Stretch{r.before, r.first, r.second} {
			t.Logf("%s: %.0f calls a second; p99 %v with telemetry, %v without: ratio %.2f; longest %v, %v; heap %d KiB",
				[]string{"before", "during", "during"}[i], s.PerSecond(), s.On.P99, s.Off.P99,
				float64(s.On.P99)/float64(s.Off.P99), s.On.Max, s.Off.Max, s.Heap>>10)
			if s.On.Max > max(unnoticed, 2*s.Off.Max) {
				t.Errorf("a call took %v: it has waited for something", s.On.Max)
			}
			if i > 0 && s.PerSecond() < minRate {
				t.Errorf("only %.0f calls a second, want %d", s.PerSecond(), minRate)
			}
		}
		for _, text := range r.known.Unexpected {
			t.Errorf("a call failed that should not have: %s", text)
		}
		if r.second.Heap > r.before.Heap+queues || r.second.Heap > max(r.before.Heap, r.first.Heap)+growing {
			t.Errorf("the heap is %d KiB, then %d, then %d: not flat", r.before.Heap>>10, r.first.Heap>>10, r.second.Heap>>10)
		}

		t.Logf("spans: %v", r.spans)
		if r.spans.dropped == 0 {
			t.Error("no span was dropped: there was no trouble")
		}
		if n := r.spans.lacking(); n > 0 {
			t.Errorf("%d spans have neither arrived nor been counted as dropped", n)
		}
		most := 0
		if r.cutsShort() {
			most = cut
		}
		if n := -r.spans.lacking(); n > most {
			t.Errorf("%d spans that have arrived were counted as dropped, want at most %d", n, most)
		}

		t.Logf("shut down in %v: %s", r.ending.Took, strings.ReplaceAll(r.ending.Lost, "\n", "; "))
		if r.ending.Took > shutdownWithin+unnoticed {
			t.Errorf("Shutdown took %v, its deadline is %v", r.ending.Took, shutdownWithin)
		}
		if !regexp.MustCompile(`traces: [1-9]\d* not delivered: `).MatchString(r.ending.Lost) {
			t.Errorf("Shutdown does not tell what was lost: %q", r.ending.Lost)
		}
		if r.ending.After > r.ending.Before {
			t.Errorf("%d goroutines after it all, %d before", r.ending.After, r.ending.Before)
		}
	})
}

// TestG13_CountersAreRightOnceTheCollectorIsBack compares the counters on the collector's page with the client's own
// account of its calls, to the unit.
func TestG13_CountersAreRightOnceTheCollectorIsBack(t *testing.T) {
	forEachFault(t, func(t *testing.T, r *faultResult) {
		k := r.known
		t.Logf("calls: %d succeeded, %d failed, %d blocked, %d ignored; %d transitions",
			k.Success, k.Failure, k.Blocked, k.Ignored, len(k.Transitions))
		if k.Success == 0 || k.Failure == 0 || k.Blocked == 0 || k.Ignored == 0 {
			t.Error("the calls have not come to everything that a call can come to")
		}
		if r.counters != "" {
			t.Error(r.counters)
		}
	})
}

// TestG07_EveryTransitionIsLoggedOrCountedAsDropped: the breaker's listeners keep up, and of every transition the log
// record arrives or is counted, in order and with nothing in it that was not.
func TestG07_EveryTransitionIsLoggedOrCountedAsDropped(t *testing.T) {
	forEachFault(t, func(t *testing.T, r *faultResult) {
		t.Logf("log records: %v, %d of them again; %d of the transitions during the trouble", r.records, r.again, r.during)
		if r.during == 0 {
			t.Error("there was no transition during the trouble")
		}
		if r.delivered > unnoticed || r.known.Dropped != 0 {
			t.Errorf("the breaker's listeners were %v behind and missed %d events", r.delivered, r.known.Dropped)
		}
		if n := r.records.lacking(); n > 0 {
			t.Errorf("%d log records have neither arrived nor been counted as dropped", n)
		}
		// Where the trouble began with no log record under way, this holds to the unit.
		most := 0
		if r.name == "killed" {
			most = cut
		}
		if n := -r.records.lacking(); n > most {
			t.Errorf("%d log records that have arrived were counted as dropped, want at most %d", n, most)
		}

		real := make(map[load.Transition]bool)
		var arrived []load.Transition // in the order of the transitions
		for _, transition := range r.known.Transitions {
			real[transition] = true
			if _, found := r.written[transition]; found {
				arrived = append(arrived, transition)
			}
		}
		for transition := range r.written {
			if !real[transition] {
				t.Errorf("a log record of a transition that there was not: %v", transition)
			}
		}
		// They may arrive in another order: the collector has several senders.
		if !slices.IsSortedFunc(arrived, func(a, b load.Transition) int { return r.written[a].Compare(r.written[b]) }) {
			t.Error("the log records were not written in the order of the transitions")
		}
	})
}
