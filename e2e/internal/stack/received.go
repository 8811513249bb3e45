package stack

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Logs returns the log records that have arrived, in the order of arrival. Call it after Stop: while
// the collector runs it may hold some back.
func (c *Collector) Logs() ([]plog.LogRecord, error) {
	var records []plog.LogRecord
	unmarshal := new(plog.JSONUnmarshaler).UnmarshalLogs
	err := readLines(c.logsFile, func(line []byte) error {
		logs, err := unmarshal(line)
		if err != nil {
			return err
		}
		for _, resource := range logs.ResourceLogs().All() {
			for _, scope := range resource.ScopeLogs().All() {
				for _, record := range scope.LogRecords().All() {
					records = append(records, record)
				}
			}
		}
		return nil
	})
	return records, err
}

// Spans returns the spans that have arrived, in the order of arrival. Call it after Stop.
func (c *Collector) Spans() ([]ptrace.Span, error) {
	var spans []ptrace.Span
	unmarshal := new(ptrace.JSONUnmarshaler).UnmarshalTraces
	err := readLines(c.tracesFile, func(line []byte) error {
		traces, err := unmarshal(line)
		if err != nil {
			return err
		}
		for _, resource := range traces.ResourceSpans().All() {
			for _, scope := range resource.ScopeSpans().All() {
				for _, span := range scope.Spans().All() {
					spans = append(spans, span)
				}
			}
		}
		return nil
	})
	return spans, err
}

// readLines calls f for every line of a file of the file exporter: one line a batch.
func readLines(name string, f func([]byte) error) error {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the collector was told to send nothing to files: %w", err)
	}
	if err != nil {
		return err
	}
	for line := range bytes.Lines(data) {
		if err := f(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
