package redis_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	peer "github.com/redis/go-redis/v9"

	"github.com/otelbreaker/otelbreaker/fleet"
	"github.com/otelbreaker/otelbreaker/fleet/redis"
)

// server is a real one, of this test alone.
type server struct {
	address string
	folder  string
	args    []string
	process *exec.Cmd
	output  *strings.Builder
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// startServer starts one with what is further to be in its command line; "--port 0" switches its plain port off.
func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	path := os.Getenv("REDIS_SERVER")
	if path == "" {
		path = "redis-server"
	}
	if _, err := exec.LookPath(path); err != nil {
		t.Fatalf("there is no redis-server: %v; `make redis` installs it as root, REDIS_SERVER names another", err)
	}
	port := freePort(t)
	s := &server{address: net.JoinHostPort("127.0.0.1", port), folder: t.TempDir(), output: new(strings.Builder)}
	s.args = append([]string{path, "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", s.folder}, args...)
	s.start(t)
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the server of %s said:\n%s", s.address, s.output)
		}
	})
	return s
}

func (s *server) start(t *testing.T) {
	t.Helper()
	s.process = exec.Command(s.args[0], s.args[1:]...) //nolint:gosec // the server under test
	s.process.Stdout, s.process.Stderr = s.output, s.output
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) { // it tells nobody when it listens
		if c, err := net.Dial("tcp", s.address); err == nil {
			_ = c.Close()
			return
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatal("redis-server does not listen")
		}
	}
}

func (s *server) kill() {
	_ = s.process.Process.Signal(syscall.SIGCONT)
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

func (s *server) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// client gives one of its own, with change made to its options.
func (s *server) client(t *testing.T, change ...func(*peer.Options)) *peer.Client {
	t.Helper()
	o := &peer.Options{Addr: s.address, ContextTimeoutEnabled: true}
	for _, c := range change {
		c(o)
	}
	client := peer.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func engine(t *testing.T, client peer.UniversalClient) fleet.Engine {
	t.Helper()
	e, err := redis.New(client)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// watching is a watch that goes on.
type watching struct {
	changes chan fleet.Change
	ended   chan error
}

func watch(t *testing.T, e fleet.Engine) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{changes: make(chan fleet.Change, 10_000), ended: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.ended <- e.Watch(ctx, "v1.", func(c fleet.Change) { w.changes <- c })
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	w.await(t, fleet.Synced, "", "")
	return w
}

// await passes over changes until this one comes.
func (w *watching) await(t *testing.T, kind fleet.Kind, key, value string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case c := <-w.changes:
			if c.Kind == kind && c.Key == key && string(c.Value) == value {
				return
			}
		case err := <-w.ended:
			t.Fatalf("the watch ended before %v of %q: %v", kind, key, err)
		case <-timeout:
			t.Fatalf("%v of %q did not come", kind, key)
		}
	}
}

func (w *watching) awaitEnd(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("the watch goes on")
		return nil
	}
}

func put(t *testing.T, e fleet.Engine, key, value string) {
	t.Helper()
	if err := e.Put(t.Context(), key, []byte(value), time.Minute); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
