package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/mod/semver"
)

// The constant that every library package tells its telemetry's scope by.
var versionConstant = regexp.MustCompile(`(?m)^(\s*(?:const )?Version\s+= )"([^"]*)"`)

// A place says which version it is of, and has to be set before a release.
type place struct {
	file  string // in the repository
	what  string
	found string
}

// places are all of them: the constants, and the version of the root module that the nested modules require. Theirs
// has to be a real one: the replace lines beside it count for nobody but this repository.
func places(root string) ([]place, error) {
	modules, err := publicModules(root)
	if err != nil {
		return nil, err
	}
	var all []place
	for _, m := range modules {
		for _, r := range m.file.Require {
			if r.Mod.Path == rootModule {
				all = append(all, place{filepath.Join(m.folder, "go.mod"), "requires " + rootModule, r.Mod.Version})
			}
		}
	}
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && file != root || d.Name() == "tools" || d.Name() == "node_modules" || d.Name() == "e2e" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if m := versionConstant.FindSubmatch(text); m != nil {
			name, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			all = append(all, place{name, "Version is", string(m[2])})
		}
		return nil
	})
	return all, err
}

// want is what has to be there for a version.
func (p place) want(version string) string {
	if filepath.Base(p.file) == "go.mod" {
		return version
	}
	return strings.TrimPrefix(version, "v")
}

// prepare sets the version everywhere in a tree. One that ends in -dev is that of the time between releases, when the
// nested modules go on requiring the last release.
func prepare(ctx context.Context, root, version string) error {
	if err := checkVersion(version); err != nil {
		return err
	}
	all, err := places(root)
	if err != nil {
		return err
	}
	for _, p := range all {
		file := filepath.Join(root, p.file)
		if filepath.Base(file) == "go.mod" {
			if strings.HasSuffix(version, development) {
				continue
			}
			if _, err := golang(ctx, filepath.Dir(file), nil, "mod", "edit", "-require", rootModule+"@"+version); err != nil {
				return err
			}
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text = versionConstant.ReplaceAll(text, []byte(`${1}"`+p.want(version)+`"`))
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

const development = "-dev"

func checkVersion(version string) error {
	if !semver.IsValid(version) || semver.Canonical(version) != version || semver.Build(version) != "" {
		return fmt.Errorf("VERSION is %q: allowed is vMAJOR.MINOR.PATCH, or with a pre-release such as -rc.1", version)
	}
	if major := semver.Major(version); major != "v0" && major != "v1" {
		return fmt.Errorf("VERSION is %q: %s needs another module path, ending in /%s", version, major, major)
	}
	return nil
}

// export writes what is committed into a folder.
func export(ctx context.Context, root, commit, folder string) error {
	archive := filepath.Join(folder, ".archive.tar")
	if _, err := run(ctx, root, nil, "git", "archive", "--format=tar", "-o", archive, commit); err != nil {
		return err
	}
	if _, err := run(ctx, folder, nil, "tar", "-xf", archive); err != nil {
		return err
	}
	return os.Remove(archive)
}
