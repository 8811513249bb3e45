package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// errVerdict is what prove gives where a check has failed; what is wrong has been said.
var errVerdict = errors.New("the signals do not tell what happened")

// prove plays the scripted outage once and then holds what the signals say against what the client knows.
func (a *app) prove() error {
	ctx, cancel := context.WithTimeoutCause(a.running, a.deadline,
		fmt.Errorf("the outage did not run its course within %v", a.deadline))
	defer cancel()
	own := newOutputs(a.url())

	var (
		state        gauge
		watching     sync.WaitGroup
		stopWatching = make(chan struct{})
	)
	watching.Go(func() { state.watch(ctx, stopWatching, own, a.records, a.poll, a.services[0]) })
	a.script.sawOpen = state.sawOpen
	a.load()
	err := a.script.play(ctx)
	close(a.stopLoad)
	a.loading.Wait()
	close(stopWatching)
	watching.Wait()
	seen, watchErr := state.result()
	if err := errors.Join(err, watchErr, a.flush(ctx)); err != nil {
		return err
	}
	s, err := a.story(ctx, own)
	if err != nil {
		return err
	}
	s.states = seen

	fmt.Fprintf(a.out, "\nDo the signals tell what happened? As the client counted %d calls:\n\n", s.total())
	if !report(a.out, verify(s)) {
		return errVerdict
	}
	fmt.Fprintf(a.out, "\nThey do. It took %.1f s.\n", time.Since(a.started).Seconds())
	return nil
}

// story puts together what was seen, once all is quiet.
func (a *app) story(ctx context.Context, own outputs) (s story, err error) {
	s = story{
		target: a.services[0], threshold: failureThreshold, recovery: a.recovery,
		endpoints: make(map[string]string), calls: make(map[string][]call),
		records: a.records.after(0),
	}
	for _, d := range a.deps {
		s.endpoints[d.client.name] = d.upstream.URL()
		s.calls[d.client.name] = d.client.all()
	}
	if s.metrics, err = own.metrics(ctx); err != nil {
		return s, err
	}
	if len(s.metrics) == 0 {
		return s, errors.New("/metrics is empty; do OTEL_METRICS_EXPORTER or OTEL_SDK_DISABLED turn it off?")
	}
	s.health, err = own.health(ctx)
	return s, err
}

func (s story) total() (n int) {
	for _, calls := range s.calls {
		n += len(calls)
	}
	return n
}
