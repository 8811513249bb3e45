package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDifferentBuildsAreNamed(t *testing.T) {
	if err := sameSums([]byte("1  a\n2  b\n"), []byte("1  a\n2  b\n")); err != nil {
		t.Error(err)
	}
	err := sameSums([]byte("1  a\n2  b\n3  c\n"), []byte("1  a\n9  b\n4  d\n"))
	if err == nil {
		t.Fatal("passes")
	}
	for _, want := range []string{"b is not the same", "c is not the same", "d was built the second time only"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "a is not") {
		t.Errorf("a is the same: %v", err)
	}
}

// A program of the same source, flags and Go is the same wherever it is built, and says what it was built from.
func TestAProgramIsTheSameInEveryFolder(t *testing.T) {
	var sums [][]byte
	for _, name := range []string{"a", "another"} {
		files := map[string]string{
			name + "/go.mod":                  "module " + rootModule + "\n\ngo 1.26.0\n",
			name + "/internal/cli/version.go": "package cli\n\nvar version, commit string\n\nfunc Version() string { return version + \" \" + commit }\n",
		}
		for _, program := range programs {
			files[name+"/cmd/"+program+"/main.go"] = "package main\n\nimport \"" + rootModule + "/internal/cli\"\n\nfunc main() { println(cli.Version()) }\n"
		}
		root := filepath.Join(tree(t, files), name)
		to := filepath.Join(root, "dist")
		if err := build(t.Context(), root, stamp{"v1.2.3", "abcdef"}, to, []string{"linux/arm64", "windows/amd64"}, nil); err != nil {
			t.Fatal(err)
		}
		if err := sum(to); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(to, checksums))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, text)
		binary, err := os.ReadFile(filepath.Join(to, "demo_windows_amd64.exe"))
		if err != nil || !strings.Contains(string(binary), "v1.2.3") || !strings.Contains(string(binary), "abcdef") {
			t.Errorf("not stamped: %v", err)
		}
		if strings.Contains(string(binary), root) {
			t.Error("the folder is in it")
		}
	}
	if err := sameSums(sums[0], sums[1]); err != nil || strings.Count(string(sums[0]), "\n") != 4 {
		t.Errorf("%v\n%s", err, sums[0])
	}
}
