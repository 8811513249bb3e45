package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// place is where the repository's files are.
type place struct{ root string }

func findPlace(t testing.TB) place {
	t.Helper()
	root, err := repositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	return place{root}
}

// binary is a program that `make e2e` builds.
func (p place) binary(t testing.TB, name string) string {
	t.Helper()
	file := filepath.Join(p.root, ".bin", name)
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("no %s to test with; run the tests by `make e2e`, which builds it: %v", name, err)
	}
	return file
}

// configs are the flags of the collector's configuration that users are given, with some of its options.
func (p place) configs(options ...string) []string {
	var flags []string
	for _, name := range append([]string{"otel-collector.yaml"}, options...) {
		flags = append(flags, "--config", filepath.Join(p.root, "deploy", name))
	}
	return flags
}

// overlay is what the tests add to it.
func (p place) overlay() string {
	return filepath.Join(p.root, "e2e", "internal", "stack", "overlay.yaml")
}

// repositoryRoot is the folder above the working directory that holds the collector's
// configuration.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "deploy", "otel-collector.yaml"))
		if err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no folder above the test holds deploy/otel-collector.yaml: %w", err)
		}
		dir = parent
	}
}

// freeAddresses returns n different loopback addresses that nobody listens on now.
func freeAddresses(ctx context.Context, n int) (addrs []string, err error) {
	var config net.ListenConfig
	for range n {
		l, listenErr := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if listenErr != nil {
			return nil, errors.Join(err, listenErr)
		}
		// Closed on return only, so that no two of them are the same.
		defer func() { err = errors.Join(err, l.Close()) }()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
