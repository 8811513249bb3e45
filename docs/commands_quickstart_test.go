package docs_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/otelbreaker/otelbreaker/internal/document"
)

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// scratch is a user's module with nothing in it yet; what it gets of ours is this tree.
func scratch(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	var mod strings.Builder
	mod.WriteString("module shop\n\ngo " + goVersion(t) + "\n\nreplace (\n")
	var sums strings.Builder
	for _, name := range []string{"", "contrib/grpcbreaker", "contrib/gobreaker", "contrib/failsafe"} {
		mod.WriteString("\t" + strings.TrimSuffix(module+name, "/") + " => " + filepath.Join(root, name) + "\n")
		sums.WriteString(read(t, filepath.Join(root, name, "go.sum"))) // or go asks the checksum database
	}
	mod.WriteString(")\n")
	for name, text := range map[string]string{"go.mod": mod.String(), "go.sum": sums.String()} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// proxy is the module proxy in use, but for our own modules: those of the tree replace them, and a release is not asked
// for.
func proxy(t *testing.T) string {
	t.Helper()
	real := goEnv(t, "GOPROXY")
	first, _, _ := strings.Cut(strings.ReplaceAll(real, "|", ","), ",")
	if !strings.HasPrefix(first, "http") {
		return "GOPROXY=" + real
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/"+strings.TrimSuffix(module, "/")) {
			http.NotFound(w, r)
			return
		}
		http.Redirect(w, r, strings.TrimSuffix(first, "/")+r.URL.Path, http.StatusFound)
	}))
	t.Cleanup(server.Close)
	return "GOPROXY=" + server.URL
}

func goVersion(t *testing.T) string {
	t.Helper()
	return regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, "../go.mod"))[1]
}

// quickStart makes the whole program of quickstart.md in an empty module as its reader would, lets it call a server that fails, and
// looks at it as that says: by itself, and shipping in the two ways of deployment.md.
func quickStart(t *testing.T, blocks []document.Block) {
	var begins, looks, ships document.Block
	shell := document.Shell{Dir: scratch(t), Env: []string{"GOFLAGS=", "GOWORK=off", proxy(t)}}
	for _, b := range blocks {
		switch first := b.Commands[0]; {
		case strings.HasPrefix(first, "go get"):
			shell.Run(t, b.Commands...)
		case strings.HasPrefix(first, "curl"):
			looks = b
		case strings.HasPrefix(first, "export"):
			ships = b
		default:
			begins = b
		}
	}

	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer failing.Close()
	address := freeAddress(t)
	_, program, _ := strings.Cut(read(t, "quickstart.md"), "```go\npackage main\n")
	program, _, _ = strings.Cut("package main\n"+program, "```")
	for from, to := range map[string]string{"127.0.0.1:8080": address, "http://127.0.0.1:9000": failing.URL} {
		if strings.Count(program, from) != 1 {
			t.Fatalf("the program does not have %s once", from)
		}
		program = strings.Replace(program, from, to, 1)
	}
	if err := os.WriteFile(filepath.Join(shell.Dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	if begins.Commands[len(begins.Commands)-1] != "go run ." {
		t.Fatalf("the program is run by %q", begins.Commands)
	}
	shell.Run(t, append(begins.Commands[:len(begins.Commands)-1:len(begins.Commands)-1], "go build -o shop .")...)

	var received [3]atomic.Int64
	paths := []string{"/v1/logs", "/v1/traces", "/v1/metrics"}
	otlp := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for i, path := range paths {
			if r.URL.Path == path {
				received[i].Add(1)
			}
		}
	}))
	defer otlp.Close()
	shell.Replace = strings.NewReplacer("127.0.0.1:8080", address, "http://127.0.0.1:4318", otlp.URL)

	for _, way := range []struct {
		name    string
		exports []string
		page    bool    // has the series
		sent    [3]bool // has been sent something: log records, spans, metrics
	}{
		{"alone", nil, true, [3]bool{}},
		{"pull", ships.Commands, true, [3]bool{true, true, false}},
		{"push", push(t, ships), false, [3]bool{true, true, true}},
	} {
		for i := range received {
			received[i].Store(0)
		}
		stop := shell.Start(t, io.Discard, append(way.exports, "exec ./shop")...)
		document.Get(t, "http://"+address+"/health/circuit-breakers", nil) // it listens
		if out, err := shell.Command(t, looks.Commands[0]).Output(); err == nil {
			t.Errorf("%s: there are series before there is a breaker:\n%s", way.name, out)
		}
		for range 6 {
			document.Get(t, "http://"+address+"/", nil)
		}
		out, _ := shell.Command(t, looks.Commands[0]).Output() // grep fails where there is nothing
		for _, want := range []string{
			`circuit_breaker_state{endpoint="` + failing.URL + `",service="payments"} 2`,
			`outcome="failure",service="payments"} 5`,
			`outcome="blocked",service="payments"} 1`,
		} {
			if strings.Contains(string(out), want) != way.page {
				t.Errorf("%s: that %q is on the page is not %v:\n%s", way.name, want, way.page, out)
			}
		}
		var page struct {
			Breakers map[string]map[string]struct{ State string } `json:"circuit_breakers"`
		}
		text := shell.Run(t, looks.Commands[1])
		if err := json.Unmarshal([]byte(text), &page); err != nil || page.Breakers["payments"][failing.URL].State != "open" {
			t.Errorf("%s: %v: %s", way.name, err, text)
		}
		stop() // and all that waits is sent
		for i, path := range paths {
			if n := received[i].Load(); n > 0 != way.sent[i] {
				t.Errorf("%s: %d requests came to %s", way.name, n, path)
			}
		}
	}
}

// push is the block with its other choice, which stands there as a comment.
func push(t *testing.T, ships document.Block) []string {
	t.Helper()
	line := regexp.MustCompile(`(?m)^# (export OTEL_METRICS_EXPORTER=otlp\b.*)$`).FindStringSubmatch(read(t, "deployment.md"))
	if line == nil {
		t.Fatal("there is no other choice")
	}
	return append(append([]string{}, ships.Commands...), line[1])
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
