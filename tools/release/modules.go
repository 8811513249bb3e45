package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
)

const rootModule = "github.com/otelbreaker/otelbreaker"

// A module that users can require.
type module struct {
	folder string // in the repository; "." is the root
	path   string
	file   *modfile.File
}

// tag is what a version of it is called in git.
func (m module) tag(version string) string {
	if m.folder == "." {
		return version
	}
	return path.Join(m.folder, version)
}

// publicModules are the root, those under contrib/, and the fleet's.
func publicModules(root string) ([]module, error) {
	files := []string{filepath.Join(root, "go.mod")}
	for _, folder := range []string{"contrib/*", "fleet", "fleet/*"} {
		found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), "go.mod"))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	var all []module
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		parsed, err := modfile.Parse(file, text, nil)
		if err != nil {
			return nil, err
		}
		folder, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return nil, err
		}
		all = append(all, module{filepath.ToSlash(folder), parsed.Module.Mod.Path, parsed})
	}
	return all, nil
}

// golang runs the go command in a folder, with more in its environment, and gives what it prints.
func golang(ctx context.Context, folder string, env []string, args ...string) (string, error) {
	return run(ctx, folder, env, "go", args...)
}

func run(ctx context.Context, folder string, env []string, name string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = folder
	command.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s in %s: %w", strings.Join(append([]string{filepath.Base(name)}, args...), " "), folder,
			errors.Join(err, errors.New(strings.TrimSpace(stderr.String()+string(out)))))
	}
	return string(out), nil
}
