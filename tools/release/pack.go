package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	modversion "golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// pack shows that a release of what is committed can be used: the modules are made into zips as the module proxy makes
// them, and a folder outside of the repository gets, builds and runs programs from there, with nothing replaced.
func pack(ctx context.Context, root, version string, out io.Writer) error {
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer removeAll(work)
	source, proxy := filepath.Join(work, "source"), filepath.Join(work, "proxy")
	if err := os.Mkdir(source, 0o755); err != nil {
		return err
	}
	if err := export(ctx, root, "HEAD", source); err != nil {
		return err
	}
	if err := prepare(ctx, source, version); err != nil {
		return err
	}
	modules, err := publicModules(source)
	if err != nil {
		return err
	}
	for _, m := range modules {
		size, err := publish(proxy, source, m, version)
		if err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
		fmt.Fprintf(out, "%s@%s packed, %d KB\n", m.path, version, size/1024)
	}
	env, err := consumerEnv(ctx, root, work, proxy)
	if err != nil {
		return err
	}
	for _, m := range modules {
		program, err := consumer(source, m)
		if err != nil {
			return err
		}
		if err := consume(ctx, work, env, m, version, program); err != nil {
			return fmt.Errorf("a user of %s@%s: %w", m.path, version, err)
		}
		fmt.Fprintf(out, "%s@%s got and built in an empty folder\n", m.path, version)
	}
	for _, name := range programs {
		if err := install(ctx, work, env, name, version); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s/cmd/%s@%s installed, and tells its version\n", rootModule, name, version)
	}
	return nil
}

// publish adds a module to a proxy of files.
func publish(proxy, source string, m module, version string) (size int64, err error) {
	at := modversion.Version{Path: m.path, Version: version}
	escaped, err := modversion.EscapePath(m.path)
	if err != nil {
		return 0, err
	}
	folder := filepath.Join(proxy, escaped, "@v")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return 0, err
	}
	from := filepath.Join(source, m.folder)

	// Where a nested module has no licence of its own, the go command adds that of the repository.
	if m.folder != "." {
		licence, err := os.ReadFile(filepath.Join(source, "LICENSE"))
		if err != nil {
			return 0, err
		}
		if err := os.WriteFile(filepath.Join(from, "LICENSE"), licence, 0o644); err != nil {
			return 0, err
		}
	}
	file, err := os.Create(filepath.Join(folder, version+".zip"))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if err := zip.CreateFromDir(file, at, from); err != nil {
		return 0, err
	}
	if size, err = file.Seek(0, io.SeekCurrent); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(filepath.Join(from, "go.mod"))
	if err != nil {
		return 0, err
	}
	info, err := json.Marshal(map[string]any{"Version": version, "Time": time.Unix(0, 0).UTC()})
	if err != nil {
		return 0, err
	}
	for name, text := range map[string][]byte{version + ".mod": text, version + ".info": info, "list": []byte(version + "\n")} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			return 0, err
		}
	}
	return size, nil
}

// consumerEnv is the environment of somebody else's machine: modules come from that proxy, then from what this machine
// has downloaded already, and checked by the go.sum files here, then from the usual places. Nothing goes into this
// machine's module cache, where a version that nobody has released would stay.
func consumerEnv(ctx context.Context, root, work, proxy string) ([]string, error) {
	known, err := golang(ctx, root, nil, "env", "GOMODCACHE", "GOPROXY")
	if err != nil {
		return nil, err
	}
	cache, usual, _ := strings.Cut(strings.TrimSpace(known), "\n")
	return []string{
		"GOPROXY=file://" + proxy + ",file://" + filepath.Join(cache, "cache", "download") + "," + usual,
		"GOMODCACHE=" + filepath.Join(work, "modules"), "GOSUMDB=off", "GONOSUMDB=", "GOPRIVATE=", "GONOPROXY=", "GOWORK=off",
		"GOFLAGS=-trimpath -modcacherw", "CGO_ENABLED=0", "GOBIN=" + filepath.Join(work, "bin"), "GOENV=off",
	}, nil
}

var goBlock = regexp.MustCompile("(?ms)^```go\n(package main\n.*?)^```$")

// consumer is a program that uses a module: of the root that of the quick start, of the others their least use.
func consumer(source string, m module) (string, error) {
	if m.folder == "." {
		const document = "docs/quickstart.md"
		text, err := os.ReadFile(filepath.Join(source, document))
		if err != nil {
			return "", err
		}
		found := goBlock.FindSubmatch(text)
		if found == nil {
			return "", fmt.Errorf("%s has no program", document)
		}
		return string(found[1]), nil
	}
	program, ok := consumers[m.folder]
	if !ok {
		return "", fmt.Errorf("%s: consumers of tools/release has no program that uses it", m.folder)
	}
	return program, nil
}

func consume(ctx context.Context, work string, env []string, m module, version, program string) error {
	folder, err := os.MkdirTemp(work, "user-")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "main.go"), []byte(program), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"mod", "init", "example.com/user"},
		{"get", m.path + "@" + version},
		{"mod", "tidy"}, // whatever else the program imports
		{"vet", "."},
		{"build", "-o", "user", "."},
	} {
		if _, err := golang(ctx, folder, env, args...); err != nil {
			return err
		}
	}
	used, err := golang(ctx, folder, env, "list", "-m", "-f", "{{.Path}}@{{.Version}}{{if .Replace}} replaced{{end}}", "all")
	if err != nil {
		return err
	}
	for _, want := range slices.Compact([]string{rootModule + "@" + version, m.path + "@" + version}) {
		if !slices.Contains(strings.Split(used, "\n"), want) {
			return fmt.Errorf("%s is not what was built", want)
		}
	}
	return nil
}

func install(ctx context.Context, work string, env []string, name, version string) error {
	if _, err := golang(ctx, work, env, "install", rootModule+"/cmd/"+name+"@"+version); err != nil {
		return err
	}
	told, err := run(ctx, work, nil, filepath.Join(work, "bin", name), "--version")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(told, name+" "+version+" ") {
		return fmt.Errorf("%s --version says %q, want %s", name, told, version)
	}
	return nil
}

// removeAll also removes what the go command has made read-only.
func removeAll(folder string) {
	_ = filepath.WalkDir(folder, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(p, 0o755)
		}
		return nil
	})
	_ = os.RemoveAll(folder)
}
