package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/breaker"
)

const testToken = "0123456789abcdef0123456789abcdef"

// operate asks the demo's control to force the first dependency open.
func operate(t *testing.T, a *app, token string, change func(*http.Request)) (int, string) {
	t.Helper()
	body := `{"action":"force_open","service":"payments","endpoint":"` + a.deps[0].upstream.url() + `","reason":"trial","for":"1h"}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url()+"/control/circuit-breakers", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	if change != nil {
		change(req)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestG17_ControlIsThereWithATokenOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("alice "+testToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*settings)
		there  bool
	}{
		"without a token":        {nil, false},
		"with one":               {func(s *settings) { s.token = testToken }, true},
		"with a file":            {func(s *settings) { s.tokenFile = file }, true},
		"while it proves itself": {func(s *settings) { s.token, s.once = testToken, true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := startQuick(t, c.change)
			a.welcome()
			if said := a.out.(*lines).String(); strings.Contains(said, "/control/circuit-breakers") != c.there || strings.Contains(said, testToken) {
				t.Errorf("it says %s", said)
			}
			code, text := operate(t, a, testToken, nil)
			forced := a.deps[0].breaker().Snapshot().Override == breaker.ForcedOpen
			if !c.there {
				if code != http.StatusNotFound || forced {
					t.Errorf("%d %s", code, text)
				}
				return
			}
			if code != http.StatusOK || !forced {
				t.Errorf("%d %s", code, text)
			}
			if code, text := operate(t, a, "wrong", nil); code != http.StatusUnauthorized {
				t.Errorf("a wrong token: %d %s", code, text)
			}
			if code, text := operate(t, a, testToken, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }); code != http.StatusForbidden {
				t.Errorf("another origin: %d %s", code, text)
			}
			log := a.log.(*lines).String()
			for _, want := range []string{`"event_type":"circuit_control"`, `"result":"applied"`, `"http.response.status_code":401`, `"http.response.status_code":403`, `"note":"trial"`} {
				if !strings.Contains(log, want) {
					t.Errorf("the log has no %s: %s", want, log)
				}
			}
			if strings.Contains(log, testToken) {
				t.Errorf("the log has the token: %s", log)
			}
			for _, r := range a.records.after(0) {
				if r.EventType == "circuit_control" {
					t.Errorf("the page takes an audit record for a transition: %+v", r)
				}
			}
		})
	}
}

func TestStart_ATokenThatIsTooShort(t *testing.T) {
	s := quick(t)
	s.token = "short"
	if code := show(t.Context(), s); code == 0 {
		t.Error("it was taken")
	}
	if said := s.log.(*lines).String(); !strings.Contains(said, "32 to 512") {
		t.Errorf("it says %s", said)
	}
}
