package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// A step is one thing that has to hold of a release.
type step struct {
	name  string
	holds func() error
}

// check tells all that is missing for a release of what is committed, and changes nothing.
func check(ctx context.Context, root, version string, tagged bool, only []string, out io.Writer) error {
	if err := checkVersion(version); err != nil {
		return err
	}
	if strings.HasSuffix(version, development) {
		return fmt.Errorf("VERSION is %q: what ends in %s is never released", version, development)
	}
	steps := append(atHand(ctx, root, version, tagged),
		step{"the surface is as recorded", func() error { return api(ctx, root, false, false, out) }},
		step{"nothing breaks users of the last release", func() error { return sinceLast(ctx, root, version, out) }},
		step{"licences", func() error { return licences(ctx, root, out) }},
		step{"no known vulnerability is called", func() error { return vuln(ctx, root, true, out) }},
		step{"users can get the modules", func() error { return pack(ctx, root, version, out) }},
		step{"the files are the same when made again", func() error { return reproduce(ctx, root, only, out) }},
	)
	return take(steps, out)
}

// take takes all steps, so that one run shows all that is missing.
func take(steps []step, out io.Writer) error {
	var missing []string
	for _, s := range steps {
		if err := s.holds(); err != nil {
			missing = append(missing, s.name)
			fmt.Fprintf(out, "MISSING  %s: %s\n", s.name, strings.ReplaceAll(err.Error(), "\n", "\n         "))
			continue
		}
		fmt.Fprintf(out, "ok       %s\n", s.name)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of %d things are missing for the release: %s", len(missing), len(steps), strings.Join(missing, "; "))
	}
	return nil
}

// atHand are the steps that take next to no time.
func atHand(ctx context.Context, root, version string, tagged bool) []step {
	tag := step{"no tag is there yet", func() error { return untagged(ctx, root, version) }}
	if tagged {
		tag = step{"the tag is of what is here", func() error { return tagHere(ctx, root, version) }}
	}
	return []step{
		{"the tree is clean", func() error { return cleanTree(ctx, root) }},
		tag,
		{"the changelog has the version", func() error { return changelog(root, version) }},
		{"the version is set", func() error { return versionSet(root, version) }},
		{"nothing is replaced for users", func() error { return replaced(root) }},
		{"go.mod and go.sum are tidy", func() error { return tidy(ctx, root) }},
		{"the documents name the right versions", func() error { return documents(root, version) }},
	}
}

func cleanTree(ctx context.Context, root string) error {
	changed, err := run(ctx, root, nil, "git", "status", "--porcelain")
	if err != nil {
		return err
	}
	if changed != "" {
		return fmt.Errorf("what is not committed is not released:\n%s", strings.TrimRight(changed, "\n"))
	}
	return nil
}

// untagged sees the tags of this clone: git fetch --tags brings those of others.
func untagged(ctx context.Context, root, version string) error {
	modules, err := publicModules(root)
	if err != nil {
		return err
	}
	tags, err := run(ctx, root, nil, "git", "tag", "--list")
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range modules {
		if slices.Contains(strings.Fields(tags), m.tag(version)) {
			errs = append(errs, fmt.Errorf("the tag %s is there: a version that was released stays as it is", m.tag(version)))
		}
	}
	return errors.Join(errs...)
}

// tagHere is what has to hold once the root is tagged. The nested modules are tagged after it.
func tagHere(ctx context.Context, root, version string) error {
	tags, err := run(ctx, root, nil, "git", "tag", "--points-at", "HEAD")
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(tags), version) {
		return fmt.Errorf("the commit that is checked out has no tag %s", version)
	}
	return nil
}

func changelog(root, version string) error {
	text, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	number := strings.TrimPrefix(version, "v")
	heading := regexp.MustCompile(`(?m)^## \[` + regexp.QuoteMeta(number) + `\] - \d{4}-\d\d-\d\d$`).FindIndex(text)
	if heading == nil {
		wanted := fmt.Sprintf("\"## [%s] - YYYY-MM-DD\"", number)
		if strings.Contains(string(text), "## [Unreleased]") {
			return fmt.Errorf("CHANGELOG.md has only [Unreleased]: call that %s, under a new and empty one", wanted)
		}
		return fmt.Errorf("CHANGELOG.md has no %s", wanted)
	}
	section, _, _ := strings.Cut(string(text[heading[1]:]), "\n## ")
	if !regexp.MustCompile(`(?m)^- `).MatchString(section) {
		return fmt.Errorf("CHANGELOG.md says nothing under [%s]", number)
	}
	if !strings.Contains(string(text), "\n["+number+"]: https://") {
		return fmt.Errorf("CHANGELOG.md has no link \"[%s]: https://…\" at its end", number)
	}
	return nil
}

