package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 15 * time.Second
)

// process is a program that a test has started.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended; exit is set before
	exit   error
	output output
}

// run starts a program. It has nothing of this process's environment: the OTEL_* variables that a test
// sets for its own SDK would reach the program's.
func (p *process) run(t testing.TB, env []string, binary string, args ...string) error {
	t.Helper()
	p.cmd = exec.CommandContext(lifetime(t), binary, args...)
	p.cmd.Env = append([]string{}, env...) // not nil, which would stand for this process's
	p.cmd.Stdout = &p.output
	p.cmd.Stderr = &p.output
	p.exited = make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		p.exit = p.cmd.Wait()
		close(p.exited)
	}()
	return nil
}

// lifetime ends when the time for the whole test binary is nearly up. It would otherwise end without a
// cleanup, and leave the process running.
func lifetime(t testing.TB) context.Context {
	t.Helper()
	limited, ok := t.(interface{ Deadline() (time.Time, bool) }) // a benchmark is not
	if !ok {
		return context.Background()
	}
	deadline, ok := limited.Deadline()
	if !ok {
		return context.Background()
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline.Add(-time.Second))
	t.Cleanup(cancel) // after the cleanup that stops the process, which is registered later
	return ctx
}

// stopAtEnd stops the process when the test ends, and shows its output if the test has failed.
func (p *process) stopAtEnd(t testing.TB, name string) {
	t.Helper()
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("stopping %s: %v", name, err)
		}
		if t.Failed() {
			t.Logf("the output of %s:\n%s", name, p.output.String())
		}
	})
}

// waitFor polls until ready returns no error.
func (p *process) waitFor(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-poll.C:
		case <-p.exited:
			return fmt.Errorf("it ended before it was ready: %w", p.exit)
		case <-ctx.Done():
			return fmt.Errorf("not ready after %v: %w", startTimeout, err)
		}
	}
}

// Stop ends the process as an operator would, by SIGTERM, so that it first passes on all that it holds.
// Stopping twice is harmless. An error means that it did not end, or not cleanly.
func (p *process) Stop() error {
	select {
	case <-p.exited:
		return p.exit
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(err, p.kill())
	}
	select {
	case <-p.exited:
		return p.exit
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("still running %v after SIGTERM", stopTimeout), p.kill())
	}
}

func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	<-p.exited
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Output returns what the process has printed so far.
func (p *process) Output() string { return p.output.String() }

func get(ctx context.Context, url, accept string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return body, err
}

// output keeps what the process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
