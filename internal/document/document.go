// Package document reads the commands that the repository's documents show, and runs them, for the tests that keep
// documents true.
package document

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Block is a fenced block of shell.
type Block struct {
	File     string // from the repository's root, with slashes
	Line     int    // of its fence
	Commands []string
}

// Name tells a block from others: the file, and how the first command begins.
func (b Block) Name() string { return b.File + ": " + strings.Join(b.Commands, "\n") }

// patience is how long a program has to end, and a page to be there.
const patience = 30 * time.Second

var shell = regexp.MustCompile("(?ms)^( *)```sh\n(.*?)^ *```$")

// Blocks are those of every document under root.
func Blocks(root string) (all []Block, err error) {
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, at := range shell.FindAllSubmatchIndex(text, -1) {
			b := Block{File: filepath.ToSlash(file), Line: 1 + bytes.Count(text[:at[0]], []byte("\n"))}
			b.Commands, err = commands(strings.ReplaceAll("\n"+string(text[at[4]:at[5]]), "\n"+string(text[at[2]:at[3]]), "\n")[1:])
			if err != nil {
				return fmt.Errorf("%s:%d: %w", b.File, b.Line, err)
			}
			all = append(all, b)
		}
		return nil
	})
	return all, err
}

// commands splits a script where bash sees a command's end.
func commands(script string) (all []string, err error) {
	command := ""
	for line := range strings.Lines(script) {
		if line = strings.TrimRight(line, " \n"); command == "" && (line == "" || line[0] == '#') {
			continue
		}
		command += line
		if !strings.HasSuffix(command, `\`) && exec.CommandContext(context.Background(), "bash", "-n", "-c", command).Run() == nil {
			all, command = append(all, command), ""
			continue
		}
		command += "\n"
	}
	if command != "" {
		return nil, fmt.Errorf("bash does not understand %q", command)
	}
	return all, nil
}

// Shell is where commands are run.
type Shell struct {
	Dir     string
	Env     []string          // beside the test's own, and before it
	Replace *strings.Replacer // what cannot be the same here as in the document: addresses, above all; may be nil
}

// Command is a command of a document, in bash, that stops at its first failure; it ends with the test.
func (s Shell) Command(t *testing.T, command string) *exec.Cmd {
	t.Helper()
	return s.command(t.Context(), command)
}

func (s Shell) command(ctx context.Context, command string) *exec.Cmd {
	if s.Replace != nil {
		command = s.Replace.Replace(command)
	}
	c := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", command)
	c.Dir, c.Env = s.Dir, append(os.Environ(), s.Env...)
	return c
}

// Run runs commands as they would be pasted into one shell. Where one fails, the test does.
func (s Shell) Run(t *testing.T, commands ...string) (output string) {
	t.Helper()
	script := strings.Join(commands, "\n")
	var failure bytes.Buffer
	c := s.Command(t, script)
	c.Stderr = &failure
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s\n%v\n%s%s", script, err, out, failure.Bytes())
	}
	return string(out)
}

// Start starts commands, as they would be pasted into one shell, that run until stop, which is Ctrl-C to all of them and
// waits for their end, or until the test ends. What they write goes to output.
func (s Shell) Start(t *testing.T, output io.Writer, commands ...string) (stop func()) {
	t.Helper()
	script := strings.Join(commands, "\n")
	c := s.command(context.Background(), script) // that of the test ends before its cleanups, which may want it still
	c.Stdout, c.Stderr = output, output
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // what an interrupted program says of it is its own affair
		close(ended)
	}()
	stop = sync.OnceFunc(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGINT)
		select {
		case <-ended:
		case <-time.After(patience):
			t.Errorf("%v after Ctrl-C it goes on:\n%s", patience, script)
			_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	})
	t.Cleanup(stop)
	return stop
}

// Get asks for a page, again and again until there is an answer, of which good (nil: any will do) finds nothing wrong.
func Get(t *testing.T, url string, good func(body string) error) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		body, err := get(ctx, url)
		if err == nil && good != nil {
			err = good(body)
		}
		if err == nil {
			return body
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v: %s", url, err, body)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(response.Body)
	return string(body), errors.Join(err, response.Body.Close())
}