func versionSet(root, version string) error {
	all, err := places(root)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range all {
		if p.found != p.want(version) {
			errs = append(errs, fmt.Errorf("%s: %s %s", p.file, p.what, p.found))
		}
	}
	if len(errs) > 0 {
		errs = append(errs, fmt.Errorf("make release-prepare VERSION=%s sets it", version))
	}
	return errors.Join(errs...)
}

// replaced allows one: of the root module, by the nested ones, which are built and tested with the root beside them.
// Users do not see it.
func replaced(root string) error {
	modules, err := publicModules(root)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range modules {
		for _, r := range m.file.Replace {
			if m.folder == "." || r.Old.Path != rootModule || r.New.Version != "" || filepath.Join(m.folder, r.New.Path) != "." {
				errs = append(errs, fmt.Errorf("%s/go.mod replaces %s by %s: users would build with the original", m.folder, r.Old.Path, r.New.Path))
			}
		}
		for _, e := range m.file.Exclude {
			errs = append(errs, fmt.Errorf("%s/go.mod excludes %s: users would not", m.folder, e.Mod))
		}
	}
	return errors.Join(errs...)
}

func tidy(ctx context.Context, root string) error {
	modules, err := publicModules(root)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range modules {
		_, err := golang(ctx, filepath.Join(root, m.folder), nil, "mod", "tidy", "-diff")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

var (
	namedVersion = regexp.MustCompile(regexp.QuoteMeta(rootModule) + `[\w/]*@(v[\w.+-]*\w)`)
	namedGo      = regexp.MustCompile(`Go (1\.\d+(?:\.\d+)?) or later`)
)

// documents looks at what users copy: the version of a module, and which Go it takes.
func documents(root, version string) error {
	var files []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "contrib/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		files = append(files, found...)
	}
	modules, err := publicModules(root)
	if err != nil {
		return err
	}
	goVersion := modules[0].file.Go.Version
	var errs []error
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		for _, found := range namedVersion.FindAllStringSubmatch(string(text), -1) {
			if found[1] != version {
				errs = append(errs, fmt.Errorf("%s: %s is not the version to be released", name, found[0]))
			}
		}
		for _, found := range namedGo.FindAllStringSubmatch(string(text), -1) {
			if found[1] != goVersion {
				errs = append(errs, fmt.Errorf("%s: %q, but go.mod asks for %s", name, found[0], goVersion))
			}
		}
	}
	return errors.Join(errs...)
}

// sinceLast compares with the record of the release before. Within v0 a minor version may break, a patch may not.
func sinceLast(ctx context.Context, root, version string, out io.Writer) error {
	tags, err := run(ctx, root, nil, "git", "tag", "--list", "v*", "--merged", "HEAD")
	if err != nil {
		return err
	}
	last := ""
	for _, tag := range strings.Fields(tags) {
		if semver.IsValid(tag) && semver.Compare(tag, version) < 0 && (last == "" || semver.Compare(tag, last) > 0) {
			last = tag
		}
	}
	if last == "" {
		fmt.Fprintf(out, "there is no release before %s\n", version)
		return nil
	}
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer removeAll(work)
	if err := export(ctx, root, last, work); err != nil {
		return err
	}
	recorded, err := readRecord(os.DirFS(work))
	if err != nil {
		return err
	}
	modules, err := publicModules(root)
	if err != nil {
		return err
	}
	var breaking []error
	for _, m := range modules {
		before := recorded.of(m.path, modules)
		now, other, err := surfaceOf(ctx, root, m, before)
		if err != nil {
			return err
		}
		bad, _, err := judge(m.path, before, now, other)
		if err != nil {
			return err
		}
		for _, message := range bad {
			breaking = append(breaking, errors.New(message))
		}
	}
	if len(breaking) > 0 && (semver.Major(version) != "v0" || semver.MajorMinor(version) == semver.MajorMinor(last)) {
		return fmt.Errorf("%s would break users of %s:\n%w", version, last, errors.Join(breaking...))
	}
	return nil
}
