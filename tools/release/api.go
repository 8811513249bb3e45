package main

import (
	"context"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// The record has one file a package, by its path in the repository: api/contrib/gobreaker.txt.
const (
	recordFolder = "api"
	recordSuffix = ".txt"
)

// api compares what the public modules offer with the record, and with write renews it. What would break a user's
// program is only recorded when told so by breaking.
func api(ctx context.Context, root string, write, breaking bool, out io.Writer) error {
	modules, err := publicModules(root)
	if err != nil {
		return err
	}
	recorded, err := readRecord(os.DirFS(root))
	if err != nil {
		return err
	}
	broken, stale := 0, 0
	for _, m := range modules {
		before := recorded.of(m.path, modules)
		now, other, err := surfaceOf(ctx, root, m, before)
		if err != nil {
			return err
		}
		bad, good, err := judge(m.path, before, now, other)
		if err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
		for _, message := range bad {
			fmt.Fprintf(out, "incompatible: %s\n", message)
		}
		for _, message := range good {
			fmt.Fprintf(out, "new: %s\n", message)
		}
		broken += len(bad)
		if !maps.Equal(before, now) {
			stale++
		}
		if write && (breaking || len(bad) == 0) {
			if err := writeRecord(root, before, now); err != nil {
				return err
			}
		}
	}
	switch {
	case broken > 0 && (!write || !breaking):
		return fmt.Errorf("%d incompatible changes: keep the old names working, or where it has to be, record it by "+
			"make api-record BREAKING=1 and say so under Changed or Removed in CHANGELOG.md", broken)
	case stale > 0 && !write:
		return fmt.Errorf("the surface of %d modules is not as recorded in %s/: make api-record, and commit what it writes", stale, recordFolder)
	}
	return nil
}

// surfaceOf is what a module offers, and an importer of everything that it, or what is recorded of it, is made of.
func surfaceOf(ctx context.Context, root string, m module, before record) (record, types.Importer, error) {
	folder := filepath.Join(root, m.folder)
	out, err := golang(ctx, folder, apiPlatform, "list", "-f", "{{if and .GoFiles (ne .Name `main`)}}{{.ImportPath}}{{end}}", "./...")
	if err != nil {
		return nil, nil, err
	}
	public := slices.DeleteFunc(strings.Fields(out), internal)

	// With -e, for what is recorded may mention what is no longer there.
	args := []string{"list", "-e", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}
	out, err = golang(ctx, folder, apiPlatform, slices.Concat(args, public, before.imports())...)
	if err != nil {
		return nil, nil, err
	}
	exports := map[string]string{}
	for line := range strings.Lines(out) {
		p, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[p] = file
	}
	other := importer.ForCompiler(token.NewFileSet(), "gc", func(p string) (io.ReadCloser, error) {
		if exports[p] == "" {
			return nil, fmt.Errorf("package %q does not build, or is not there", p)
		}
		return os.Open(exports[p])
	})
	now := record{}
	for _, p := range public {
		pkg, err := other.Import(p)
		if err != nil {
			return nil, nil, err
		}
		if now[p], err = surface(pkg); err != nil {
			return nil, nil, err
		}
	}
	return now, other, nil
}

// The record is of one platform, wherever it is made.
var apiPlatform = []string{"GOOS=linux", "GOARCH=amd64"}

func internal(path string) bool {
	return slices.Contains(strings.Split(path, "/"), "internal")
}

// readRecord reads what is recorded in a tree.
func readRecord(tree fs.FS) (record, error) {
	all := record{}
	err := fs.WalkDir(tree, recordFolder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, recordSuffix) {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		all[recordedPath(name)] = string(text)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil // nothing recorded yet
	}
	return all, err
}

func recordedPath(file string) string {
	return path.Join(rootModule, strings.TrimSuffix(strings.TrimPrefix(file, recordFolder), recordSuffix))
}

func recordFile(importPath string) string {
	return path.Join(recordFolder, strings.TrimPrefix(importPath, rootModule)) + recordSuffix
}

// of is the part of a record that is one module's.
func (r record) of(modulePath string, all []module) record {
	own := record{}
	for p, text := range r {
		owner := ""
		for _, m := range all {
			if (p == m.path || strings.HasPrefix(p, m.path+"/")) && len(m.path) > len(owner) {
				owner = m.path
			}
		}
		if owner == modulePath {
			own[p] = text
		}
	}
	return own
}

func writeRecord(root string, before, now record) error {
	for p := range before {
		if _, there := now[p]; !there {
			if err := os.Remove(filepath.Join(root, recordFile(p))); err != nil {
				return err
			}
		}
	}
	for p, text := range now {
		file := filepath.Join(root, recordFile(p))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
