// Package e2e holds the tests that run otelbreaker against the real OpenTelemetry Collector and the real
// Prometheus, with the configurations of deploy/. Run them by `make e2e`, which builds both first.
package e2e
