package breaker_test

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// A schedule is what happens to a breaker, as bytes: a head that chooses the configuration and how closely to look,
// then three bytes a step. Every text of bytes is a schedule, so one decoder serves chance and the fuzzer alike.
const (
	headSize = 8
	stepSize = 3
	maxSteps = 200
)

// What a schedule can say. The numbers are small, so that much happens in few steps, and some lie where rules meet.
var (
	rates      = []float64{0.5, 1, 0.25, 1.0 / 3, 0.3, 0.75, 0.01, 0.6}
	windows    = []time.Duration{10 * time.Second, time.Second, 7 * time.Second, time.Millisecond, 1003 * time.Microsecond, time.Hour}
	slows      = []time.Duration{time.Second, 500 * time.Millisecond, 2 * time.Second, 1}
	recoveries = []time.Duration{time.Second, 2 * time.Second, 10 * time.Second, time.Millisecond, 700 * time.Microsecond, 0, 1, 1500 * time.Microsecond}
	factors    = []float64{0, 1, 2, 1.5, 10, 1e300}
	leases     = []time.Duration{time.Second, 3 * time.Second, 0, time.Millisecond, 500 * time.Millisecond, 10 * time.Second}
	pauses     = []time.Duration{1, time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond,
		time.Second, time.Second + 1, 2 * time.Second, 3 * time.Second, 7 * time.Second, 9 * time.Second, 10 * time.Second,
		30 * time.Second, time.Minute, time.Hour, 365 * 24 * time.Hour}
	offsets = []time.Duration{0, -1, 1, 0, -time.Millisecond, 0}
	asks    = []time.Duration{0, time.Second, 5 * time.Second, 20 * time.Second, time.Minute, 1000 * time.Hour, -time.Second}
)

func pick[T any](from []T, by byte) T { return from[int(by)%len(from)] }

// decodeConfig makes a valid configuration of the head.
func decodeConfig(head []byte) breaker.Config {
	var c breaker.Config
	rules := head[0]
	if rules&1 != 0 {
		c.FailureThreshold = 1 + int(head[1]%5)
	}
	if rules&2 != 0 {
		c.FailureRate = pick(rates, head[1]>>4)
	}
	if rules&4 != 0 {
		c.SlowCallRate = pick(rates, head[2]>>4)
	}
	if rules&(4|8) != 0 {
		c.SlowCallDuration = pick(slows, head[2])
	}
	if rules&(2|4) != 0 {
		c.MinCalls = int(head[3]>>4) % 6
		if rules&16 != 0 {
			c.WindowDuration = pick(windows, head[3])
		} else {
			c.WindowCalls = max(1+int(head[3]%10), c.MinCalls)
		}
	}
	c.RecoveryTimeout = pick(recoveries, head[4])
	c.BackoffFactor = pick(factors, head[4]>>4)
	if m := time.Duration(head[5] % 5); m > 0 {
		c.MaxRecoveryTimeout = modelDefaults(c).RecoveryTimeout * m
	}
	c.SuccessThreshold = int(head[5]>>4) % 5
	c.MaxProbes = int(head[6] % 5)
	c.ProbeTimeout = pick(leases, head[6]>>4)
	return c
}

// changeConfig changes one field, perhaps for the worse.
func changeConfig(c breaker.Config, field, value byte) breaker.Config {
	switch field % 12 {
	case 0:
		c.FailureThreshold = int(value % 6)
	case 1:
		c.FailureRate = pick(append(rates, 0, -1, 1.5), value)
	case 2:
		c.SlowCallRate, c.SlowCallDuration = pick(append(rates, 0), value), time.Second
	case 3:
		c.SlowCallDuration = pick(append(slows, 0), value)
	case 4:
		c.WindowCalls, c.WindowDuration = int(value%12), 0
	case 5:
		c.WindowCalls, c.WindowDuration = int(value>>7), pick(windows, value)
	case 6:
		c.MinCalls = int(value % 12)
	case 7:
		c.RecoveryTimeout = pick(recoveries, value)
	case 8:
		c.BackoffFactor = pick(append(factors, 0.5), value)
	case 9:
		c.SuccessThreshold = int(value % 5)
	case 10:
		c.MaxProbes = int(value%6) - 1
	default:
		c.ProbeTimeout = pick(leases, value)
	}
	return c
}

