package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/cmd/demo/internal/faulty"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/control"
	"github.com/otelbreaker/otelbreaker/health"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/notify"
	"github.com/otelbreaker/otelbreaker/transport"
)

// settings are what main fills in from the command line and tests shorten.
type settings struct {
	listen string
	once   bool
	rate   int // calls a second of each dependency

	token, tokenFile string // who may operate the breakers; empty: nobody
	slackFile        string // has the webhook that is told of outages; empty: none is

	services []string // to be called; the first has the scripted outage

	recovery time.Duration // open this long before a probe
	calm     time.Duration // healthy time before and after the scripted outage
	timeout  time.Duration // of a call
	slow     time.Duration // a call that takes longer is slow
	poll     time.Duration // between two looks at the state gauge, once
	deadline time.Duration // of the scripted outage, once
	ending   time.Duration // the longest that the end may take

	out io.Writer // what is said to people
	log io.Writer // lines of JSON
}

const (
	failureThreshold = 5
	stripLength      = 60  // calls that the page shows of each dependency
	keptRecords      = 100 // that the page shows
	giveUpEvery      = 25  // so many callers of the last service, one leaves before the answer
)

// dependency is a service that is called, and the way to it.
type dependency struct {
	upstream  *faulty.Server
	client    *client
	transport *transport.Transport
}

// app is the whole demo: a few dependencies, a client that calls them through circuit breakers, and what it all shows.
type app struct {
	settings
	run      string // tells this run from an earlier one
	started  time.Time
	listener net.Listener
	pipeline *collector.Pipeline
	records  *recorder
	past     past
	board    *board // nil: once, when nobody looks
	logger   *slog.Logger
	deps     []*dependency
	script   *script
	slack    *notify.Slack // nil: nobody is told
	control  http.Handler  // nil: there is no token
	server   *http.Server

	saying   sync.Mutex
	stopLoad chan struct{}
	loading  sync.WaitGroup
	serving  sync.WaitGroup  // what the page has going
	running  context.Context // ends with the demo
	cancel   context.CancelFunc
}

// start brings everything up but the load. On an error nothing is left running.
func start(ctx context.Context, s settings) (_ *app, err error) {
	a := &app{settings: s, run: rand.Text(), started: time.Now(), stopLoad: make(chan struct{})}
	a.running, a.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			_ = a.stop() // the first error is the one to tell
		}
	}()
	if a.listener, err = listen(ctx, s.listen); err != nil {
		return nil, err
	}
	kept := keptRecords
	if s.once {
		kept = 0
	}
	a.records = newRecorder(s.log, kept)
	a.records.told = func(r record) {
		a.past.note(r)
		a.tell(r)
	}
	a.logger = slog.New(slog.NewJSONHandler(a.records, nil))
	a.pipeline, err = collector.Start(ctx, collector.WithServiceName("otelbreaker-demo"), collector.WithLogger(a.logger))
	if err != nil {
		return nil, err
	}
	if err := a.tellSlack(); err != nil {
		return nil, err
	}
	for _, name := range s.services {
		if err := a.depend(ctx, name); err != nil {
			return nil, err
		}
	}
	a.deps[len(a.deps)-1].client.giveUpEvery = giveUpEvery
	a.script = &script{
		stage: &stage{target: a.deps[0].client, upstream: a.deps[0].upstream, records: a.records, say: a.say},
		calm:  s.calm, before: a.mendAll,
	}
	if a.control, err = a.controls(); err != nil {
		return nil, err
	}
	if !a.once {
		if a.board, err = newBoard(ctx, a); err != nil {
			return nil, err
		}
		a.serving.Go(func() { a.board.run(a.running) })
	}
	a.serve()
	return a, nil
}

// controls lets operators take the breakers over, if there is a token to know them by.
func (a *app) controls() (http.Handler, error) {
	options := []control.Option{control.WithSlog(a.logger)}
	if a.tokenFile != "" {
		options = append(options, control.WithTokenFile(a.tokenFile))
	}
	if a.token != "" {
		options = append(options, control.WithToken("operator", a.token))
	}
	if len(options) == 1 || a.once { // nobody shall have a hand in what is to be proved
		return nil, nil
	}
	var groups []control.Source
	for _, d := range a.deps {
		groups = append(groups, d.transport.Breakers())
	}
	return control.Handler(groups, options...)
}

// tellSlack has a channel be told of outages, if there is a webhook to tell it by.
func (a *app) tellSlack() error {
	if a.slackFile == "" {
		return nil
	}
	webhook, err := os.ReadFile(a.slackFile)
	if err != nil {
		return fmt.Errorf("--slack-webhook-file: %w", err)
	}
	a.slack, err = notify.NewSlack(strings.TrimSpace(string(webhook)))
	return err
}

