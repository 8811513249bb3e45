//go:build unix

package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program starts the demo as a process of its own.
func program(t *testing.T, env ...string) (*exec.Cmd, *lines, <-chan error) {
	t.Helper()
	said := &lines{t: t}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-listen", "127.0.0.1:0")
	cmd.Env = append(append(os.Environ(), "DEMO_TEST_AS_PROGRAM=1"), env...)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	said.await("/health/circuit-breakers", "every dependency is healthy")
	return cmd, said, ended
}

func TestProgram_EndsOnASignal(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			cmd, said, ended := program(t)
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("it ended with %v, want exit code 0:\n%s", err, said)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("it does not end:\n%s", said)
			}
		})
	}
}

// TestProgram_EndsAtOnceOnASecondSignal has a collector that never answers, for which the first signal waits.
func TestProgram_EndsAtOnceOnASecondSignal(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cmd, said, ended := program(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+silent.Addr().String())
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	said.await("ending")
	before := time.Now()
	for {
		_ = cmd.Process.Signal(os.Interrupt) // the first may have come too soon to be the second
		select {
		case err := <-ended:
			exit, failed := errors.AsType[*exec.ExitError](err)
			if !failed || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
				t.Errorf("it ended with %v, want the signal's doing", err)
			}
			if took := time.Since(before); took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
			if strings.Contains(said.String(), "not all telemetry") {
				t.Error("it waited for the collector all the same")
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}
