// Package incident is a service that has incidents: a program that calls dependencies through breakers all the time,
// each of which goes through its script. The pipeline, the transport and the HTTP between client and upstream are the
// real ones; time runs faster by a scale, for the scripts and the breakers alike. Package main in its folder program
// runs it; a test asks it by net/rpc what has happened.
package incident

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/collector"
	"github.com/otelbreaker/otelbreaker/transport"
)

// callsPerMinute of each dependency, in the time of the scripts.
const callsPerMinute = 12

// Plan is what a process is started with, as JSON in its argument.
type Plan struct {
	By      float64  // what the durations of scripts and breakers are multiplied by
	Route   string   // tells the endpoints of two processes apart that play the same incidents
	Listen  string   // the page of metrics, host:port
	Scripts []string // to be played, by name
	Well    []string // those of which only dependency, calls and breaker are there, and all stays well
}

// Endpoint is how the breaker of an incident is named.
func Endpoint(script, route string) string { return "http://" + script + "." + route + ".example:80" }

// Transition is one of a breaker's.
type Transition struct {
	Script, Event string // the event_type of its log record
	At            time.Time
	Trace, Outage string // empty where no call caused it
	Recovery      time.Duration
}

// Account is what has happened so far.
type Account struct {
	Transitions []Transition
	Onsets      map[string]time.Time // by script, when the trouble began that somebody should hear of
	Ended       map[string]string    // by script, how its play ended: empty as it should
	Dropped     uint64               // events that listeners were too slow for
}

// Service is the program.
type Service struct {
	plan    Plan
	tracer  trace.Tracer
	stages  []*stage
	playing sync.WaitGroup
	cancel  context.CancelFunc

	mu      sync.Mutex
	account Account
}

// Start starts the pipeline by the OTEL_* variables, the page, and the scripts. stop ends the calls and sends what is left.
func Start(ctx context.Context, plan Plan) (s *Service, stop func() error, err error) {
	pipeline, err := collector.Start(ctx)
	if err != nil {
		return nil, nil, err
	}
	running, cancel := context.WithCancel(ctx)
	s = &Service{
		plan: plan, cancel: cancel, tracer: otel.Tracer("github.com/otelbreaker/otelbreaker/e2e/internal/incident"),
		account: Account{Onsets: make(map[string]time.Time), Ended: make(map[string]string)},
	}
	for _, name := range plan.Scripts {
		script, found := scripts[name]
		if !found {
			return nil, nil, errors.Join(fmt.Errorf("no script %q", name), pipeline.Shutdown(ctx))
		}
		st, err := s.stage(name, script)
		if err != nil {
			return nil, nil, errors.Join(err, pipeline.Shutdown(ctx))
		}
		s.stages = append(s.stages, st)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", plan.Listen)
	if err != nil {
		return nil, nil, errors.Join(err, pipeline.Shutdown(ctx))
	}
	page := &http.Server{Handler: pipeline.MetricsHandler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = page.Serve(listener) }() // until it is closed
	for _, st := range s.stages {
		s.playing.Go(func() { st.keepCalling(running) })
		if slices.Contains(plan.Well, st.name) {
			continue
		}
		s.playing.Go(func() {
			how := ""
			if err := st.script.play(running, st); err != nil && running.Err() == nil {
				how = err.Error()
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.account.Ended[st.name] = how
		})
	}
	return s, func() error { return s.stop(pipeline, page) }, nil
}

func (s *Service) stop(pipeline *collector.Pipeline, page *http.Server) error {
	s.cancel()
	s.playing.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var errs []error
	for _, st := range s.stages {
		errs = append(errs, st.breaker.Flush(ctx))
	}
	errs = append(errs, pipeline.Shutdown(ctx), page.Close())
	for _, st := range s.stages {
		errs = append(errs, st.transport.Close())
		st.upstream.Close()
	}
	return errors.Join(errs...)
}

// Account tells what has happened so far, once the listeners have been told.
func (s *Service) Account(_ struct{}, account *Account) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var dropped uint64
	for _, st := range s.stages {
		if err := st.breaker.Flush(ctx); err != nil {
			return err
		}
		dropped += st.breaker.Snapshot().EventsDropped
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	*account = s.account
	account.Transitions = append([]Transition(nil), s.account.Transitions...)
	account.Dropped = dropped
	return nil
}

// stage is where a script is played: an upstream, the breaker in front of it, and a client that calls.
type stage struct {
	service   *Service
	name      string
	script    script
	upstream  *httptest.Server
	transport *transport.Transport
	breaker   *breaker.Breaker
	client    *http.Client

	failEvery atomic.Int64 // so many calls, one fails; 0: none
	calls     atomic.Int64 // that came to the upstream
	quiet     atomic.Bool  // nobody calls
	hang      atomic.Bool  // calls have no answer before their callers give up

	changes chan breaker.Event // for the script
}

func (s *Service) stage(name string, sc script) (*stage, error) {
	st := &stage{service: s, name: name, script: sc, changes: make(chan breaker.Event, 1000)}
	st.upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if st.hang.Load() {
			<-r.Context().Done()
			return
		}
		if every := st.failEvery.Load(); every > 0 && st.calls.Add(1)%every == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	config := sc.config
	config.Service = name
	config.RecoveryTimeout = s.scaled(config.RecoveryTimeout)
	config.MaxRecoveryTimeout = s.scaled(config.MaxRecoveryTimeout)
	config.ProbeTimeout = s.scaled(config.ProbeTimeout)
	endpoint := Endpoint(name, s.plan.Route)
	var err error
	st.transport, err = transport.New(otelhttp.NewTransport(http.DefaultTransport.(*http.Transport).Clone()),
		transport.WithConfig(config), transport.WithKey(func(*http.Request) string { return endpoint }))
	if err != nil {
		st.upstream.Close()
		return nil, err
	}
	st.client = &http.Client{Transport: st.transport, Timeout: 5 * time.Second}
	if sc.patient {
		st.client.Timeout = 0
	}
	st.breaker = st.transport.Breakers().Get(endpoint)
	st.breaker.Subscribe(breaker.ListenerFunc(st.onTransition))
	return st, nil
}

func (s *Service) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) * s.plan.By) }

