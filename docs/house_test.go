package docs_test

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// longest is the most lines that a file may have: beyond it, there is a second noun in it.
const longest = 520

// tooLong are those that nobody reads from top to bottom: what programs write, by patterns of their paths.
var tooLong = []string{
	"*/*/go.sum", // of the programs that tests run
	"benchmarks/results/peers.txt",
	"deploy/grafana/dashboards/*.json",
	"e2e/panels/package-lock.json",
}

func TestNoFileIsTooLong(t *testing.T) {
	files, used := 0, map[string]bool{}
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
		text, err := os.ReadFile("../" + name)
		if err != nil {
			return err
		}
		files++
		lines := bytes.Count(text, []byte("\n"))
		if lines <= longest {
			return nil
		}
		for _, pattern := range tooLong {
			if matches, err := path.Match(pattern, name); err != nil || matches {
				used[pattern] = true
				return err
			}
		}
		t.Errorf("%s has %d lines, and %d are allowed", name, lines, longest)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 400 {
		t.Errorf("only %d files were found", files)
	}
	for _, pattern := range tooLong {
		if !used[pattern] {
			t.Errorf("%s is excepted for nothing", pattern)
		}
	}
}
