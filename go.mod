module github.com/otelbreaker/otelbreaker

go 1.26.0
