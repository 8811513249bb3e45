package cli

import (
	"bytes"
	"regexp"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/spf13/cobra"
)

func TestVersionIsTold(t *testing.T) {
	var stdout, stderr bytes.Buffer
	root := &cobra.Command{Use: "program", RunE: func(*cobra.Command, []string) error { t.Error("has run"); return nil }}
	if code := Run(t.Context(), root, []string{"--version"}, &stdout, &stderr); code != OK {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	want := `^program \S+ \((commit [0-9a-f]+(, modified)?, )?` + regexp.QuoteMeta(runtime.Version()) + ` \w+/\w+\)\n$`
	if !regexp.MustCompile(want).MatchString(stdout.String()) {
		t.Errorf("%q is not like %s", stdout.String(), want)
	}
}

func TestRevision(t *testing.T) {
	for _, c := range []struct {
		settings []debug.BuildSetting
		want     string
	}{
		{nil, ""},
		{[]debug.BuildSetting{{Key: "vcs.modified", Value: "true"}}, ""},
		{[]debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "false"}}, "abc"},
		{[]debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}, "abc, modified"},
	} {
		if got := revision(c.settings); got != c.want {
			t.Errorf("%v: %q, want %q", c.settings, got, c.want)
		}
	}
}
