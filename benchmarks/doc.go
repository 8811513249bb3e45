// Package benchmarks measures what a call through a circuit breaker costs, beside the breakers that Go services use
// most, in one process and one run. It is a module of its own, so that none of them is a dependency of this project.
//
// Each library is measured as it comes, with nothing observing it; ours has its metrics, log records and spans wired to
// the real OpenTelemetry SDK, and once more stands bare. The script run takes the benchmarks one by one in alternating
// order, because a machine that is busy for a minute would otherwise make one library look slow; the program in
// report turns what benchstat makes of them into the tables of docs/benchmarks.md.
package benchmarks