func (st *stage) onTransition(e breaker.Event) {
	t := Transition{Script: st.name, Event: eventType(e), At: e.At, Outage: e.OutageID, Recovery: e.RecoveryDuration}
	if call := trace.SpanContextFromContext(e.Context); call.IsValid() {
		t.Trace = call.TraceID().String()
	}
	st.service.mu.Lock()
	st.service.account.Transitions = append(st.service.account.Transitions, t)
	st.service.mu.Unlock()
	st.changes <- e
}

// eventType is the event_type that the log record of a transition has to have, from docs/telemetry-logs.md.
func eventType(e breaker.Event) string {
	switch [2]breaker.State{e.From, e.To} {
	case [2]breaker.State{breaker.Closed, breaker.Open}:
		if e.Reason.Rule != "forced" {
			return "circuit_opened"
		}
	case [2]breaker.State{breaker.Open, breaker.HalfOpen}:
		return "circuit_half_open"
	case [2]breaker.State{breaker.HalfOpen, breaker.Closed}:
		return "circuit_closed"
	case [2]breaker.State{breaker.HalfOpen, breaker.Open}:
		return "circuit_reopened"
	}
	return "circuit_state_change"
}

// keepCalling makes a call each time that one is due.
func (st *stage) keepCalling(ctx context.Context) {
	due := time.NewTicker(st.service.scaled(time.Minute) / callsPerMinute)
	defer due.Stop()
	for {
		select {
		case <-due.C:
		case <-ctx.Done():
			return
		}
		switch {
		case st.quiet.Load():
		case st.script.patient:
			st.service.playing.Go(func() { st.call(ctx) })
		default:
			st.call(ctx)
		}
	}
}

func (st *stage) call(ctx context.Context) {
	ctx, span := st.service.tracer.Start(ctx, "order", trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	if err := st.get(ctx); err != nil {
		span.SetStatus(codes.Error, "not complete")
	}
}

func (st *stage) get(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, st.upstream.URL, http.NoBody)
	if err != nil {
		return err
	}
	response, err := st.client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}
