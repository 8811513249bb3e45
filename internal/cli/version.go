package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// What make programs builds says this of itself; see [Version].
var version, commit string

// Version says what a program was built from: the module's version, the commit, and by which Go for which platform.
// What the linker was not told comes from what Go puts into every program: the version that go install was asked for,
// or the repository that go build found.
func Version() string {
	v, c := version, commit
	if build, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = build.Main.Version
		}
		if c == "" {
			c = revision(build.Settings)
		}
	}
	if v == "" {
		v = "(devel)"
	}
	if c != "" {
		c = "commit " + c + ", "
	}
	return fmt.Sprintf("%s (%s%s %s/%s)", v, c, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func revision(settings []debug.BuildSetting) (commit string) {
	modified := ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = ", modified"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + modified
}
