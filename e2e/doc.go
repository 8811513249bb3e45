// Package e2e holds the tests that run otelbreaker against the real OpenTelemetry Collector. Run
// them by `make e2e`, which builds the collector first.
package e2e
