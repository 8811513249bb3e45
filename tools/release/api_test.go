package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree writes files into a new folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const subject = `package shop

import (
	"context"
	"iter"
	"net/http"
	"time"

	"github.com/otelbreaker/otelbreaker/internal/parts"
)

type State uint8

const (
	Closed State = iota
	Open
)

const Share = 0.5

const Delay = 30 * time.Second

const Version = "0.1.0-dev"

var Err error

type Config struct {
	Name string ` + "`json:\"name\"`" + `
	Rate float64
}

type Listener interface{ On(State) }

type Option interface{ apply(*settings) }

type settings struct{ name string }

type Shop struct {
	base
	parts.Shown
	calls int
}

type base struct{ locked chan func() }

func (*base) Promoted() {}

func New(c Config, options ...Option) (*Shop, error) { return nil, nil }

func (s *Shop) Call(ctx context.Context, r *http.Request) (State, error) { return Closed, nil }

type Box[T any] struct{ Value T }

func (b *Box[T]) Get() T { return b.Value }

func Map[K comparable, V any](m map[K]V, f func(V) V) map[K]V { return m }

func (s *Shop) Each(all iter.Seq[error]) (int, error) {
	for err := range all {
		return 1, err
	}
	return 0, nil
}

func (s *Shop) First(all iter.Seq[error]) error {
	for err := range all {
		return err
	}
	return nil
}

type Alias = map[string]Config
`

func subjectFiles() map[string]string {
	return map[string]string{
		"go.mod":                  "module " + rootModule + "\n\ngo 1.26.0\n",
		"shop/shop.go":            subject,
		"internal/parts/parts.go": "package parts\n\ntype Shown struct{ Part int }\n",
		"cmd/shop/main.go":        "package main\n\nfunc main() {}\n\nfunc Exported() {}\n",
	}
}

// recorded gives a maker of modules whose surface is recorded.
func recorded(t *testing.T) func(*testing.T) string {
	root := tree(t, subjectFiles())
	if err := api(t.Context(), root, true, false, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	if err := api(t.Context(), root, false, false, &bytes.Buffer{}); err != nil {
		t.Fatalf("just recorded: %v", err)
	}
	text := recordText(t, root)
	return func(t *testing.T) string {
		files := subjectFiles()
		files["api/shop.txt"] = text
		return tree(t, files)
	}
}

func edit(t *testing.T, file, old, with string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%s: %q is there %d times", file, old, strings.Count(string(text), old))
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), old, with, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAnIncompatibleChangeFails(t *testing.T) {
	made := recorded(t)
	for name, c := range map[string]struct{ old, with, told string }{
		"function renamed":        {"func New(", "func Make(", "shop.New: removed"},
		"parameter added":         {"New(c Config,", "New(name string, c Config,", "shop.New: changed from func("},
		"option list to one":      {"options ...Option", "option Option", "shop.New: changed from func("},
		"result changed":          {"(State, error) { return Closed, nil", "(uint8, error) { return 0, nil", "Shop).Call: changed from"},
		"method removed":          {"func (b *Box[T]) Get() T { return b.Value }", "", "Get: removed"},
		"promoted method removed": {"func (*base) Promoted() {}", "", "Promoted"},
		"field removed":           {"Rate float64", "", "Config.Rate: removed"},
		"field changed":           {"Rate float64", "Rate float32", "Config.Rate: changed"},
		"values swapped":          {"Closed State = iota\n\tOpen", "Open State = iota\n\tClosed", "value changed"},
		"fraction changed":        {"Share = 0.5", "Share = 0.25", "value changed"},
		"duration changed":        {"30 * time.Second", "time.Minute", "value changed"},
		"type of constant":        {"Delay = 30 * time.Second", "Delay = 30 * int64(time.Second)", "changed"},
		"variable changed":        {"var Err error", "var Err string", "Err: changed"},
		"interface grown":         {"interface{ On(State) }", "interface{ On(State); Off(State) }", "Listener.Off: added"},
		"interface sealed":        {"interface{ On(State) }", "interface{ On(State); seal() }", "unexported"},
		"no longer comparable":    {"Rate float64", "Rate float64\n\tMore []string", "comparable"},
		"constraint tightened":    {"V any](m", "V comparable](m", "Map: changed"},
		"alias changed":           {"map[string]Config", "map[string]string", "Alias: changed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := made(t)
			edit(t, filepath.Join(root, "shop/shop.go"), c.old, c.with)
			var out bytes.Buffer
			err := api(t.Context(), root, false, false, &out)
			if err == nil || !strings.Contains(err.Error(), "incompatible changes") {
				t.Errorf("passes: %v", err)
			}
			if !strings.Contains(out.String(), c.told) || !strings.Contains(out.String(), "incompatible: ") {
				t.Errorf("%q is not told:\n%s", c.told, out.String())
			}
		})
	}
}

