package docs_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

// The test that quickstart.md shows is run as well: it stands below, to the byte.
func TestTheTestOfTheQuickStartIsThisOne(t *testing.T) {
	_, shown, found := strings.Cut(read(t, "quickstart.md"), "## Test an outage\n")
	_, shown, _ = strings.Cut(shown, "```go\n")
	shown, _, closed := strings.Cut(shown, "```\n")
	if !found || !closed || !strings.HasPrefix(shown, "func Test") {
		t.Fatal("quickstart.md has no test of an outage")
	}
	if !strings.HasSuffix(read(t, "quickstart_test.go"), "\n"+shown) {
		t.Errorf("it is not this one:\n%s", shown)
	}
}

func TestPaymentsIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its time is virtual: no second of it is waited for
		status, lines := http.StatusServiceUnavailable, new(bytes.Buffer)
		guarded, err := transport.New(server(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: http.NoBody, Request: r}, nil
		}), transport.WithSlog(slog.New(slog.NewTextHandler(lines, nil))))
		if err != nil {
			t.Fatal(err)
		}
		defer guarded.Close()
		call := func() error { // your own code, that is, with this transport in its client
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://payments.example", nil)
			if err != nil {
				return err
			}
			response, err := (&http.Client{Transport: guarded}).Do(request)
			if err != nil {
				return err
			}
			return response.Body.Close()
		}
		for range 5 { // failures in a row open
			if err := call(); err != nil {
				t.Fatal(err)
			}
		}
		if err := call(); !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("a call in the outage: %v, want it blocked", err)
		}
		status = http.StatusOK
		time.Sleep(30 * time.Second) // the recovery timeout
		if err := call(); err != nil {
			t.Errorf("the probe: %v", err)
		}
		// Listeners, and so log records, come after the call: wait until all is delivered before you look.
		if err := guarded.Breakers().Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(lines.String(), "event_type=circuit_closed") {
			t.Errorf("it did not close:\n%s", lines)
		}
	})
}

type server func(*http.Request) (*http.Response, error)

func (s server) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }
