// Package child is for programs that a test runs beside itself and tells what to do by net/rpc, over their standard input
// and output.
package child

import (
	"context"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience bounds the wait for a program to end.
const patience = 15 * time.Second

// conn is a connection over two pipes. Closing it closes the writing one.
type conn struct {
	io.Reader
	io.WriteCloser
}

// Serve is for the program: it lets receiver be told what to do, until standard input ends.
func Serve(receiver any) error {
	server := rpc.NewServer()
	if err := server.Register(receiver); err != nil {
		return err
	}
	server.ServeConn(conn{os.Stdin, os.Stdout})
	return nil
}

// Build builds a program, named as for go build, and returns its path.
func Build(t testing.TB, name string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "program")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, name).CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, out)
	}
	return binary
}

// Start starts a program with nothing but env in its environment. It ends when the test does, and has to end well.
func Start(t testing.TB, binary string, env []string, arguments ...string) *rpc.Client {
	t.Helper()
	return Launch(t, binary, env, arguments...).Client
}

// Process is a running program, for a test in which it ends before the test does. Its methods are for one goroutine.
type Process struct {
	*rpc.Client

	command *exec.Cmd
	ended   bool
}

// Launch is Start for a program that End or Kill may end earlier.
func Launch(t testing.TB, binary string, env []string, arguments ...string) *Process {
	t.Helper()
	p := &Process{command: exec.CommandContext(context.WithoutCancel(t.Context()), binary, arguments...)} // a cleanup ends it
	p.command.Env = env
	p.command.Stderr = os.Stderr
	in, err := p.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	p.Client = rpc.NewClient(conn{out, in})
	t.Cleanup(func() { p.End(t) })
	return p
}

// PID is the program's number.
func (p *Process) PID() int { return p.command.Process.Pid }

// End ends the program, which has to end well, as at the end of the test. A second time does nothing.
func (p *Process) End(t testing.TB) {
	t.Helper()
	if p.ended {
		return
	}
	p.ended = true
	_ = p.Close() // ends its standard input, and with it the process
	giveUp := time.AfterFunc(patience, func() { _ = p.command.Process.Kill() })
	defer giveUp.Stop()
	if err := p.command.Wait(); err != nil {
		t.Errorf("%q ended with: %v", p.command.Args, err)
	}
}

// Kill ends the program by SIGKILL: it has no time to send or to say anything.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.ended = true
	if err := p.command.Process.Kill(); err != nil {
		t.Errorf("killing %q: %v", p.command.Args, err)
	}
	_ = p.command.Wait() // says that it was killed
	_ = p.Close()        // its pipes are gone
}