// What a step can be, by its first byte. What stands here more often happens more often. The schedules in testdata
// depend on the order.
var (
	ofCallers = []func(r *run, a, b byte){
		(*run).acquire, (*run).acquire, (*run).acquire, (*run).acquire,
		(*run).succeed, (*run).succeed, (*run).succeed,
		(*run).fail, (*run).fail, (*run).fail, (*run).fail, (*run).fail,
		(*run).ignore, (*run).doneWith, (*run).doneWith, (*run).doneErr,
		(*run).doSuccess, (*run).doSuccess, (*run).doFailure, (*run).doFailure, (*run).doFailure,
		(*run).doOther, (*run).doOther,
		(*run).sleep, (*run).sleep, (*run).sleep,
		(*run).sleepToDeadline, (*run).sleepToDeadline, (*run).sleepToDeadline, (*run).sleepToDeadline,
		(*run).sleepToWindow, (*run).sleepToWindow, (*run).read, (*run).move,
	}
	ofAll = append(slices.Clone(ofCallers),
		(*run).forceOpen, (*run).disable, (*run).reset, (*run).reconfigure, (*run).reconfigure)
)

// The environment can ask for more, for other ones, or for one again.
const (
	schedulesVariable = "OTELBREAKER_SCHEDULES" // how many; default 10,000
	seedVariable      = "OTELBREAKER_SEED"      // of the first; "random" for one that is drawn and printed
	replayVariable    = "OTELBREAKER_REPLAY"    // one schedule, in hexadecimal, as a failure prints it
)

// TestG02_SchedulesMatchTheModel runs random schedules against the reference model. It covers what the windows, the
// delays and the leases promise (G01, G03, G04, G05, G06, G08), too.
func TestG02_SchedulesMatchTheModel(t *testing.T) {
	if text := os.Getenv(replayVariable); text != "" {
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatalf("%s: %v", replayVariable, err)
		}
		trace, wrong := perform(t, data, true)
		t.Logf("%s\n%v", strings.Join(trace, "\n"), wrong)
		if wrong != nil {
			t.Fail()
		}
		return
	}
	count := number(t, schedulesVariable, 10_000)
	var first uint64 = 1
	if os.Getenv(seedVariable) == "random" {
		first = rand.Uint64() >> 1
	} else {
		first = number(t, seedVariable, 1)
	}
	t.Logf("%d schedules, %s=%d", count, seedVariable, first)
	const shards = 4
	for shard := range uint64(shards) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for seed := first + shard; seed < first+count; seed += shards {
				data := randomSchedule(seed)
				if _, wrong := perform(t, data, false); wrong != nil {
					t.Errorf("%s=%d %s=1", seedVariable, seed, schedulesVariable)
					explain(t, data, wrong)
					return
				}
			}
		})
	}
}

