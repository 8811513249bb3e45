package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/internal/bell"
	"github.com/otelbreaker/otelbreaker/transport"
)

// outcome is what a call came to in the eyes of the client that made it. The letters are those of the page.
type outcome byte

const (
	success outcome = 'S'
	failure outcome = 'F'
	blocked outcome = 'B'
	ignored outcome = 'I'
)

// call is the client's own account of one call; nothing in it comes from the breaker.
type call struct {
	start, end time.Time
	outcome    outcome
	traceID    string
}

// client calls one dependency, one call after the other, and keeps account of what came of them.
type client struct {
	name   string
	url    string
	http   *http.Client
	tracer trace.Tracer
	base   *http.Transport

	giveUpEvery int // every so many calls the caller goes away meanwhile; 0: never

	mu      sync.Mutex
	counts  map[outcome]uint64
	calls   []call // the last so many, oldest first
	keep    int    // so many; 0: all
	changed bell.Bell
}

// newClient makes a client whose calls go through a breaker of their own, in front of an instrumented transport.
func newClient(name, url string, config breaker.Config, timeout time.Duration,
	listeners ...breaker.Listener) (*client, *transport.Transport, error) {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.Proxy = nil // upstreams are on loopback
	guarded, err := transport.New(otelhttp.NewTransport(base), transport.WithConfig(config), transport.WithListeners(listeners...))
	if err != nil {
		return nil, nil, err
	}
	return &client{
		name: name, url: url, base: base,
		http:   &http.Client{Transport: guarded, Timeout: timeout},
		tracer: otel.Tracer("github.com/otelbreaker/otelbreaker/cmd/demo"),
		counts: make(map[outcome]uint64),
	}, guarded, nil
}

// run makes a call every interval, skipping those for which there is no time, until stop closes or ctx ends. The end of
// ctx also ends the call that is under way.
func (c *client) run(ctx context.Context, stop <-chan struct{}, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
		case <-stop:
			return
		case <-ctx.Done():
			return
		}
		c.call(ctx, c.giveUpEvery > 0 && n%c.giveUpEvery == 0)
	}
}

func (c *client) call(ctx context.Context, giveUp bool) {
	ctx, span := c.tracer.Start(ctx, "checkout")
	defer span.End()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if giveUp {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			WroteRequest: func(httptrace.WroteRequestInfo) { cancel() },
		})
	}
	made := call{start: time.Now(), traceID: span.SpanContext().TraceID().String()}
	err := c.get(ctx)
	made.end = time.Now()
	switch {
	case err == nil:
		made.outcome = success
	case errors.Is(err, breaker.ErrOpen):
		made.outcome = blocked
	case ctx.Err() != nil:
		made.outcome = ignored
	default:
		made.outcome = failure
	}
	if err != nil {
		span.SetStatus(codes.Error, "checkout is incomplete")
	}
	c.account(made)
}

// get makes the request and reads the answer to its end.
func (c *client) get(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

func (c *client) account(made call) {
	c.mu.Lock()
	c.counts[made.outcome]++
	if c.keep > 0 && len(c.calls) == c.keep {
		copy(c.calls, c.calls[1:])
		c.calls = c.calls[:c.keep-1]
	}
	c.calls = append(c.calls, made)
	c.mu.Unlock()
	c.changed.Ring()
}

// seen gives how many calls came to o.
func (c *client) seen(o outcome) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[o]
}

// last gives the last n calls at most, oldest first.
func (c *client) last(n int) []call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]call{}, c.calls[max(0, len(c.calls)-n):]...)
}

// lettersAfter gives what the calls behind the first seen came to, of those that are kept, and how many there were in all.
func (c *client) lettersAfter(seen uint64) (string, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var made uint64
	for _, n := range c.counts {
		made += n
	}
	var letters []byte
	for _, call := range c.calls[len(c.calls)-int(min(made-seen, uint64(len(c.calls)))):] {
		letters = append(letters, byte(call.outcome))
	}
	return string(letters), made
}

// all gives every call there was; only where all are kept.
func (c *client) all() []call { return c.last(math.MaxInt) }
