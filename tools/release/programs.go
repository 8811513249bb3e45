package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What a release has as files: these programs, for these platforms.
var (
	programs  = []string{"demo", "otelbreaker"}
	platforms = []string{"linux/amd64", "linux/arm64", "darwin/arm64", "windows/amd64"}
)

const checksums = "SHA256SUMS"

// A stamp is what a program says of itself with --version.
type stamp struct{ version, commit string }

// stampOf tells a tree's version: its tag, or the last tag, the commits since then and the commit. Other than by the
// commit nothing of when or where it is built goes into a program.
func stampOf(ctx context.Context, root string) (stamp, error) {
	version, err := run(ctx, root, nil, "git", "describe", "--tags", "--always", "--dirty", "--match", "v[0-9]*")
	if err != nil {
		return stamp{}, err
	}
	commit, err := run(ctx, root, nil, "git", "rev-parse", "HEAD")
	return stamp{strings.TrimSpace(version), strings.TrimSpace(commit)}, err
}

// build builds the programs of a tree into a folder.
func build(ctx context.Context, root string, s stamp, to string, only, env []string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	const cli = rootModule + "/internal/cli"
	flags := fmt.Sprintf("-s -w -X %s.version=%s -X %s.commit=%s", cli, s.version, cli, s.commit)
	for _, platform := range only {
		system, processor, _ := strings.Cut(platform, "/")
		for _, name := range programs {
			file := filepath.Join(to, programFile(name, platform))
			// GOAMD64 and its like could be set on one machine and not on another.
			_, err := golang(ctx, root, slices.Concat([]string{"CGO_ENABLED=0", "GOOS=" + system, "GOARCH=" + processor, "GOFLAGS=",
				"GOWORK=off", "GOENV=off", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off"}, env),
				"build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", file, "./cmd/"+name)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// sum writes the checksums of all files in a folder.
func sum(folder string) error {
	files, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, file := range files {
		if file.Name() == checksums {
			continue
		}
		sum, err := hash(filepath.Join(folder, file.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, file.Name())
	}
	return os.WriteFile(filepath.Join(folder, checksums), []byte(sums.String()), 0o644)
}

// ship makes all files of a release: the programs, what is in them, and the checksums.
func ship(ctx context.Context, root string, s stamp, to string, only []string) error {
	if err := os.RemoveAll(to); err != nil { // so that nothing of an earlier release is among them
		return err
	}
	if err := build(ctx, root, s, to, only, nil); err != nil {
		return err
	}
	if err := sbom(ctx, root, s, to, only); err != nil {
		return err
	}
	return sum(to)
}

func programFile(name, platform string) string {
	file := name + "_" + strings.ReplaceAll(platform, "/", "_")
	if strings.HasPrefix(platform, "windows/") {
		file += ".exe"
	}
	return file
}

func hash(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// reproduce makes the files of what is committed twice, in folders of different names and lengths, the second time with an empty
// build cache, and compares the checksums.
func reproduce(ctx context.Context, root string, only []string, out io.Writer) error {
	s, err := stampOf(ctx, root)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer removeAll(work)
	var sums [][]byte
	for _, try := range []struct {
		folder string
		env    []string
	}{
		{"first", nil},
		{"second/of/another/name", []string{"GOCACHE=" + filepath.Join(work, "cache")}},
	} {
		source := filepath.Join(work, try.folder)
		if err := os.MkdirAll(source, 0o755); err != nil {
			return err
		}
		if err := export(ctx, root, "HEAD", source); err != nil {
			return err
		}
		to := filepath.Join(source, ".dist")
		if err := build(ctx, source, s, to, only, try.env); err != nil {
			return err
		}
		if err := sbom(ctx, root, s, to, only); err != nil {
			return err
		}
		if err := sum(to); err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(to, checksums))
		if err != nil {
			return err
		}
		sums = append(sums, text)
	}
	fmt.Fprintf(out, "%s", sums[0])
	return sameSums(sums[0], sums[1])
}

// sameSums tells which files two lists of checksums differ in.
func sameSums(a, b []byte) error {
	if bytes.Equal(a, b) {
		return nil
	}
	second := map[string]string{}
	for line := range strings.Lines(string(b)) {
		sum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		second[file] = sum
	}
	var errs []error
	for line := range strings.Lines(string(a)) {
		sum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if second[file] != sum {
			errs = append(errs, fmt.Errorf("%s is not the same when built again: %s, then %s", file, sum, second[file]))
		}
		delete(second, file)
	}
	for file := range second {
		errs = append(errs, fmt.Errorf("%s was built the second time only", file))
	}
	return errors.Join(errs...)
}
