package control_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/control"
)

const (
	carols = "carol-0123456789abcdef0123456789"
	daves  = "dave--0123456789abcdef0123456789"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTokenFile_IsReadAgain(t *testing.T) {
	var said bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&said, nil)))
	defer slog.SetDefault(before)
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "tokens")
		write(t, path, "# on call\n\n carol\t"+carols+" \r\n"+daves+"\n")
		r := newRig(t, control.WithTokenFile(path))
		who := func(token string) any {
			r.post(token, order("reset"))
			return r.one()["operator"]
		}
		expect := func(when string, carol, dave, alice any) {
			t.Helper()
			for token, want := range map[string]any{carols: carol, daves: dave, alices: alice} {
				if got := who(token); got != want {
					t.Errorf("%s, %s is %v, want %v", when, token, got, want)
				}
			}
		}
		expect("at first", "carol", "operator", "alice")
		write(t, path, "dave "+daves)
		expect("within the second", "carol", "operator", "alice")
		time.Sleep(time.Second)
		expect("after it", nil, "dave", "alice")
		time.Sleep(time.Minute)
		for _, broken := range []string{"", "# none\n", "dave " + daves + "\ncarol short\n", "dave " + daves + " x\n",
			"dave " + daves + "\n" + strings.Repeat("#", 64<<10)} {
			write(t, path, broken)
			time.Sleep(time.Minute)
			expect("with a broken file", nil, nil, "alice")
			time.Sleep(time.Minute)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		expect("with no file", nil, nil, "alice")
		time.Sleep(time.Minute)
		write(t, path, carols+"\n")
		expect("with a good one", "operator", nil, "alice")
	})
	text := said.String()
	for _, says := range []string{"has no token", "line 2", "32 to 512", "line 1", "longer than 65536 bytes", "no such file"} {
		if !strings.Contains(text, says) {
			t.Errorf("%q is not said: %s", says, text)
		}
	}
	if strings.Contains(text, daves) || strings.Contains(text, "short") {
		t.Errorf("a token is in the log: %s", text)
	}
}

func TestG18_ABadTokenFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	for text, says := range map[string]string{
		"":                                     "has no token",
		"carol short":                          "line 1",
		"carol " + carols + " " + daves:        "a name and a token",
		"carol " + carols + "\ndave " + carols: "the same token",
	} {
		write(t, path, text)
		_, err := control.Handler([]control.Source{newGroup(t, breaker.Config{})}, control.WithTokenFile(path))
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), carols) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTokens_OneNameMayHaveTwo(t *testing.T) {
	r := newRig(t, control.WithToken("alice", carols))
	for _, token := range []string{alices, carols} {
		r.post(token, order("reset"))
		if u := r.one(); u["operator"] != "alice" {
			t.Errorf("the audit has %v", u)
		}
	}
}
