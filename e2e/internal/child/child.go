// Package child is for programs that a test runs beside itself and tells what to do by net/rpc, over their standard input
// and output.
package child

import (
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
	command := exec.Command(binary, arguments...)
	command.Env = env
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	client := rpc.NewClient(conn{out, in})
	t.Cleanup(func() {
		_ = client.Close() // ends its standard input, and with it the process
		giveUp := time.AfterFunc(patience, func() { _ = command.Process.Kill() })
		defer giveUp.Stop()
		if err := command.Wait(); err != nil {
			t.Errorf("%s %q ended with: %v", binary, arguments, err)
		}
	})
	return client
}
