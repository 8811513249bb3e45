package docs_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Each module of the repository is in the table of design.md, with what it imports of the others, tests included.
func TestTheModulesAreThose(t *testing.T) {
	modules := map[string]map[string]bool{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != ".." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules"):
			return fs.SkipDir
		case entry.Name() == "go.mod" && filepath.Dir(path) != "..":
			modules[inTree(t, filepath.Dir(path))] = map[string]bool{}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, imported := range modules {
		if strings.HasPrefix(name, "tools/") {
			delete(modules, name) // programs of others
			continue
		}
		err := filepath.WalkDir(filepath.Join("..", name), func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && (modules[inTree(t, path)] != nil && inTree(t, path) != name || entry.Name() == "node_modules"):
				return fs.SkipDir
			case filepath.Ext(path) == ".go":
				for _, of := range importsOf(t, path) {
					if of, ours := strings.CutPrefix(of, module); ours && of != name && !strings.HasPrefix(of, name+"/") {
						imported[of] = true
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	source, document := map[string]string{}, map[string]string{}
	for name, imported := range modules {
		source[name] = fmt.Sprint(slices.Sorted(maps.Keys(imported)))
	}
	for _, row := range tableIn(t, read(t, "design.md"), "module | imports of ours |") {
		document[strings.Join(coded(row[0]), " ")] = fmt.Sprint(coded(row[1]))
	}
	same(t, "modules", source, document)
}

func inTree(t *testing.T, path string) string {
	t.Helper()
	name, err := filepath.Rel("..", path)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.ToSlash(name)
}

func importsOf(t *testing.T, file string) (all []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range parsed.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, path)
	}
	return all
}
