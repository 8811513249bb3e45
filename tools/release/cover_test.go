package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCoverageIsCountedOncePerStatement(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "p")
	const text = `mode: set
github.com/otelbreaker/otelbreaker/breaker/a.go:1.1,2.2 3 0
github.com/otelbreaker/otelbreaker/breaker/a.go:1.1,2.2 3 1
github.com/otelbreaker/otelbreaker/breaker/a.go:3.1,4.2 1 0
github.com/otelbreaker/otelbreaker/logs/l.go:3.1,4.2 2 7
`
	if err := os.WriteFile(profile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	shares := map[string]*share{}
	if err := count(profile, shares, func(s *share) *int { return &s.all }); err != nil {
		t.Fatal(err)
	}
	const want = `| package | statements | by its own tests | by all tests of its module |
|---|--:|--:|--:|
| ` + "`breaker`" + ` | 4 | 0.0 % | 75.0 % |
| ` + "`logs`" + ` | 2 | 0.0 % | 100.0 % |
| all | 6 | 0.0 % | 83.3 % |
`
	if got := coverTable(shares); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestOnlyWhatIsBetweenIsReplaced(t *testing.T) {
	got, err := between([]byte("a\nB\nold\nE\nz\n"), "B\n", "E\n", "new\n")
	if err != nil || string(got) != "a\nB\nnew\nE\nz\n" {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"", "B\n", "E\n", "E\nB\n"} {
		if _, err := between([]byte(text), "B\n", "E\n", ""); err == nil {
			t.Errorf("%q passes", text)
		}
	}
}
