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

// process is a program that was started.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended; exit is set before
	exit   error
	output output
	echo   io.Writer // has what it says on standard output, too; may be nil

	// impatient is how long it has to end, after which it is killed and nothing is wrong with that; 0: it has to end by
	// itself.
	impatient time.Duration
}

// run starts a program. It has nothing of this process's environment: the OTEL_* variables that a test
// sets for its own SDK would reach the program's.
func (p *process) run(s *Site, env []string, binary string, args ...string) error {
	p.cmd = exec.CommandContext(s.Life, binary, args...)
	p.cmd.Env = append([]string{}, env...) // not nil, which would stand for this process's
	p.cmd.Dir = s.Dir
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if p.echo != nil {
		p.cmd.Stdout = io.MultiWriter(&p.output, p.echo)
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: s.Apart}
	return p.start()
}

// rerun starts the same program again, with all that it had.
func (p *process) rerun(life context.Context) error {
	old := p.cmd
	p.cmd = exec.CommandContext(life, old.Path, old.Args[1:]...)
	p.cmd.Env, p.cmd.Dir, p.cmd.SysProcAttr = old.Env, old.Dir, old.SysProcAttr
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	return p.start()
}

func (p *process) start() error {
	p.exited = make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		p.exit = err
		close(p.exited)
		return err
	}
	go func() {
		p.exit = p.cmd.Wait()
		close(p.exited)
	}()
	return nil
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

// waitFor polls until ready returns no error. Where it never does, the process is killed.
func (p *process) waitFor(parent context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(parent, startTimeout)
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
			if parent.Err() != nil {
				return errors.Join(parent.Err(), p.kill())
			}
			return errors.Join(fmt.Errorf("not ready after %v: %w", startTimeout, err), p.kill())
		}
	}
}

// waitPage polls a page until it answers 200.
func (p *process) waitPage(ctx context.Context, url string) error {
	return p.waitFor(ctx, func(ctx context.Context) error {
		_, err := get(ctx, url, "")
		return err
	})
}

// Exited is closed when the process has ended, for whatever reason.
func (p *process) Exited() <-chan struct{} { return p.exited }

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
	limit := stopTimeout
	if p.impatient > 0 {
		limit = p.impatient
	}
	select {
	case <-p.exited:
		return p.exit
	case <-time.After(limit):
	}
	err := p.kill()
	if p.impatient > 0 {
		p.exit = err // as it was meant to end; whoever reads it has seen exited closed before
		return err
	}
	return errors.Join(fmt.Errorf("still running %v after SIGTERM", limit), err)
}

func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	<-p.exited
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// PID is the process's number.
func (p *process) PID() int { return p.cmd.Process.Pid }

// Pause has the process stand still, as one does that waits for a disk, until Resume. Its connections stay.
func (p *process) Pause(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGSTOP)
}

// Resume has the process go on after Pause.
func (p *process) Resume(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGCONT)
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%v to process %d: %v", s, p.PID(), err)
	}
}

// Output returns what the process has printed so far.
func (p *process) Output() string { return p.output.String() }

func get(ctx context.Context, url, accept string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
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
		err = fmt.Errorf("GET %s: %s: %.200s", url, resp.Status, body)
	}
	return body, err
}

// keptOutput is how much of its output is kept of a process, at least.
const keptOutput = 8 << 20

// output keeps what the process prints, of a long life the newest.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.buf.Len() > 2*keptOutput {
		o.buf.Next(o.buf.Len() - keptOutput)
	}
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
