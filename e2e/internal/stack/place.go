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

// files returns the collector's binary and its two configurations: the one that users are given and
// what the tests add to it.
func files(t *testing.T) (binary, config, overlay string) {
	t.Helper()
	root, err := repositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(root, ".bin", "otelcol")
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("no collector to test with; run the tests by `make e2e`, which builds it: %v", err)
	}
	return binary, filepath.Join(root, "deploy", "otel-collector.yaml"),
		filepath.Join(root, "e2e", "internal", "stack", "overlay.yaml")
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
