package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds the wait for anything of the stack.
const patience = 90 * time.Second

// command is the stack as `make stack` runs it, but on free ports.
type command struct {
	*exec.Cmd
	temp   string // in which it has its folder
	output buffer
	ended  chan error
}

func start(t *testing.T, args ...string) *command {
	t.Helper()
	bin := filepath.Join("..", "..", ".bin")
	c := &command{temp: t.TempDir(), ended: make(chan error, 1)}
	for program, module := range map[string]string{"demo": filepath.Join("..", ".."), "stack": ".."} {
		folder := map[string]string{"demo": "./cmd/demo", "stack": "./stack"}[program]
		absolute, err := filepath.Abs(filepath.Join(bin, program))
		if err != nil {
			t.Fatal(err)
		}
		build := exec.CommandContext(t.Context(), "go", "build", "-C", module, "-o", absolute, folder)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("building %s: %v\n%s", program, err, out)
		}
	}
	c.Cmd = exec.Command(filepath.Join(bin, "stack"), append([]string{"-free"}, args...)...)
	c.Env = append(os.Environ(), "TMPDIR="+c.temp)
	c.Stdout, c.Stderr = &c.output, &c.output
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.ended <- c.Wait() }()
	t.Cleanup(func() { _ = c.Process.Kill() }) // does nothing to one that has ended
	waitFor(t, "the stack", func() error {
		select {
		case err := <-c.ended:
			t.Fatalf("it has ended: %v\n%s", err, c.output.String())
		default:
		}
		if !strings.Contains(c.output.String(), "Ctrl-C ends it all") {
			return fmt.Errorf("not ready:\n%s", c.output.String())
		}
		return nil
	})
	return c
}

// address is what is told of a program.
func (c *command) address(t *testing.T, program string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^  ` + program + ` +(http://[0-9.:]+)`).FindStringSubmatch(c.output.String())
	if found == nil {
		t.Fatalf("the address of %s is not told:\n%s", program, c.output.String())
	}
	return found[1]
}

// children are the processes that it has started and that run.
func (c *command) children(t *testing.T) (pids map[string]int) {
	t.Helper()
	pids = make(map[string]int)
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, stat := range stats {
		content, err := os.ReadFile(stat) // it may have ended meanwhile
		if err != nil {
			continue
		}
		// pid (name) state parent …
		before, after, _ := strings.Cut(string(content), ") ")
		id, name, _ := strings.Cut(before, " (")
		fields := strings.Fields(after)
		if len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(c.Process.Pid) {
			continue
		}
		if pids[name], err = strconv.Atoi(id); err != nil {
			t.Fatal(err)
		}
	}
	return pids
}

// left fails if anything is: a process of those that ran, or a folder.
func (c *command) left(t *testing.T, ran map[string]int) {
	t.Helper()
	for name, pid := range ran {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("%s still runs", name)
		}
	}
	entries, err := os.ReadDir(c.temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "otelbreaker-") {
			t.Errorf("the folder %s is left", entry.Name())
		}
	}
}

// TestStack_Whole: by both routes, what the demo does arrives everywhere, once; and an interrupt ends everything and
// leaves nothing behind.
func TestStack_Whole(t *testing.T) {
	for _, route := range []string{byScrape, byOTLP} {
		t.Run(route, func(t *testing.T) {
			c := start(t, "-route", route)
			ran := c.children(t)
			for _, name := range []string{"otelcol", "prometheus", "alertmanager", "loki", "jaeger", "demo"} {
				if ran[name] == 0 {
					t.Errorf("%s does not run: %v", name, ran)
				}
			}
			ask := func(program, path string, query url.Values, want string) {
				t.Helper()
				address := c.address(t, program) + path + "?" + query.Encode()
				waitFor(t, want+" at "+address, func() error {
					if answer := get(t, address); !strings.Contains(answer, want) {
						return fmt.Errorf("got %.500s", answer)
					}
					return nil
				})
			}
			// Three breakers, each of which is there once.
			ask("Prometheus", "/api/v1/query", url.Values{"query": {"count(circuit_breaker_state)"}}, `,"3"]`)
			ask("Prometheus", "/api/v1/rules", nil, "CircuitBreakerOpen")
			ask("Prometheus", "/api/v1/alertmanagers", nil, strings.TrimPrefix(c.address(t, "Alertmanager"), "http://"))
			ask("Alertmanager", "/api/v2/status", nil, "circuit_breaker")
			ask("Loki", "/loki/api/v1/query_range", url.Values{"query": {`{service_name="otelbreaker-demo"} | event_type="circuit_opened"`}}, "outage_id")
			ask("Jaeger", "/api/v3/services", nil, "otelbreaker-demo")
			ask("demo", "/health/circuit-breakers", nil, "payments")

			if err := c.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if err := c.wait(t); err != nil {
				t.Errorf("after an interrupt it ended with: %v\n%s", err, c.output.String())
			}
			c.left(t, ran)
		})
	}
}

// TestStack_ChildDies: it says which, with its last words, and ends the others.
func TestStack_ChildDies(t *testing.T) {
	c := start(t)
	ran := c.children(t)
	if err := syscall.Kill(ran["loki"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := c.wait(t); err == nil {
		t.Error("it ended well")
	}
	if said := c.output.String(); !strings.Contains(said, "Loki has ended by itself: signal: killed; its last lines:") {
		t.Errorf("it did not say what happened:\n%s", said)
	}
	c.left(t, ran)
}

func TestParse(t *testing.T) {
	var said bytes.Buffer
	if code := run(t.Context(), t.Context(), []string{"-route", "pigeon", "extra"}, &said, &said); code != 2 ||
		!strings.Contains(said.String(), `-route is "pigeon": allowed is scrape or otlp`) || !strings.Contains(said.String(), `"extra"`) {
		t.Errorf("exit code %d: %s", code, said.String())
	}
}

func (c *command) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-c.ended:
		return err
	case <-time.After(patience):
		t.Fatalf("it has not ended:\n%s", c.output.String())
		return nil
	}
}

// waitFor polls until done has no error.
func waitFor(t *testing.T, what string, done func() error) {
	t.Helper()
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	timeout := time.After(patience)
	for {
		err := done()
		if err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-timeout:
			t.Fatalf("no %s within %v: %v", what, patience, err)
		}
	}
}

// get returns what a page answers, whatever its status, or what went wrong.
func get(t *testing.T, address string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// buffer is one that can be read while it is written.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
