// Package fleet is many instances of programs in one process, for tests of what a fleet's telemetry comes to: each
// has its own pipeline of package collector, with its own SDK, and its own groups of breakers, makes calls through them
// and keeps an account of what came of each. It is told what to do by net/rpc.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"
)

// Plan is what a fleet consists of.
type Plan struct {
	First, Instances int      // its instances are numbered from First on
	Endpoints        int      // that each calls; a multiple of the number of Services
	Gateways         []string // OTLP by HTTP, base URLs; each instance keeps to one
	Twins            bool     // two instances of one program have one service.instance.id: what must not be
}

// Services are the dependencies. Each has its share of the endpoints, and in each instance a group of breakers.
var Services = []string{"payments", "inventory", "search", "mail"}

// The breakers of most stay open for an hour, so that nothing changes by itself. Those of Recovering recover soon, and
// in some instances the one of Overridden at its first endpoint is disabled.
const (
	Recovering = "search"
	Overridden = "mail"
)

// Endpoint is the address of a service's endpoint.
func Endpoint(service string, number int) string {
	return fmt.Sprintf("http://%s-%02d.example:80", service, number)
}

// programs that the instances are of, in turn.
const programs = 10

// Name is what tells an instance from the others.
type Name struct{ Program, Instance string }

// NameOf names the instance of a number.
func NameOf(number int) Name {
	program := fmt.Sprintf("shop-%d", number%programs)
	return Name{program, fmt.Sprintf("%s-%05d", program, number/programs)}
}

// GatewayOf is the gateway, of so many, that an instance keeps to. It stands for a load balancer with a consistent hash:
// with one gateway more or less, only the instances that it gains or loses move.
func GatewayOf(instance string, gateways int) int {
	best, most := 0, uint64(0)
	for g := range gateways {
		if weight := scramble(instance, g); g == 0 || weight > most {
			best, most = g, weight
		}
	}
	return best
}

// scramble is a number that depends on all it is given, and is the same in every run.
func scramble(text string, numbers ...int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // never fails
	sum := h.Sum64()
	for _, n := range numbers {
		sum ^= uint64(n)
		sum *= 0xbf58476d1ce4e5b9
		sum ^= sum >> 31
		sum *= 0x94d049bb133111eb
		sum ^= sum >> 29
	}
	return sum
}

// Fleet is what a test tells the process to do.
type Fleet struct {
	instances []*instance
	round     atomic.Int64 // the one that is going on
	done      atomic.Int64 // its exports, however they ended
}

// Start makes the instances.
func (f *Fleet) Start(plan Plan, _ *struct{}) error {
	if plan.Endpoints <= 0 || plan.Endpoints%len(Services) != 0 {
		return fmt.Errorf("fleet: Endpoints is %d: want a multiple of %d", plan.Endpoints, len(Services))
	}
	for n := plan.First; n < plan.First+plan.Instances; n++ {
		name := NameOf(n)
		if plan.Twins && n == plan.First+programs { // the next one of the same program
			name = NameOf(plan.First)
		}
		i, err := newInstance(name, n, plan)
		if err != nil {
			return err
		}
		f.instances = append(f.instances, i)
	}
	return nil
}

// Round has every instance make some calls and then export, one after the other as processes do that were started at
// different times.
type Round struct {
	Number int
	Over   time.Duration // the exports begin evenly over this
	// Outage is the share, in percent, of instances to which the first endpoint of the first service does not answer in
	// this round.
	Outage int
	Settle bool // whatever can recover does
}

// Exports is what came of a round.
type Exports struct {
	Accepted, Failed int
	Why              string // one failed
	Calls            uint64
	Took             time.Duration
}

// Down tells whether an outage of so many percent reaches an instance.
func Down(number, percent int) bool { return number%100 < percent }

// Play plays a round and returns when all exports have ended, one way or the other.
func (f *Fleet) Play(round Round, exports *Exports) error {
	f.done.Store(0)
	f.round.Store(int64(round.Number))
	var (
		mu      sync.Mutex
		running sync.WaitGroup
		errs    []error
	)
	begin := time.Now()
	for n, i := range f.instances {
		time.Sleep(time.Until(begin.Add(round.Over * time.Duration(n) / time.Duration(len(f.instances)))))
		running.Go(func() {
			calls, err := i.call(round)
			failed := i.export(round.Number)
			f.done.Add(1)
			mu.Lock()
			defer mu.Unlock()
			exports.Calls += calls
			errs = append(errs, err)
			if failed == nil {
				exports.Accepted++
				return
			}
			exports.Failed++
			exports.Why = failed.Error()
		})
	}
	running.Wait()
	exports.Took = time.Since(begin)
	return errors.Join(errs...)
}

// Progress is how many exports of a round have ended so far; none before it has begun.
func (f *Fleet) Progress(round int, done *int) error {
	if f.round.Load() == int64(round) {
		*done = int(f.done.Load())
	}
	return nil
}

// Account is an instance's own account.
type Account struct {
	Name
	Gateway  int
	Series   map[string]Value // as Prometheus should have them now, without job and instance
	Accepted []Sample         // of [Marker], one for each export that the gateway said it has
	Failed   int              // exports
}

// Value is a sample's, or where it cannot be told exactly, what it lies between.
type Value struct{ Low, High float64 }

// Holds tells whether a sample may be that. Sums of fractions differ in their last digits by the order of the summands.
func (v Value) Holds(sample float64) bool {
	slack := 1e-12 * max(1, v.High)
	return sample >= v.Low-slack && sample <= v.High+slack
}

// Sample is a counter's value that was exported between two moments.
type Sample struct {
	Round       int
	Value       float64
	Before, End time.Time
}

// Marker is the series that has another value in every export.
func Marker() string {
	return seriesName("circuit_breaker_requests_total", Services[0], Endpoint(Services[0], 1), "outcome", "success")
}

// Account tells what the instance of an index, from 0 on, has counted. It is an error where that is not what its
// breakers have.
func (f *Fleet) Account(index int, account *Account) error {
	if index < 0 || index >= len(f.instances) {
		return fmt.Errorf("fleet: there is no instance %d: there are %d", index, len(f.instances))
	}
	a, err := f.instances[index].account()
	if err == nil {
		*account = a
	}
	return err
}

// Stop ends the pipelines, each of which exports once more.
func (f *Fleet) Stop(_ struct{}, _ *struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	errs := make([]error, len(f.instances))
	var ending sync.WaitGroup
	places := make(chan struct{}, 8)
	for n, i := range f.instances {
		places <- struct{}{}
		ending.Go(func() {
			errs[n] = i.pipeline.Shutdown(ctx)
			<-places
		})
	}
	ending.Wait()
	return errors.Join(errs...)
}
