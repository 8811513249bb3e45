package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/internal/bell"
	"github.com/otelbreaker/otelbreaker/transport"
)

const (
	givenUp       = "/given-up" // the path of a call that the caller will give up
	maxUnexpected = 5           // that are told

	recovery = 50 * time.Millisecond // open this long before a probe
	timeout  = 10 * time.Second      // of a call
)

type providers struct {
	traces  trace.TracerProvider
	metrics metric.MeterProvider
	logs    log.LoggerProvider
}

// client makes calls as the demo's does, each in a span of its own, and keeps account of them.
type client struct {
	url     string
	base    *http.Transport
	guarded *transport.Transport
	http    *http.Client
	tracer  trace.Tracer
	account account

	mu   sync.Mutex
	told []Transition
	bell bell.Bell // rung at each
}

func newClient(url string, to providers) (*client, error) {
	c := &client{url: url, tracer: to.traces.Tracer("github.com/otelbreaker/otelbreaker/e2e/internal/load")}
	c.base = http.DefaultTransport.(*http.Transport).Clone()
	c.base.Proxy = nil // the upstream is on loopback
	c.base.MaxIdleConnsPerHost = workers
	var err error
	c.guarded, err = transport.New(
		otelhttp.NewTransport(c.base, otelhttp.WithTracerProvider(to.traces), otelhttp.WithMeterProvider(to.metrics)),
		transport.WithConfig(breaker.Config{Service: "payments", RecoveryTimeout: recovery}),
		transport.WithTracerProvider(to.traces), transport.WithMeterProvider(to.metrics),
		transport.WithLoggerProvider(to.logs),
	)
	if err != nil {
		return nil, err
	}
	c.http = &http.Client{Transport: c.guarded, Timeout: timeout}
	c.guarded.Breakers().Subscribe(c)
	c.breaker() // so that it shows before the first call
	return c, nil
}

func (c *client) breaker() *breaker.Breaker { return c.guarded.Breakers().Get(c.url) }

// OnTransition keeps what the breaker tells, to be compared with what arrives as log records.
func (c *client) OnTransition(e breaker.Event) {
	c.mu.Lock()
	c.told = append(c.told, Transition{e.OutageID, e.From.String(), e.To.String(), e.At.UnixNano()})
	c.mu.Unlock()
	c.bell.Ring()
}

func (c *client) transitions() []Transition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told)
}

func (c *client) close() error {
	err := c.guarded.Close()
	c.base.CloseIdleConnections()
	return err
}

var errBadStatus = errors.New("bad status")

func (c *client) call(giveUp bool) {
	ctx, span := c.tracer.Start(context.Background(), "checkout")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	url := c.url
	if giveUp {
		url += givenUp
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			WroteRequest: func(httptrace.WroteRequestInfo) { cancel() },
		})
	}
	begin := time.Now()
	err := c.get(ctx, url)
	if err != nil {
		span.SetStatus(codes.Error, "checkout is incomplete")
	}
	span.End() // within the time: what it costs is part of the price
	c.account.note(time.Since(begin), giveUp, err)
}

// get makes the request and reads the answer to its end.
func (c *client) get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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
		return fmt.Errorf("%w %d", errBadStatus, res.StatusCode)
	}
	return nil
}

// account is what a client knows of its calls.
type account struct {
	mu    sync.Mutex
	total Totals
	bell  bell.Bell // rung at each

	// Since the last reset.
	calls    int
	answered []time.Duration
	longest  time.Duration
}

func (a *account) note(took time.Duration, gaveUp bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		a.total.Success++
		a.answered = append(a.answered, took)
	case errors.Is(err, errBadStatus):
		a.total.Failure++
		a.answered = append(a.answered, took)
	case errors.Is(err, breaker.ErrOpen):
		a.total.Blocked++
	case gaveUp && errors.Is(err, context.Canceled):
		a.total.Ignored++
	default:
		a.total.Failure++
		if len(a.total.Unexpected) < maxUnexpected {
			a.total.Unexpected = append(a.total.Unexpected, err.Error())
		}
	}
	a.longest = max(a.longest, took)
	a.calls++
	a.bell.Ring()
}

func (a *account) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls, a.answered, a.longest = 0, nil, 0
}

// reaches waits until there were so many calls since the last reset.
func (a *account) reaches(calls int) error {
	return until(&a.bell, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.calls >= calls
	})
}

func (a *account) latency() (calls int, l Latency) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls, latencyOf(slices.Clone(a.answered), a.longest)
}

func (a *account) totals() Totals {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.total
	t.Unexpected = slices.Clone(t.Unexpected)
	return t
}
