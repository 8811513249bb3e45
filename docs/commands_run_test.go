package docs_test

import (
	"bufio"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/control"
	"github.com/otelbreaker/otelbreaker/health"
	"github.com/otelbreaker/otelbreaker/internal/document"
	"github.com/otelbreaker/otelbreaker/notify"
)

// lines starts a command that runs until stop, and reads what it writes.
func lines(t *testing.T, s document.Shell, commands ...string) (output *bufio.Scanner, stop func()) {
	t.Helper()
	out, in := io.Pipe()
	interrupt := s.Start(t, in, commands...)
	t.Cleanup(func() { _ = out.Close() }) // or it could not end for want of a reader
	return bufio.NewScanner(out), func() {
		go func() { _, _ = io.Copy(io.Discard, out) }()
		interrupt()
		_ = in.Close()
	}
}

// operations has tokens made and the client installed and used as operations.md says, on a program with its page and
// control. The client is that of the tree, not the latest release. The runbook's is another machine, by TLS.
func operations(t *testing.T, blocks []document.Block) {
	tokens, client := blocks[0], blocks[1]
	shadow, runbook := slices.Concat(blocks[2].Commands, blocks[3].Commands), blocks[4]
	home := t.TempDir()
	operators := filepath.Join(home, "operators")
	serving := document.Shell{Dir: home, Env: []string{"HOME=" + home}, Replace: strings.NewReplacer("/run/secrets/operators", operators)}
	serving.Run(t, tokens.Commands...)
	for _, file := range []string{operators, filepath.Join(home, ".otelbreaker")} {
		if info, err := os.Stat(file); err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("others can read %s: %v", file, info.Mode())
		}
	}

	payments, err := breaker.New(breaker.Config{Service: "payments", Endpoint: "https://pay.example:8443"})
	if err != nil {
		t.Fatal(err)
	}
	operate, err := control.Handler([]control.Source{payments}, control.WithTokenFile(operators))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/health/circuit-breakers", health.Handler(payments))
	mux.Handle("/control/circuit-breakers", operate)
	server := httptest.NewServer(mux)
	defer server.Close()
	remote := httptest.NewTLSServer(mux)
	defer remote.Close()
	authority := filepath.Join(home, "authority.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: remote.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}

	bin, folder := t.TempDir(), scratch(t)
	shell := document.Shell{Dir: folder, Env: []string{
		"HOME=" + home, "GOBIN=" + bin, "PATH=" + bin + ":" + os.Getenv("PATH"), "GOFLAGS=-mod=mod", "GOWORK=off", proxy(t),
		"GOMODCACHE=" + goEnv(t, "GOMODCACHE"), "GOCACHE=" + goEnv(t, "GOCACHE"),
	}, Replace: strings.NewReplacer("@latest", "", "http://127.0.0.1:8081", server.URL, "https://shop-1.internal:8443", remote.URL)}

	var setting []string
	for _, command := range slices.Concat(client.Commands, shadow) {
		switch {
		case strings.HasPrefix(command, "go install"):
			shell.Run(t, command)
			continue
		case strings.HasPrefix(command, "export "):
			setting = append(setting, command)
			continue
		case command == "otelbreaker watch":
			output, stop := lines(t, shell, append(setting, "exec "+command)...)
			if !output.Scan() || !strings.Contains(output.Text(), "payments") {
				t.Errorf("watch begins with %q", output.Text())
			}
			stop()
			continue
		}
		out := shell.Run(t, append(setting, command)...)
		s := payments.Snapshot()
		var good bool
		switch verb := strings.Fields(command)[1]; verb {
		case "list":
			good = !strings.Contains(out, "payments") // which is closed
		case "force-open":
			good = s.State == breaker.Open && s.Override == breaker.ForcedOpen
		case "disable":
			good = s.Override == breaker.Disabled
		case "reconfigure":
			good = s.Config.FailureThreshold == 10 || s.Config.FailureRate == 0.3
		case "reset":
			good = s.State == breaker.Closed && s.Override == breaker.Automatic
		}
		if !good {
			t.Errorf("%s: %s%+v", command, out, s)
		}
	}
	shell.Env = append(shell.Env, "SSL_CERT_FILE="+authority)
	shell.Run(t, append(setting, runbook.Commands...)...)
	if s := payments.Snapshot(); s.State != breaker.Open {
		t.Errorf("after %q it is %v", runbook.Commands, s.State)
	}
}

// demo runs it on any free port until Ctrl-C.
func demo(t *testing.T, blocks []document.Block) {
	shell := document.Shell{Dir: "..", Env: []string{"ARGS=--listen 127.0.0.1:0"}}
	output, stop := lines(t, shell, blocks[0].Commands...)
	for output.Scan() {
		_, url, found := strings.Cut(output.Text(), "http://")
		if !found {
			continue
		}
		page := document.Get(t, "http://"+strings.TrimRight(strings.Fields(url)[0], ".,"), nil)
		if !strings.Contains(page, "payments") {
			t.Errorf("the page is\n%s", page)
		}
		stop()
		return
	}
	t.Error("it does not say what to open")
}

// signature compares what openssl makes with what notify expects.
func signature(t *testing.T, blocks []document.Block) {
	timestamp, body := strconv.FormatInt(time.Now().Unix(), 10), `{"version":1}`
	shell := document.Shell{Dir: t.TempDir(), Env: []string{"timestamp=" + timestamp, "body=" + body, "secret=a word of sixteen"}}
	fields := strings.Fields(shell.Run(t, blocks[0].Commands...))
	header := http.Header{}
	header.Set("X-Otelbreaker-Timestamp", timestamp)
	header.Set("X-Otelbreaker-Signature", "v1="+fields[len(fields)-1])
	if err := notify.VerifySignature("a word of sixteen", header, []byte(body), 0); err != nil {
		t.Errorf("%q: %v", fields, err)
	}
}

// kibana has curl send its files to a stand-in, which sees whether they arrive whole; what Elasticsearch makes of them is
// not shown.
func kibana(t *testing.T, blocks []document.Block) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if file, _, err := r.FormFile("file"); err == nil {
			body = file
		}
		whole, err := 0, error(nil)
		for documents := json.NewDecoder(body); err == nil; {
			var document any
			if err = documents.Decode(&document); err == nil {
				whole++
			}
		}
		if !errors.Is(err, io.EOF) || whole == 0 || r.Header.Get("Authorization") != "ApiKey word" {
			t.Errorf("%s %s: %v after %d documents", r.Method, r.URL, err, whole)
		}
		got = append(got, r.Method+" "+r.URL.Path)
	}))
	defer server.Close()
	document.Shell{Dir: "..", Env: []string{"KEY=word", "ES=" + server.URL, "KIBANA=" + server.URL}}.Run(t, blocks[0].Commands...)
	want := []string{"PUT /_component_template/logs-otel@custom", "PUT /_index_template/circuit-breaker-logs", "POST /api/saved_objects/_import"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func inTheTree(t *testing.T, blocks []document.Block) {
	out := document.Shell{Dir: "..", Env: []string{"GOWORK=off"}}.Run(t, blocks[0].Commands...)
	if !strings.Contains(out, "--- PASS: TestPeersHalfOpen") {
		t.Errorf("it says\n%s", out)
	}
}
