package main

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const nested = `module github.com/otelbreaker/otelbreaker/contrib/more

go 1.26.0

require github.com/otelbreaker/otelbreaker v0.2.0

replace github.com/otelbreaker/otelbreaker => ../..
`

// ready is a repository that can be released as v0.2.0.
func ready() map[string]string {
	return map[string]string{
		"go.mod":               "module " + rootModule + "\n\ngo 1.26.0\n",
		"logs/logs.go":         "package logs\n\n// Scope.\nconst (\n\tScopeName = \"logs\"\n\tVersion   = \"0.2.0\"\n)\n",
		"api/logs.txt":         "package logs\n\nconst ScopeName = \"logs\"\n\nconst Version = \"\" // changes with every release\n",
		"api/contrib/more.txt": "package more\n",
		"contrib/more/go.mod":  nested,
		"contrib/more/more.go": "package more\n\nimport _ \"" + rootModule + "/logs\"\n",
		"CHANGELOG.md":         "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-01-02\n\n### Added\n\n- Something.\n\n[0.2.0]: https://example.com\n",
		"README.md":            "Go 1.26.0 or later\n\n    go get " + rootModule + "/contrib/more@v0.2.0\n    go run " + rootModule + "/cmd/demo@latest\n",
	}
}

func gitRepository(t *testing.T, files map[string]string) string {
	t.Helper()
	root := tree(t, files)
	git(t, root, "init", "--quiet")
	commit(t, root)
	return root
}

func git(t *testing.T, root string, args ...string) {
	t.Helper()
	if _, err := run(t.Context(), root, nil, "git", args...); err != nil {
		t.Fatal(err)
	}
}

func commit(t *testing.T, root string) {
	t.Helper()
	git(t, root, "add", "--all")
	git(t, root, "-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false", "commit", "--quiet", "--allow-empty", "-m", "test")
}

func TestWhatIsReadyPasses(t *testing.T) {
	root := gitRepository(t, ready())
	var out bytes.Buffer
	if err := take(atHand(t.Context(), root, "v0.2.0", false), &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if err := api(t.Context(), root, false, false, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// One thing is wrong each time, and that one is told.
func TestEveryThingThatIsMissingIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string // instead, or besides
		tag   string
		step  string
		told  string
	}{
		"no section":    {map[string]string{"CHANGELOG.md": "# Changelog\n"}, "", "the changelog has the version", `no "## [0.2.0] - YYYY-MM-DD"`},
		"unreleased":    {map[string]string{"CHANGELOG.md": "## [Unreleased]\n\n- A.\n"}, "", "the changelog has the version", "has only [Unreleased]"},
		"no date":       {map[string]string{"CHANGELOG.md": "## [0.2.0]\n\n- A.\n\n[0.2.0]: https://e\n"}, "", "the changelog has the version", "no \"## [0.2.0] - YYYY-MM-DD\""},
		"empty section": {map[string]string{"CHANGELOG.md": "## [0.2.0] - 2026-01-02\n\n## [0.1.0] - 2026-01-01\n\n- A.\n\n[0.2.0]: https://e\n"}, "", "the changelog has the version", "says nothing under [0.2.0]"},
		"no link":       {map[string]string{"CHANGELOG.md": "## [0.2.0] - 2026-01-02\n\n- A.\n"}, "", "the changelog has the version", "no link"},
		"constant":      {map[string]string{"logs/logs.go": "package logs\n\nconst Version = \"0.2.0-dev\"\n"}, "", "the version is set", "logs/logs.go: Version is 0.2.0-dev"},
		"required":      {map[string]string{"contrib/more/go.mod": strings.Replace(nested, "v0.2.0", "v0.0.0-00010101000000-000000000000", 1)}, "", "the version is set", "contrib/more/go.mod: requires " + rootModule + " v0.0.0-"},
		"root tag":      {nil, "v0.2.0", "no tag is there yet", "v0.2.0 is there"},
		"nested tag":    {nil, "contrib/more/v0.2.0", "no tag is there yet", "contrib/more/v0.2.0 is there"},
		"replaced":      {map[string]string{"go.mod": "module " + rootModule + "\n\ngo 1.26.0\n\nreplace example.com/a => ./a\n"}, "", "nothing is replaced for users", "replaces example.com/a"},
		"replaced elsewise": {map[string]string{
			"contrib/more/go.mod": strings.Replace(nested, "../..", "../../fork", 1),
			"fork/go.mod":         ready()["go.mod"], "fork/logs/logs.go": "package logs\n",
		}, "", "nothing is replaced for users", "contrib/more/go.mod replaces"},
		"excluded":    {map[string]string{"go.mod": "module " + rootModule + "\n\ngo 1.26.0\n\nexclude example.com/a v1.0.0\n"}, "", "nothing is replaced for users", "excludes example.com/a"},
		"untidy":      {map[string]string{"contrib/more/more.go": "package more\n"}, "", "go.mod and go.sum are tidy", rootModule},
		"old version": {map[string]string{"README.md": rootModule + "@v0.1.0\n"}, "", "the documents name the right versions", "README.md: " + rootModule + "@v0.1.0"},
		"other Go":    {map[string]string{"docs/a.md": "Go 1.25 or later\n"}, "", "the documents name the right versions", "go.mod asks for 1.26.0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := ready()
			maps.Copy(files, c.files)
			root := gitRepository(t, files)
			if c.tag != "" {
				git(t, root, "tag", "--no-sign", c.tag)
			}
			missed(t, root, c.step, c.told)
		})
	}
	t.Run("not committed", func(t *testing.T) {
		root := gitRepository(t, ready())
		edit(t, filepath.Join(root, "README.md"), "Go 1.26.0 or later", "")
		missed(t, root, "the tree is clean", "M README.md")
	})
}

