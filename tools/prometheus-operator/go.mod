// The operator's module holds its CustomResourceDefinitions, which the manifests in deploy/kubernetes are checked by. The
// tool line keeps it here through `go mod tidy`; nothing is built.
module github.com/otelbreaker/otelbreaker/tools/prometheus-operator

go 1.26.0

tool github.com/prometheus-operator/prometheus-operator/example/alertmanager-webhook

require github.com/prometheus-operator/prometheus-operator v0.92.0 // indirect
