// Package deploy holds the files of this folder for programs that carry them.
package deploy

import _ "embed" // for the files

// AlertRules is circuit_breaker_alerts.yml, the alert rules for Prometheus.
//
//go:embed prometheus/circuit_breaker_alerts.yml
var AlertRules []byte
