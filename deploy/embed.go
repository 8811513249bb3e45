// Package deploy holds the alert rules, for programs that carry them within.
package deploy

import _ "embed" // for the files

// AlertRules is circuit_breaker_alerts.yml, the alert rules for Prometheus.
//
//go:embed prometheus/circuit_breaker_alerts.yml
var AlertRules []byte
