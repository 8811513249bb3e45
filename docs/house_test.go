package docs_test

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/control"
	"github.com/otelbreaker/otelbreaker/logs"
)

// longest is the most lines that a file may have: beyond it, there is a second noun in it.
const longest = 520

// tooLong are those that nobody reads from top to bottom, by patterns of their paths: what programs write, and the alert rules,
// a list that has to stand alone.
var tooLong = []string{
	"*/*/go.sum", // of the programs that tests run
	"benchmarks/results/peers.txt",
	"deploy/grafana/dashboards/*.json",
	"deploy/kubernetes/base/rules.yaml",
	"deploy/prometheus/circuit_breaker_alerts.yml",
	"e2e/panels/package-lock.json",
}

// files calls see with each file of the repository, but for pictures and what tools leave behind.
func files(t *testing.T, see func(name string, text []byte)) {
	t.Helper()
	seen := 0
	err := fs.WalkDir(os.DirFS(".."), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if entry.IsDir() {
			if strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || slices.Contains([]string{".out", ".png", ".test"}, path.Ext(name)) {
			return nil
		}
		seen++
		see(name, []byte(read(t, "../"+name)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 400 {
		t.Errorf("only %d files were found", seen)
	}
}

func TestNoFileIsTooLong(t *testing.T) {
	used := map[string]bool{}
	files(t, func(name string, text []byte) {
		lines := bytes.Count(text, []byte("\n"))
		if lines <= longest {
			return
		}
		for _, pattern := range tooLong {
			if matches, err := path.Match(pattern, name); err != nil {
				t.Fatal(err)
			} else if matches {
				used[pattern] = true
				return
			}
		}
		t.Errorf("%s has %d lines, and %d are allowed", name, lines, longest)
	})
	for _, pattern := range tooLong {
		if !used[pattern] {
			t.Errorf("%s is excepted for nothing", pattern)
		}
	}
}

// Words of others for what the glossary of concept.md has a word for.
var otherWords = regexp.MustCompile(`(?i)half open|short-?circuit(ed|s|ing)?\b|\btrial (call|request)s?|` +
	`\b(rejected|denied) (call|request)s?|(call|request)s? (is|are|was|were) (rejected|denied)|sleep window|break duration`)

func TestTheWordsAreThoseOfTheGlossary(t *testing.T) {
	files(t, func(name string, text []byte) {
		switch name {
		case "docs/concept.md", "docs/compared.md", "docs/migration.md": // which tell what others say
			return
		case "docs/benchmarks.md": // after the baseline, whose names are older
			return
		case "docs/house_test.go":
			return
		}
		for number, line := range strings.Split(string(text), "\n") {
			if word := otherWords.FindString(line); word != "" {
				t.Errorf("%s:%d: %q is not in the glossary", name, number+1, word)
			}
		}
	})
}

// control has a constant of its own, for it imports no package that has one.
func TestTheVersionIsOne(t *testing.T) {
	if control.Version != logs.Version {
		t.Errorf("package control has the version %s, the others %s", control.Version, logs.Version)
	}
}
