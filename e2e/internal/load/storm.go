package load

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/internal/bell"
)

// patience bounds every wait of this package.
const patience = 30 * time.Second

// calmCalls is how many calls succeed between two outages.
const calmCalls = 1000

// storm is a row of outages of the upstream.
type storm struct {
	mu   sync.Mutex
	calm func() error // ends them and waits until the breakers are closed; nil while there are none
}

// Storm begins outages of the upstream: each lasts until its breaker has reopened twice, and the next begins some calls
// after the breakers have closed.
func (l *Load) Storm(struct{}, *struct{}) error {
	l.storm.mu.Lock()
	defer l.storm.mu.Unlock()
	if l.storm.calm != nil {
		return errors.New("load: a storm is on already")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.rage(ctx) }()
	l.storm.calm = func() error {
		cancel()
		l.on.bell.Ring()
		return <-ended
	}
	return nil
}

// Calm ends the outages and waits until the breakers are closed. Without a storm it does nothing.
func (l *Load) Calm(struct{}, *struct{}) error {
	l.storm.mu.Lock()
	defer l.storm.mu.Unlock()
	if l.storm.calm == nil {
		return nil
	}
	err := l.storm.calm()
	l.storm.calm = nil
	return err
}

func (l *Load) rage(ctx context.Context) error {
	reopened := func() uint64 { return l.on.breaker().Snapshot().Edges[breaker.HalfOpen][breaker.Open] }
	succeeded := func() uint64 { return l.on.account.totals().Success }
	for ctx.Err() == nil {
		before := reopened()
		l.failing.Store(true)
		err := until(&l.on.bell, func() bool { return reopened() >= before+2 || ctx.Err() != nil })
		l.failing.Store(false)
		if err = errors.Join(err, l.on.closes(), l.off.closes()); err != nil {
			return err
		}
		mended := succeeded()
		err = until(&l.on.account.bell, func() bool { return succeeded() >= mended+calmCalls || ctx.Err() != nil })
		if err != nil {
			return err
		}
	}
	return nil
}

// closes waits until the breaker is closed.
func (c *client) closes() error {
	return until(&c.bell, func() bool { return c.breaker().State() == breaker.Closed })
}

// until waits for cond, which it asks now and after every ring, and loses patience.
func until(b *bell.Bell, cond func() bool) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errors.New("load: what was waited for has not come"))
	defer cancel()
	return b.Until(ctx, cond)
}
