package main

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// sbom writes what is in the programs of a folder that [build] has filled, and what the public modules bring with
// them, as CycloneDX in JSON. What it writes is the same each time: no serial number, no time.
func sbom(ctx context.Context, root string, s stamp, to string, only []string) error {
	tool := filepath.Join(root, ".bin", "cyclonedx-gomod")
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	plain := []string{"-json", "-licenses", "-noserial", "-notimestamp"}

	// The binary itself tells what is in it. All of its modules have been downloaded to build it.
	for _, platform := range only {
		for _, name := range programs {
			file := programFile(name, platform)
			_, err := run(ctx, to, []string{"GOPROXY=off", "GOFLAGS=-mod=mod"}, tool, slices.Concat([]string{"bin"}, plain,
				[]string{"-std", "-version", s.version, "-output", file + ".cdx.json", file})...)
			if err != nil {
				return err
			}
		}
	}

	// A module's version is that of its tag, and the tags are not there before the release.
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer removeAll(work)
	source := filepath.Join(work, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		return err
	}
	if err := export(ctx, root, "HEAD", source); err != nil {
		return err
	}
	modules, err := publicModules(source)
	if err != nil {
		return err
	}
	commands := [][]string{
		{"init", "--quiet", "--separate-git-dir", filepath.Join(work, "git")},
		{"add", "--all"},
		{"-c", "user.name=release", "-c", "user.email=release@localhost", "-c", "commit.gpgsign=false", "commit", "--quiet", "-m", "release"},
	}
	for _, m := range modules {
		commands = append(commands, []string{"tag", "--no-sign", m.tag(s.version)})
	}
	// Where there is no tag the version is made of the commit, which has to be the same each time.
	when, err := run(ctx, root, nil, "git", "show", "--no-patch", "--format=%cI", "HEAD")
	if err != nil {
		return err
	}
	when = strings.TrimSpace(when)
	for _, args := range commands {
		if _, err := run(ctx, source, []string{"GIT_AUTHOR_DATE=" + when, "GIT_COMMITTER_DATE=" + when}, "git", args...); err != nil {
			return err
		}
	}
	// The folder of the root, which the nested modules have beside them, goes into their SBOM by a hash of all that is in
	// it: git's own files must not be, for they tell the time.
	if err := os.WriteFile(filepath.Join(source, ".git"), []byte("gitdir: ../git\n"), 0o644); err != nil {
		return err
	}
	for _, m := range modules {
		file := filepath.Join(to, "module_"+strings.ReplaceAll(path.Base(rootModule)+strings.TrimPrefix(m.path, rootModule), "/", "_")+".cdx.json")
		_, err := run(ctx, filepath.Join(source, m.folder), []string{"GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0"}, tool,
			slices.Concat([]string{"mod"}, plain, []string{"-output", file, "."})...)
		if err != nil {
			return err
		}
	}
	return nil
}
