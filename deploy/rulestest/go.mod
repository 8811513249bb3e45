module github.com/otelbreaker/otelbreaker/deploy/rulestest

go 1.26.0