func TestABreakIsRecordedOnlyWhenToldSo(t *testing.T) {
	root := recorded(t)(t)
	edit(t, filepath.Join(root, "shop/shop.go"), "Rate float64", "")
	before, out := recordText(t, root), bytes.Buffer{}
	if err := api(t.Context(), root, true, false, &out); err == nil || recordText(t, root) != before {
		t.Errorf("is recorded without being told so: %v", err)
	}
	if err := api(t.Context(), root, true, true, &out); err != nil {
		t.Errorf("when told so: %v", err)
	}
	if err := api(t.Context(), root, false, false, &out); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func recordText(t *testing.T, root string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "api/shop.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAnAdditionIsOnlyToBeRecorded(t *testing.T) {
	made := recorded(t)
	for name, c := range map[string]struct{ old, with string }{
		"function": {"var Err error", "var Err error\n\nfunc Added() {}"},
		"field":    {"Rate float64", "Rate float64\n\tAdded int"},
		"method":   {"func (b *Box[T]) Get", "func (b *Box[T]) Added() {}\n\nfunc (b *Box[T]) Get"},
		"package":  {"var Err error", "var Err error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := made(t)
			edit(t, filepath.Join(root, "shop/shop.go"), c.old, c.with)
			if name == "package" {
				if err := os.Mkdir(filepath.Join(root, "added"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, "added/a.go"), []byte("package added\n\nvar Added int\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var out bytes.Buffer
			err := api(t.Context(), root, false, false, &out)
			if err == nil || !strings.Contains(err.Error(), "make api-record") || strings.Contains(out.String(), "incompatible") {
				t.Errorf("%v\n%s", err, out.String())
			}
			if !strings.Contains(strings.ToLower(out.String()), "added") {
				t.Errorf("not told:\n%s", out.String())
			}
			if err := api(t.Context(), root, true, false, &out); err != nil {
				t.Errorf("record: %v", err)
			}
			if err := api(t.Context(), root, false, false, &out); err != nil {
				t.Errorf("recorded: %v", err)
			}
		})
	}
}

// What users cannot see is no part of it.
func TestWhatIsHiddenChangesNothing(t *testing.T) {
	made := recorded(t)
	for name, c := range map[string]struct{ old, with string }{
		"body":             {"return b.Value", "var zero T; return zero"},
		"version":          {"0.1.0-dev", "0.2.0"},
		"unexported type":  {"struct{ name string }", "struct{ names []string }"},
		"unexported field": {"calls int", "calls, more uint64"},
		"seal renamed":     {"apply(*settings)", "set(*settings)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := made(t)
			edit(t, filepath.Join(root, "shop/shop.go"), c.old, c.with)
			var out bytes.Buffer
			if err := api(t.Context(), root, false, false, &out); err != nil || out.Len() > 0 {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}

// A record that mentions what is no longer there can still be renewed.
func TestARecordThatDoesNotCompileFails(t *testing.T) {
	root := recorded(t)(t)
	if err := os.RemoveAll(filepath.Join(root, "internal")); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(root, "shop/shop.go"), "\n\t\"github.com/otelbreaker/otelbreaker/internal/parts\"\n", "")
	edit(t, filepath.Join(root, "shop/shop.go"), "\tparts.Shown\n", "")
	var out bytes.Buffer
	if err := api(t.Context(), root, false, false, &out); err == nil || !strings.Contains(out.String(), "incompatible: the record does not compile") {
		t.Errorf("%v\n%s", err, out.String())
	}
	if err := api(t.Context(), root, true, true, &out); err != nil {
		t.Error(err)
	}
	if err := api(t.Context(), root, false, false, &out); err != nil {
		t.Error(err)
	}
}

func TestARemovedPackageFails(t *testing.T) {
	root := recorded(t)(t)
	if err := os.RemoveAll(filepath.Join(root, "shop")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := api(t.Context(), root, false, false, &out); err == nil || !strings.Contains(out.String(), "shop: removed") {
		t.Errorf("%v\n%s", err, out.String())
	}
	if err := api(t.Context(), root, true, true, &out); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "api/shop.txt")); err == nil {
		t.Error("its record is still there")
	}
}

// The same on the breaker itself, with the record of the repository.
func TestARenamedMethodOfTheBreakerFails(t *testing.T) {
	repo, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	root := tree(t, map[string]string{"go.mod": "module " + rootModule + "\n\ngo 1.26.0\n"})
	if err := os.CopyFS(filepath.Join(root, "breaker"), os.DirFS(filepath.Join(repo, "breaker"))); err != nil {
		t.Fatal(err)
	}
	record, err := os.ReadFile(filepath.Join(repo, "api/breaker.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "api"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "api/breaker.txt"), record, 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := api(t.Context(), root, false, false, &out); err != nil {
		t.Fatalf("as it is: %v\n%s", err, out.String())
	}
	edit(t, filepath.Join(root, "breaker/group.go"), ") Lookup(", ") Find(")
	if err := api(t.Context(), root, false, false, &out); err == nil || !strings.Contains(out.String(), "Lookup: removed") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
