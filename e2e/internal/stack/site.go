package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startTries: a port that was free may be taken before a program binds it.
const startTries = 3

// Site is where programs run: whose files they take, where their folders are, which addresses they get and how long
// they live.
type Site struct {
	Root string          // the repository, as FindRoot finds it
	Dir  string          // their folders are made in it; removing it is the caller's
	Life context.Context // its end kills them

	// Usual gives them the ports that deploy/ names, where those are free; otherwise each gets any free one.
	Usual bool
	// Apart puts them in process groups of their own, so that a Ctrl-C reaches the caller alone, who ends them in order.
	Apart bool
	// Rewrite, where set, changes what a program is given of deploy/. Files of Prometheus, its rules and Alertmanager go
	// through it, under their names below deploy/ with slashes.
	Rewrite func(name string, content []byte) ([]byte, error)
}

// siteOf is where the programs of a test run.
func siteOf(t testing.TB) *Site {
	t.Helper()
	root, err := FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	return &Site{Root: root, Dir: t.TempDir(), Life: lifetime(t)}
}

// lifetime ends when the time for the whole test binary is nearly up. It would otherwise end without a
// cleanup, and leave the process running.
func lifetime(t testing.TB) context.Context {
	t.Helper()
	limited, ok := t.(interface{ Deadline() (time.Time, bool) }) // a benchmark is not
	if !ok {
		return context.Background()
	}
	deadline, ok := limited.Deadline()
	if !ok {
		return context.Background()
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline.Add(-time.Second))
	t.Cleanup(cancel) // after the cleanup that stops the process, which is registered later
	return ctx
}

// FindRoot is the folder at or above the working directory that holds the collector's configuration.
func FindRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for begin := dir; ; {
		_, err := os.Stat(filepath.Join(dir, "deploy", "otel-collector.yaml"))
		if err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no folder at or above %s holds deploy/otel-collector.yaml: %w", begin, err)
		}
		dir = parent
	}
}

// binary is a program that make builds.
func (s *Site) binary(name string) (string, error) {
	file := filepath.Join(s.Root, ".bin", name)
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("no %s to run; `make stack` and `make e2e` build it first: %w", name, err)
	}
	return file, nil
}

// deploy is the path of one of the files that users are given.
func (s *Site) deploy(name string) string {
	return filepath.Join(s.Root, "deploy", filepath.FromSlash(name))
}

// copyFolder copies the files of a folder of deploy/, and those of its folders, as Rewrite has them.
func (s *Site) copyFolder(name, to string) error {
	return filepath.WalkDir(s.deploy(name), func(file string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(s.deploy(name), file)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, inside), 0o700)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if s.Rewrite != nil {
			if content, err = s.Rewrite(name+"/"+filepath.ToSlash(inside), content); err != nil {
				return err
			}
		}
		return os.WriteFile(filepath.Join(to, inside), content, 0o600)
	})
}

// folder makes a folder for one program.
func (s *Site) folder(program string) (string, error) {
	return os.MkdirTemp(s.Dir, program+"-")
}

// addresses returns different loopback addresses that nobody listens on now, one for each of those that are usual.
func (s *Site) addresses(usual ...string) (addrs []string, err error) {
	var config net.ListenConfig
	for _, address := range usual {
		var l net.Listener
		taken := errors.New("not asked for")
		if s.Usual {
			l, taken = config.Listen(s.Life, "tcp", address)
		}
		if taken != nil {
			var err error
			if l, err = config.Listen(s.Life, "tcp", "127.0.0.1:0"); err != nil {
				return nil, err
			}
		}
		// Closed on return only, so that no two of them are the same.
		defer func() { err = errors.Join(err, l.Close()) }()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// again starts a program, and once more where a port was taken meanwhile. What start returns is never nil.
func again[P interface{ Output() string }](start func() (P, error)) (P, error) {
	for try := 1; ; try++ {
		p, err := start()
		if err == nil {
			return p, nil
		}
		if try == startTries || !strings.Contains(p.Output(), "address already in use") {
			return p, fmt.Errorf("%w; its output:\n%s", err, p.Output())
		}
	}
}
