package fleet

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

const (
	threshold = 5 // failures in a row
	// soon is how long a breaker of Recovering stays open.
	soon = 20 * time.Millisecond
)

// instance stands for a process: a pipeline, and the breakers whose signals go by it.
type instance struct {
	name     Name
	number   int
	gateway  int
	pipeline *collector.Pipeline
	groups   []*breaker.Group
	clients  []*client
	accepted []Sample
	failed   int
}

func newInstance(name Name, number int, plan Plan) (*instance, error) {
	i := &instance{name: name, number: number, gateway: GatewayOf(name.Instance, len(plan.Gateways))}
	var err error
	// What is not set here is in the environment, as in any program.
	i.pipeline, err = collector.Start(context.Background(), collector.WithoutGlobals(), collector.WithoutRuntimeMetrics(),
		collector.WithServiceName(name.Program),
		collector.WithResourceAttributes(attribute.String("service.instance.id", name.Instance)),
		collector.WithOTLP("http/protobuf", plan.Gateways[i.gateway]),
		collector.WithLogger(slog.New(slog.DiscardHandler))) // what goes wrong is returned by ForceFlush, too
	if err != nil {
		return nil, err
	}
	each := plan.Endpoints / len(Services)
	for _, service := range Services {
		config := breaker.Config{Service: service, FailureThreshold: threshold, RecoveryTimeout: time.Hour}
		if service == Recovering {
			config.RecoveryTimeout = soon
		}
		book := ledger{}
		group, err := breaker.NewGroup(config, breaker.WithMaxEndpoints(each), breaker.WithListeners(book))
		if err != nil {
			return nil, err
		}
		for n := range each {
			c := &client{service: service, number: n, endpoint: Endpoint(service, n)}
			book[c.endpoint] = c
			c.breaker = group.Get(c.endpoint)
			i.clients = append(i.clients, c)
		}
		if service == Overridden && number%7 == 0 {
			i.clients[len(i.clients)-each].breaker.Disable("trial")
		}
		if _, err := otelcb.Observe(group, otelcb.WithMeterProvider(i.pipeline.MeterProvider())); err != nil {
			return nil, err
		}
		i.groups = append(i.groups, group)
	}
	return i, nil
}

// client is one endpoint's breaker, and the account of what its calls came to.
type client struct {
	service, endpoint string
	number            int // of the endpoint
	breaker           *breaker.Breaker

	mu         sync.Mutex
	outcomes   [4]uint64 // by outcome, in the order of outcomes
	edges      [3][3]uint64
	state      breaker.State
	recoveries []time.Duration
	failed     [2]time.Time     // before and after the last failure
	open       [2]time.Duration // before and after the last export, how long it was open in all
}

const (
	success = iota
	failure
	blocked
	ignored
)

var outcomes = [...]string{"success", "failure", "blocked", "ignored"}

// ledger has each transition entered in the client's account.
type ledger map[string]*client // by endpoint

func (l ledger) OnTransition(e breaker.Event) {
	c := l[e.Endpoint]
	c.mu.Lock()
	defer c.mu.Unlock()
	c.edges[e.From][e.To]++
	c.state = e.To
	if e.To == breaker.Closed && e.From == breaker.HalfOpen {
		c.recoveries = append(c.recoveries, e.RecoveryDuration)
	}
}

var errDown = errors.New("down")

// do makes one call with the result that is given, and enters what came of it.
func (c *client) do(result error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	before := time.Now()
	err := c.breaker.Do(ctx, func(context.Context) error {
		if errors.Is(result, context.Canceled) {
			cancel()
		}
		return result
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.outcomes[success]++
	case errors.Is(err, breaker.ErrOpen):
		c.outcomes[blocked]++
	case errors.Is(err, context.Canceled):
		c.outcomes[ignored]++
	default:
		c.outcomes[failure]++
		c.failed = [2]time.Time{before, time.Now()}
	}
}

// call makes an instance's calls of a round: a few to each endpoint, of which one in some twenty fails, and now and then
// one is given up. Some breakers of Recovering open and recover.
func (i *instance) call(round Round) (calls uint64, err error) {
	for n, c := range i.clients {
		dice := scramble(i.name.Instance, round.Number, n)
		c.waitOutDelay(round)
		for range 1 + dice%4 {
			c.do(nil)
			calls++
		}
		c.mu.Lock()
		seen := c.outcomes[success] + c.outcomes[failure]
		c.mu.Unlock()
		again := 0 // failures
		switch first := n == 0; {
		case first && Down(i.number, round.Outage):
			again = threshold + 1 // one at least is blocked
		case c.service == Recovering && !round.Settle && (7*i.number+n+round.Number)%200 == 0, // seldom, or it were flapping
			c.service == Overridden && c.number == 0 && dice>>8%10 == 0 && i.number%7 == 0:
			again = threshold
		case dice>>8%20 == 0 && seen > 0:
			again = 1
		}
		for range again {
			c.do(errDown)
			calls++
		}
		if dice>>16%30 == 0 {
			c.do(context.Canceled)
			calls++
		}
	}
	return calls, i.flush()
}

// waitOutDelay waits until a call is let through again, where that is soon and wanted.
func (c *client) waitOutDelay(round Round) {
	if c.service != Recovering || !round.Settle {
		return
	}
	for c.breaker.State() == breaker.Open {
		time.Sleep(c.breaker.Snapshot().RetryAfter)
	}
}

// flush waits until all transitions are entered.
func (i *instance) flush() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	for _, g := range i.groups {
		errs = append(errs, g.Flush(ctx))
	}
	return errors.Join(errs...)
}

// export has the pipeline export now, and enters whether the gateway has taken it.
func (i *instance) export(round int) error {
	marked := i.clients[1]
	i.openTimes(0)
	s := Sample{Round: round, Value: float64(marked.outcomes[success]), Before: time.Now()} // nobody else makes calls
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)                 // the pipeline's own limit is shorter
	defer cancel()
	err := i.pipeline.ForceFlush(ctx)
	s.End = time.Now()
	i.openTimes(1)
	if err != nil {
		i.failed++
		return err
	}
	i.accepted = append(i.accepted, s)
	return nil
}

// openTimes notes how long breakers have been open, before (0) or after (1) an export.
func (i *instance) openTimes(when int) {
	for _, c := range i.clients {
		c.mu.Lock()
		opened := c.edges != [3][3]uint64{}
		c.mu.Unlock()
		if opened {
			c.open[when] = c.breaker.Snapshot().OpenTime
		}
	}
}
