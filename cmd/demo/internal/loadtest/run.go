package loadtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/cmd/demo/internal/faulty"
	"github.com/otelbreaker/otelbreaker/internal/redact"
	"github.com/otelbreaker/otelbreaker/transport"
)

// Run runs a load test and says to out how it goes. The end of ctx ends it early: no further request is made, those under
// way are over by their timeout, and there is a report all the same. An error means that there could be none.
func Run(ctx context.Context, s Settings, out io.Writer) (*Report, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return run(ctx, s, reach{remote: s.AllowRemote}, out)
}

func run(ctx context.Context, s Settings, r reach, out io.Writer) (*Report, error) {
	plot, _ := find(s.Scenario)
	base := r.transport(s.Concurrency)
	defer base.CloseIdleConnections()
	st := stage{plot: plot, base: base, redirect: r.redirect, set: func(context.Context, faulty.Fault) error { return nil }}
	var proxied http.Handler
	if s.URL != "" {
		target, err := parseTarget(s.URL)
		if err != nil {
			return nil, err
		}
		if err := r.allows(ctx, target.Hostname()); err != nil {
			return nil, fmt.Errorf("--url: %w", err)
		}
		st.target, st.url = target, target
		if !plot.healthy() {
			behind := r.transport(s.Concurrency)
			defer behind.CloseIdleConnections()
			proxied = faulty.Proxy(target, behind)
		}
	}
	if st.target == nil || proxied != nil {
		up, err := faulty.Start(ctx, "upstream", s.slowAnswer(), proxied)
		if err != nil {
			return nil, err
		}
		defer up.Close()
		st.set = up.Set
		st.stands(up.URL())
	}
	return st.drive(ctx, s, out)
}

// stage is what a load test goes against.
type stage struct {
	plot     plot
	target   *url.URL // what is called, in the eyes of people
	url      *url.URL // where requests go: to the target, or to the proxy before it
	base     http.RoundTripper
	redirect func(*http.Request, []*http.Request) error
	set      func(context.Context, faulty.Fault) error
}

// stands puts the server with the faults in the target's place.
func (st *stage) stands(address string) {
	at, err := url.Parse(address)
	if err != nil {
		panic(err) // it is our own, http://127.0.0.1:port
	}
	if st.target == nil {
		at.Path = "/"
		st.target, st.url = at, at
		return
	}
	through := *st.target
	through.Scheme, through.Host = at.Scheme, at.Host
	st.url = &through
}

// guard gives the round tripper with the breakers in it, set up as README shows.
func (st *stage) guard(config breaker.Config, listener breaker.Listener) (*transport.Transport, error) {
	options := []transport.Option{transport.WithListeners(listener)}
	if st.url != st.target { // the proxy's breaker goes by the name of what is behind it
		proxy, name := st.url.Host, (&url.URL{Scheme: st.target.Scheme, Host: strings.ToLower(st.target.Host)}).String()
		options = append(options, transport.WithKey(func(req *http.Request) string {
			if req.URL.Host == proxy {
				return name
			}
			return (&url.URL{Scheme: req.URL.Scheme, Host: strings.ToLower(req.URL.Host)}).String()
		}))
	}
	return transport.New(otelhttp.NewTransport(transport.RedactURL(st.base)), append(options, transport.WithConfig(config))...)
}

// drive makes the load, with the faults of the plot, and reports.
func (st *stage) drive(ctx context.Context, s Settings, out io.Writer) (*Report, error) {
	said := &progress{out: out}
	told := &chronicle{out: said, began: time.Now()}
	guarded, err := st.guard(s.Breaker, told)
	if err != nil {
		return nil, err
	}
	defer guarded.Close()
	account := newAccount(guarded)
	attacker := vegeta.NewAttacker(
		vegeta.Client(&http.Client{Transport: account, Timeout: s.Timeout, CheckRedirect: st.redirect}),
		vegeta.Workers(uint64(s.Concurrency)), vegeta.MaxWorkers(uint64(s.Concurrency)), vegeta.MaxBody(0))
	target := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodGet, URL: st.url.String()})
	report := &Report{
		Version: 1, Target: redact.Of(st.target), OwnUpstream: s.URL == "", Scenario: st.plot.name, Started: told.began.UTC(), Phases: []Phase{},
		Settings: Plan{Rate: s.Rate, Concurrency: s.Concurrency, For: s.For.Seconds(), Timeout: s.Timeout.Seconds(), Breaker: s.Breaker},
	}

	playing, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		script   sync.WaitGroup
		broken   error
		attacked = s.For
		results  = attacker.Attack(target, vegeta.ConstantPacer{Freq: s.Rate, Per: time.Second}, s.For, "")
	)
	stop := context.AfterFunc(ctx, func() { attacker.Stop() })
	defer stop()
	script.Go(func() {
		err := st.plot.play(playing, told.began, s.For, st.set, func(p Phase) {
			report.Phases = append(report.Phases, p)
			said.say(time.Since(told.began), "the dependency is at %q", p.Fault)
		})
		if err != nil && playing.Err() == nil { // not just because the test is over
			broken = err
			attacker.Stop()
		}
	})
	sums := st.follow(results, account, said, told.began, s)
	report.Duration = time.Since(told.began).Seconds()
	cancel()
	script.Wait()
	if broken != nil {
		return nil, broken
	}
	if report.Interrupted = ctx.Err() != nil && report.Duration < s.For.Seconds(); report.Interrupted {
		attacked = sums.last().Sub(told.began)
	}
	if err := flush(ctx, guarded.Breakers()); err != nil {
		return nil, err
	}
	st.complete(report, sums, account, guarded.Breakers(), told, attacked)
	report.judge(s.Expect)
	return report, nil
}

// follow takes the results as they come and says every now and then how it goes.
func (st *stage) follow(results <-chan *vegeta.Result, a *account, said *progress, began time.Time, s Settings) *tally {
	t := &tally{answers: make(map[string]uint64)}
	ticker := time.NewTicker(max(time.Second, s.For/60))
	defer ticker.Stop()
	for {
		select {
		case r, more := <-results:
			if !more {
				return t
			}
			got, made := a.take(r.Seq)
			due := began.Add(time.Duration(r.Seq+1) * time.Second / time.Duration(s.Rate))
			t.add(r, r.Timestamp.Sub(due), got, made)
		case <-ticker.C:
			r := t.requests()
			said.say(time.Since(began), "%d requests, %s answered well, %d blocked", r.Total, percent(r.Success), t.blocked.Requests)
		}
	}
}

// flush waits until the listeners have been told everything.
func flush(ctx context.Context, group *breaker.Group) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var errs []error
	for b := range group.All() {
		errs = append(errs, b.Flush(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the breaker's events were not delivered: %w", err)
	}
	return nil
}

// complete fills in what is known only at the end.
func (st *stage) complete(r *Report, sums *tally, a *account, group *breaker.Group, told *chronicle, attacked time.Duration) {
	var peak int
	r.Calls.Client, peak = a.sum()
	r.Breakers, r.Calls.Breaker = breakers(group)
	r.Calls.Agree = r.Calls.Client == r.Calls.Breaker
	r.Requests = sums.requests()
	r.Rate = sums.rate(r.Settings.Rate, r.Settings.Concurrency, peak, attacked)
	r.Latency = Latencies{Sent: latency(&sums.sent), Blocked: latency(&sums.blocked)}
	blocked := make(map[string]uint64)
	for _, b := range r.Breakers {
		blocked[b.Endpoint] = b.Blocked
	}
	r.Transitions, r.Outages = told.outages(blocked)
}