// depend brings up a dependency and the client for it.
func (a *app) depend(ctx context.Context, name string) error {
	up, err := faulty.Start(ctx, name, 2*a.slow, nil)
	if err != nil {
		return err
	}
	d := &dependency{upstream: up}
	a.deps = append(a.deps, d)
	d.client, d.transport, err = newClient(name, up.URL(), breaker.Config{
		Service:          name,
		FailureThreshold: failureThreshold,
		SlowCallRate:     0.8,
		SlowCallDuration: a.slow,
		WindowCalls:      20,
		RecoveryTimeout:  a.recovery,
	}, a.timeout, a.listeners()...)
	if err != nil {
		return err
	}
	if !a.once {
		d.client.keep = stripLength
	}
	d.transport.Breakers().Subscribe(logs.NewListener(logs.WithSlog(a.logger)))
	a.past.begin(name, d.breaker().State().String(), a.started) // made now, so that it shows before the first call
	return nil
}

// listeners are those of every breaker, besides its log.
func (a *app) listeners() []breaker.Listener {
	if a.slack == nil {
		return nil
	}
	return []breaker.Listener{a.slack}
}

func (d *dependency) breaker() *breaker.Breaker { return d.transport.Breakers().Get(d.upstream.URL()) }

// serve answers on the listener.
func (a *app) serve() {
	var groups []health.Source
	for _, d := range a.deps {
		groups = append(groups, d.transport.Breakers())
	}
	a.server = &http.Server{
		Handler:           a.routes(health.Handler(groups...)),
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      30 * time.Second, // but for the event streams, which set their own
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    1 << 16,
		BaseContext:       func(net.Listener) context.Context { return a.running }, // ends the event streams
		ErrorLog:          slog.NewLogLogger(a.logger.Handler(), slog.LevelWarn),
	}
	a.serving.Go(func() {
		if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
			a.logger.Error("the page is no longer served", "error", err.Error())
		}
	})
}

// load begins to call the dependencies.
func (a *app) load() {
	for _, d := range a.deps {
		a.loading.Go(func() { d.client.run(a.running, a.stopLoad, time.Second/time.Duration(a.rate)) })
	}
}

// play shows the demo until its context ends.
func (a *app) play() {
	a.load()
	a.perform()
	<-a.running.Done()
	a.say("ending")
}

// perform plays the scripted outage.
func (a *app) perform() {
	switch err := a.script.play(a.running); {
	case errors.Is(err, errPlaying): // two clicks came together
	case err == nil:
		a.say("the outage is over; switch faults on the page, end with Ctrl-C")
	case errors.Is(err, errTakenOver):
		a.say("somebody has taken over on the page")
	case a.running.Err() == nil:
		a.say("the scripted outage has ended early: %v", err)
	}
}

// mendAll makes every dependency healthy.
func (a *app) mendAll() {
	for _, d := range a.deps {
		if err := d.upstream.Set(a.running, faulty.None); err != nil {
			a.logger.Error("a dependency stays as it is", "service", d.client.name, "error", err.Error())
		}
	}
}

// flush waits until the breakers' listeners have been told everything.
func (a *app) flush(ctx context.Context) error {
	for _, d := range a.deps {
		if err := d.breaker().Flush(ctx); err != nil {
			return fmt.Errorf("the events of %s were not delivered: %w", d.client.name, err)
		}
	}
	return nil
}

// stop ends everything, bounded in time, and sends off what telemetry is left. The error tells what was lost.
func (a *app) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), a.ending)
	defer cancel()
	a.cancel()
	a.loading.Wait() // calls under way end with the context
	var errs []error
	if a.server != nil {
		closing, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if a.server.Shutdown(closing) != nil {
			_ = a.server.Close() // somebody is still reading; enough is enough
		}
	} else if a.listener != nil {
		_ = a.listener.Close()
	}
	a.serving.Wait()
	for _, d := range a.deps {
		d.upstream.Close()
	}
	if a.script != nil {
		errs = append(errs, a.flush(ctx))
	}
	if a.slack != nil {
		closing, cancel := context.WithTimeout(ctx, a.ending/2) // the rest is for the telemetry
		defer cancel()
		errs = append(errs, a.slack.Close(closing))
	}
	if a.pipeline != nil {
		errs = append(errs, a.pipeline.Shutdown(ctx))
	}
	for _, d := range a.deps {
		if d.transport != nil {
			errs = append(errs, d.transport.Close()) // last: from now on its metrics are gone
			d.client.base.CloseIdleConnections()
		}
	}
	return errors.Join(errs...)
}

// say tells people something, with the time since the start.
func (a *app) say(format string, args ...any) {
	a.saying.Lock()
	defer a.saying.Unlock()
	fmt.Fprintf(a.out, "%6.1f s  %s\n", time.Since(a.started).Seconds(), fmt.Sprintf(format, args...))
}

// tell says what a record says.
func (a *app) tell(r record) {
	line := fmt.Sprintf("%s: %s -> %s, %s", r.Service, r.OldState, r.NewState, r.why())
	if r.RecoveryDuration != nil {
		line += fmt.Sprintf("; recovered after %.1f s", *r.RecoveryDuration)
	}
	if r.TraceID != "" {
		line += "; trace " + r.TraceID
	}
	a.say("%s", line)
}