// number reads a number from the environment.
func number(t *testing.T, variable string, otherwise uint64) uint64 {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// randomSchedule is the same for the same seed.
func randomSchedule(seed uint64) []byte {
	var random rand.PCG
	random.Seed(seed, 0)
	data := make([]byte, headSize+stepSize*(10+random.Uint64()%90))
	for i := range data {
		data[i] = byte(random.Uint64())
	}
	return data
}

// FuzzSchedule lets the fuzzer look for a schedule in which breaker and model disagree.
func FuzzSchedule(f *testing.F) {
	for seed := range uint64(10) {
		f.Add(randomSchedule(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, wrong := perform(t, data, false); wrong != nil {
			explain(t, data, wrong)
		}
	})
}

// explain fails the test with the shortest schedule like data that fails, too.
func explain(t *testing.T, data []byte, wrong error) {
	t.Helper()
	data, trace, found := shrink(t, data)
	if found == nil {
		t.Errorf("failed once, and not again: %v\n%s=%x", wrong, replayVariable, data)
		return
	}
	t.Errorf("breaker and model disagree\n%s\n%v\n%s=%x", strings.Join(trace, "\n"), found, replayVariable, data)
}

// shrink leaves steps out, and then makes bytes zero, for as long as the schedule still fails.
func shrink(t *testing.T, data []byte) (_ []byte, trace []string, wrong error) {
	// Timers of one instant run in random order, so a failure may need more than one attempt.
	fails := func(candidate []byte) bool {
		for range 6 {
			if tr, w := perform(t, candidate, true); w != nil {
				data, trace, wrong = candidate, tr, w
				return true
			}
		}
		return false
	}
	if !fails(data) {
		return data, nil, nil
	}
	for smaller := true; smaller; {
		smaller = false
		for chunk := 64; chunk > 0; chunk /= 2 {
			for i := headSize; i < len(data); {
				end := min(i+chunk*stepSize, len(data))
				if fails(slices.Delete(slices.Clone(data), i, end)) {
					smaller = true
				} else {
					i = end
				}
			}
		}
		for i := range data {
			if data[i] != 0 {
				candidate := slices.Clone(data)
				candidate[i] = 0
				smaller = fails(candidate) || smaller
			}
		}
	}
	return data, trace, wrong
}

// heard is a listener of every kind that remembers. Its methods below are for when the bubble is at rest.
type heard struct {
	started time.Time
	mu      sync.Mutex // guards the next four
	raw     []breaker.Event
	onCalls []breaker.Event
	blocked int
	strayed int // events that came by the wrong method, or with the wrong context

	events  []modelEvent // of raw, in the model's terms
	calls   []modelEvent // of onCalls
	outages []string     // the ids in the order in which they appeared, which gives them the model's numbers
}

func (h *heard) OnTransition(e breaker.Event) { h.hear(e, e.From != e.To && !e.Shadow) }
func (h *heard) OnNotice(e breaker.Event)     { h.hear(e, e.From == e.To || e.Shadow) }

func (h *heard) hear(e breaker.Event, proper bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.raw = append(h.raw, e)
	if !proper || e.Service != "default" || e.Endpoint != "default" {
		h.strayed++
	}
}

func (h *heard) OnCallTransition(ctx context.Context, e breaker.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onCalls = append(h.onCalls, e)
	if numberOf(ctx) != numberOf(e.Context) {
		h.strayed++
	}
}

func (h *heard) OnBlocked(context.Context, *breaker.OpenError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.blocked++
}

// translate brings events and calls up to date.
func (h *heard) translate() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.raw[len(h.events):] {
		if e.OutageID != "" && !slices.Contains(h.outages, e.OutageID) {
			h.outages = append(h.outages, e.OutageID)
		}
		h.events = append(h.events, h.event(e))
	}
	for _, e := range h.onCalls[len(h.calls):] {
		h.calls = append(h.calls, h.event(e))
	}
}

func (h *heard) event(e breaker.Event) modelEvent {
	return modelEvent{From: e.From, To: e.To, At: e.At.Sub(h.started), Reason: e.Reason, ErrorType: e.ErrorType,
		Failures: int(e.FailureCount), Successes: int(e.SuccessCount), Blocked: int(e.BlockedCount),
		Outage: h.outage(e.OutageID), Recovery: e.RecoveryDuration,
		Context: numberOf(e.Context), OpenedBy: numberOf(e.OpenedBy), Shadow: e.Shadow}
}

// outage numbers an outage as the model does: 0 is none, -1 one that no event told of.
func (h *heard) outage(id string) int {
	if id == "" {
		return 0
	}
	if n := slices.Index(h.outages, id); n >= 0 {
		return n + 1
	}
	return -1
}