func TestATaggedCommitIsCheckedForItsTag(t *testing.T) {
	root := gitRepository(t, ready())
	var out bytes.Buffer
	if err := take(atHand(t.Context(), root, "v0.2.0", true), &out); err == nil || !strings.Contains(out.String(), "has no tag v0.2.0") {
		t.Errorf("without a tag: %v\n%s", err, out.String())
	}
	git(t, root, "tag", "--no-sign", "v0.2.0")
	if err := take(atHand(t.Context(), root, "v0.2.0", true), &out); err != nil {
		t.Errorf("with it: %v\n%s", err, out.String())
	}
	commit(t, root)
	if err := take(atHand(t.Context(), root, "v0.2.0", true), &out); err == nil {
		t.Error("with the tag on another commit it passes")
	}
}

func missed(t *testing.T, root, name, told string) {
	t.Helper()
	var out bytes.Buffer
	err := take(atHand(t.Context(), root, "v0.2.0", false), &out)
	if err == nil {
		t.Fatalf("passes:\n%s", out.String())
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "MISSING") && !strings.HasPrefix(line, "MISSING  "+name+": ") {
			t.Errorf("is missing, too: %s", line)
		}
	}
	if !strings.Contains(out.String(), told) {
		t.Errorf("%q is not told:\n%s", told, out.String())
	}
}

