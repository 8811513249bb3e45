// Package load is a program under load: the demo's client at some thousands of calls a second, with telemetry and,
// taking turns with it, without. Package main in its folder program runs it in a process of its own, which a test
// drives by net/rpc over the process's standard input and output.
//
// All of it is plain net/http on loopback: the breakers' transport over otelhttp, as the quick start has it, and an
// upstream that can be made to fail.
package load

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	nooplog "go.opentelemetry.io/otel/log/noop"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	nooptrace "go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/time/rate"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
)

const (
	perSecond = 2500 // calls with telemetry
	share     = 4    // so many calls with telemetry, one without comes on top

	workers     = 64
	lastCalls   = 40
	giveUpEvery = 97 // so many calls, the caller of one goes away before the answer; prime, so that it meets both clients
)

// Load is the program. Its exported methods are what a test calls; each is for one call at a time.
type Load struct {
	goroutines int // before it all
	upstream   *httptest.Server
	failing    atomic.Bool
	pipeline   *collector.Pipeline
	on, off    *client
	storm      storm

	mu   sync.Mutex
	halt func() // ends the calls and waits for the last; nil while there are none
}

// Start brings up all but the calls. Where telemetry goes to, the OTEL_* variables say.
func Start() (*Load, error) {
	l := &Load{goroutines: runtime.NumGoroutine()}
	l.upstream = httptest.NewServer(http.HandlerFunc(l.answer))
	var err error
	if l.pipeline, err = collector.Start(context.Background(), collector.WithServiceName("load")); err != nil {
		return nil, err
	}
	l.on, err = newClient(l.upstream.URL, providers{
		otel.GetTracerProvider(), otel.GetMeterProvider(), otel.GetLoggerProvider()})
	if err != nil {
		return nil, err
	}
	l.off, err = newClient(l.upstream.URL, providers{
		nooptrace.NewTracerProvider(), noopmetric.NewMeterProvider(), nooplog.NewLoggerProvider()})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// answer is the upstream. A call that its caller will give up is never answered.
func (l *Load) answer(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == givenUp:
		<-r.Context().Done()
	case l.failing.Load():
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		_, _ = w.Write([]byte("balance: 12.50\n"))
	}
}

// Go begins to call.
func (l *Load) Go(struct{}, *struct{}) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.halt != nil {
		return errors.New("load: already calling")
	}
	ctx, cancel := context.WithCancel(context.Background())
	const all = perSecond + perSecond/share
	pace := rate.NewLimiter(all, all) // a process that had to wait for a core may catch up
	pace.AllowN(time.Now(), all)      // but has nothing to catch up with yet
	var calling sync.WaitGroup
	var calls atomic.Uint64
	for range workers {
		calling.Go(func() {
			for pace.Wait(ctx) == nil {
				n := calls.Add(1)
				c := l.on
				if n%(share+1) == 0 {
					c = l.off
				}
				c.call(n%giveUpEvery == 0)
			}
		})
	}
	l.halt = func() {
		cancel()
		calling.Wait()
	}
	return nil
}

// Halt ends the upstream's outages, then the calls, and waits until the breakers' listeners have been told everything.
func (l *Load) Halt(struct{}, *struct{}) error {
	if err := l.Calm(struct{}{}, nil); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.halt != nil {
		l.halt()
		l.halt = nil
	}
	var took time.Duration
	return l.Flush(struct{}{}, &took)
}

// Flush waits until the breakers' listeners have been told everything, and tells how long that took.
func (l *Load) Flush(_ struct{}, took *time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	begin := time.Now()
	err := errors.Join(l.on.breaker().Flush(ctx), l.off.breaker().Flush(ctx))
	*took = time.Since(begin)
	return err
}

// Latency is of calls that got an answer, but for Max, which is of all: a blocked call takes no time, and there are not
// equally many of them in every stretch.
type Latency struct {
	Answered      int
	P50, P99, Max time.Duration
}

// Stretch is what a number of calls came to.
type Stretch struct {
	Calls   int // with telemetry
	Elapsed time.Duration
	On, Off Latency

	Heap uint64 // bytes in use at the end, once garbage was collected
}

// PerSecond is how many calls with telemetry there were in a second.
func (s *Stretch) PerSecond() float64 { return float64(s.Calls) / s.Elapsed.Seconds() }

// Run returns when so many calls with telemetry have been made from now on.
func (l *Load) Run(calls int, s *Stretch) error {
	begin := time.Now()
	l.on.account.reset()
	l.off.account.reset()
	if err := l.on.account.reaches(calls); err != nil {
		return err
	}
	s.Elapsed = time.Since(begin)
	s.Calls, s.On = l.on.account.latency()
	_, s.Off = l.off.account.latency()
	s.Heap = heap()
	return nil
}

// heap is what is in use. Calls go on meanwhile, and what they allocate while garbage is collected counts as used: the
// least of some readings has the least of that.
func heap() uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		runtime.GC()
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		least = min(least, memory.HeapAlloc)
	}
	return least
}

// Totals are the client's own account of the calls with telemetry so far, of which nothing comes from the breaker, and
// what it was told as the breaker's listener.
type Totals struct {
	Success, Failure, Blocked, Ignored uint64

	Unexpected  []string // errors of calls that nothing in the script explains; the first few
	Transitions []Transition
	Spans       uint64 // ended by all this
	Dropped     uint64 // events that the breaker's listeners were too slow for
}

// Transition is what tells one transition from all others.
type Transition struct {
	Outage, From, To string
	At               int64 // Unix nanoseconds
}

// Totals gives the totals. While there are calls, they are of no one moment.
func (l *Load) Totals(_ struct{}, t *Totals) error {
	*t = l.on.account.totals()
	t.Transitions = l.on.transitions()
	t.Dropped = l.on.breaker().Snapshot().EventsDropped
	// One span of the caller's, one of otelhttp's for a call that was let through, and one an outage.
	t.Spans = 2*(t.Success+t.Failure+t.Ignored) + t.Blocked
	for _, transition := range t.Transitions {
		if transition.To == breaker.Closed.String() {
			t.Spans++
		}
	}
	return nil
}

// Page gives the program's own metrics.
func (l *Load) Page(_ struct{}, page *string) error {
	recorder := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", http.NoBody)
	l.pipeline.MetricsHandler().ServeHTTP(recorder, request)
	*page = recorder.Body.String()
	return nil
}

// End is how a shutdown went.
type End struct {
	Took          time.Duration
	Lost          string // what it reports
	Before, After int    // goroutines
}

// Shutdown shuts the pipeline down within so much time, and then ends everything else. The calls have to be halted; it
// makes some more itself, so that there are spans that have not been sent.
func (l *Load) Shutdown(within time.Duration, end *End) error {
	for range lastCalls {
		l.on.call(false)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	begin := time.Now()
	err := l.pipeline.Shutdown(ctx)
	end.Took = time.Since(begin)
	if err != nil {
		end.Lost = err.Error()
	}
	err = errors.Join(l.on.close(), l.off.close())
	l.upstream.Close()
	end.Before = l.goroutines + 1 // this call's own
	// What ends connections says when it is told to, not when their goroutines are gone.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		if end.After = runtime.NumGoroutine(); end.After <= end.Before {
			return err
		}
		select {
		case <-tick.C:
		case <-limit:
			return err
		}
	}
}

// percentile takes sorted durations.
func percentile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func latencyOf(answered []time.Duration, longest time.Duration) Latency {
	slices.Sort(answered)
	return Latency{
		Answered: len(answered), Max: longest,
		P50: percentile(answered, 0.50), P99: percentile(answered, 0.99),
	}
}
