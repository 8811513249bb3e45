package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
)

// All is the whole stack: what leaves a program comes in at the collector, or is scraped, and in the end somebody is
// paged.
type All struct {
	Collector    *Collector
	Prometheus   *Prometheus
	Alertmanager *Alertmanager
	Loki         *Loki
	Jaeger       *Jaeger

	children []Child
}

// Child is a program that was started.
type Child struct {
	Name string
	*process
}

// Wiring is what the stack is connected to.
type Wiring struct {
	Webhook  string   // where notifications are posted, in the place of Slack's
	Services []Target // to be scraped besides the collector
	Env      []string // further settings of the collector
	Flags    []string // further ones of Prometheus
}

// UpForTest is Up for a test, at whose end it is taken down.
func UpForTest(t *testing.T, w Wiring, rewrite func(name string, content []byte) ([]byte, error)) *All {
	t.Helper()
	s := siteOf(t)
	s.Rewrite = rewrite
	a, err := Up(t.Context(), s, w, func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Down(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, c := range a.children {
				t.Logf("the output of %s:\n%s", c.Name, c.Output())
			}
		}
	})
	return a
}

// Up starts all and waits until all are ready. say is told of each that is. On an error nothing is left running.
func Up(ctx context.Context, s *Site, w Wiring, say func(format string, args ...any)) (_ *All, err error) {
	a := &All{}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Down())
		}
	}()
	var (
		starting sync.WaitGroup
		errs     [3]error
	)
	// Those that need nothing of another.
	starting.Go(func() { a.Loki, errs[0] = again(func() (*Loki, error) { l := &Loki{}; return l, l.start(ctx, s) }) })
	starting.Go(func() {
		a.Jaeger, errs[1] = again(func() (*Jaeger, error) { j := &Jaeger{}; return j, j.start(ctx, s) })
	})
	starting.Go(func() {
		a.Alertmanager, errs[2] = again(func() (*Alertmanager, error) { m := &Alertmanager{}; return m, m.start(ctx, s, w.Webhook) })
	})
	starting.Wait()
	a.add("Loki", &a.Loki.process, errs[0])
	a.add("Jaeger", &a.Jaeger.process, errs[1])
	a.add("Alertmanager", &a.Alertmanager.process, errs[2])
	if err := named(errs[:], "Loki", "Jaeger", "Alertmanager"); err != nil {
		return nil, err
	}
	say("Loki, Jaeger and Alertmanager are ready")

	env := append(append(a.Loki.LogsTo(), a.Jaeger.TracesTo()...), w.Env...)
	a.Collector, err = again(func() (*Collector, error) {
		c := &Collector{}
		return c, c.start(ctx, s, env, configs(s)...)
	})
	a.add("the collector", &a.Collector.process, err)
	if err != nil {
		return nil, fmt.Errorf("starting the collector: %w", err)
	}
	say("the collector is ready")

	feeds := Feeds{
		Services:      w.Services,
		Collectors:    []Target{{Address: a.Collector.page}},
		Alertmanagers: []Target{{Address: a.Alertmanager.Address}},
		Flags:         w.Flags,
	}
	a.Prometheus, err = again(func() (*Prometheus, error) {
		p := &Prometheus{}
		return p, p.start(ctx, s, feeds)
	})
	a.add("Prometheus", &a.Prometheus.process, err)
	if err != nil {
		return nil, fmt.Errorf("starting Prometheus: %w", err)
	}
	say("Prometheus is ready")
	return a, nil
}

func named(errs []error, names ...string) error {
	var all []error
	for i, err := range errs {
		if err != nil {
			all = append(all, fmt.Errorf("starting %s: %w", names[i], err))
		}
	}
	return errors.Join(all...)
}

// add keeps a program that has been started.
func (a *All) add(name string, p *process, err error) {
	if err == nil {
		a.children = append(a.children, Child{name, p})
	}
}

// Run starts a program of the repository's own, .bin/binary, beside the stack and keeps it as a child. What it says on
// standard output goes to out as well.
func (a *All) Run(s *Site, out io.Writer, name, binary string, env []string, args ...string) (Child, error) {
	file, err := s.binary(binary)
	if err != nil {
		return Child{}, err
	}
	c := Child{name, &process{echo: out}}
	if err := c.run(s, env, file, args...); err != nil {
		return Child{}, fmt.Errorf("starting %s: %w", name, err)
	}
	a.children = append(a.children, c)
	return c, nil
}

// WaitPage waits until the child answers 200 at url.
func (c Child) WaitPage(ctx context.Context, url string) error {
	if err := c.waitPage(ctx, url); err != nil {
		return fmt.Errorf("starting %s: %w; its output:\n%s", c.Name, err, c.Output())
	}
	return nil
}

// Exit is how the child ended; nil while it runs.
func (c Child) Exit() error {
	select {
	case <-c.exited:
		return cmp.Or(c.exit, errors.New("exit status 0"))
	default:
		return nil
	}
}

// WaitAny returns the first child that ends by itself, or false when ctx ends.
func (a *All) WaitAny(ctx context.Context) (Child, bool) {
	ended := make(chan Child, len(a.children))
	for _, c := range a.children {
		go func() {
			<-c.exited
			ended <- c
		}()
	}
	select {
	case c := <-ended:
		return c, true
	case <-ctx.Done():
		return Child{}, false
	}
}

// Down stops all: what sends first, what it sends to after, so that each can still pass on what it holds. Children
// that have ended already are none of its errors.
func (a *All) Down() error {
	var errs []error
	running := a.children
	for i := len(running) - 1; i >= 0; i-- {
		c := running[i]
		if c.Exit() != nil {
			continue
		}
		if err := c.Stop(); err != nil {
			errs = append(errs, fmt.Errorf("stopping %s: %w", c.Name, err))
		}
	}
	return errors.Join(errs...)
}