func TestAllStepsAreTaken(t *testing.T) {
	var out bytes.Buffer
	err := take([]step{
		{"one", func() error { return errors.New("of\ntwo lines") }},
		{"two", func() error { return nil }},
		{"three", func() error { return errors.New("no") }},
	}, &out)
	if err == nil || !strings.Contains(err.Error(), "2 of 3") || !strings.Contains(err.Error(), "one; three") || !strings.Contains(out.String(), "ok       two") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestOnlyVersionsThatCanBeReleasedAreTaken(t *testing.T) {
	for version, good := range map[string]bool{
		"v0.1.0": true, "v1.20.3": true, "v1.0.0-rc.1": true,
		"": false, "0.1.0": false, "v0.1": false, "v2.0.0": false, "v1.0.0+build": false, "latest": false, "v01.0.0": false,
	} {
		if err := checkVersion(version); (err == nil) != good {
			t.Errorf("%q: %v", version, err)
		}
	}
}

func TestPrepareSetsAllThatIsChecked(t *testing.T) {
	root := tree(t, ready())
	if err := prepare(t.Context(), root, "v0.3.0"); err != nil {
		t.Fatal(err)
	}
	if err := versionSet(root, "v0.3.0"); err != nil {
		t.Error(err)
	}
	if err := prepare(t.Context(), root, "v0.4.0-dev"); err != nil {
		t.Fatal(err)
	}
	err := versionSet(root, "v0.4.0-dev")
	if err == nil || strings.Contains(err.Error(), "logs/") || !strings.Contains(err.Error(), "requires "+rootModule+" v0.3.0") {
		t.Errorf("between releases: %v", err)
	}
	if err := check(t.Context(), root, "v0.4.0-dev", false, nil, &bytes.Buffer{}); err == nil {
		t.Error("such a version can be released")
	}
	all, err := places(root)
	if err != nil || len(all) != 2 {
		t.Errorf("%v, %v: want the constant and the nested module", all, err)
	}
}

// A patch must not break what a minor version within v0 may.
func TestABreakSinceTheLastReleaseIsAMatterOfTheVersion(t *testing.T) {
	root := gitRepository(t, ready())
	git(t, root, "tag", "--no-sign", "v0.2.0")
	edit(t, filepath.Join(root, "logs/logs.go"), "ScopeName", "Scope")
	if err := api(t.Context(), root, true, true, &bytes.Buffer{}); err != nil { // is in the record
		t.Fatal(err)
	}
	commit(t, root)
	for version, good := range map[string]bool{"v0.2.1": false, "v0.3.0": true, "v1.0.0": false, "v0.1.0": true} {
		err := sinceLast(t.Context(), root, version, &bytes.Buffer{})
		if (err == nil) != good || !good && !strings.Contains(err.Error(), "ScopeName: removed") {
			t.Errorf("%s: %v", version, err)
		}
	}
}

// What is zipped for the module proxy is what users of a nested module need, and nothing of the others.
func TestAModuleIsPackedAsTheProxyDoes(t *testing.T) {
	files := ready()
	files["LICENSE"] = mit
	root := tree(t, files)
	modules, err := publicModules(root)
	if err != nil || len(modules) != 2 {
		t.Fatalf("%v, %v", modules, err)
	}
	proxy := t.TempDir()
	for _, m := range modules {
		if _, err := publish(proxy, root, m, "v0.2.0"); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"GOPROXY=file://" + proxy, "GOSUMDB=off", "GOFLAGS=-modcacherw", "GOMODCACHE=" + t.TempDir()}
	user := tree(t, map[string]string{
		"go.mod":  "module example.com/user\n\ngo 1.26.0\n",
		"main.go": "package main\n\nimport _ \"" + rootModule + "/contrib/more\"\n\nfunc main() {}\n",
	})
	for _, args := range [][]string{{"get", rootModule + "/contrib/more@v0.2.0"}, {"build", "-o", os.DevNull, "."}} {
		if _, err := golang(t.Context(), user, env, args...); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := golang(t.Context(), user, env, "list", "-m", "-f", "{{.Dir}}", rootModule+"/contrib/more")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(strings.TrimSpace(folder), "LICENSE")); err != nil {
		t.Errorf("without a licence: %v", err)
	}
	folder, err = golang(t.Context(), user, env, "list", "-m", "-f", "{{.Dir}}", rootModule)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(strings.TrimSpace(folder), "contrib")); err == nil {
		t.Error("the nested module is in the zip of the root, too")
	}

	// A module that requires what is not there cannot be used, whatever it replaces.
	edit(t, filepath.Join(root, "contrib/more/go.mod"), "v0.2.0", "v0.0.0-00010101000000-000000000000")
	if _, err := publish(proxy, root, modules[1], "v0.2.1"); err != nil {
		t.Fatal(err)
	}
	user = tree(t, map[string]string{"go.mod": "module example.com/user\n\ngo 1.26.0\n"})
	if _, err := golang(t.Context(), user, env, "get", rootModule+"/contrib/more@v0.2.1"); err == nil {
		t.Error("users do not see replace lines, and yet it was got")
	}
}

// Every module that users can get has somebody who gets it before them.
func TestEveryPublicModuleHasAUser(t *testing.T) {
	repo, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	modules, err := publicModules(repo)
	if err != nil || len(modules) < 4 {
		t.Fatalf("%v, %v", modules, err)
	}
	for _, m := range modules {
		if program, err := consumer(repo, m); err != nil || !strings.Contains(program, "\""+m.path) {
			t.Errorf("%s: %v, %q", m.path, err, program)
		}
	}
}
