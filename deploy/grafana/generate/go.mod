module github.com/otelbreaker/otelbreaker/deploy/grafana/generate

go 1.26.0
