module github.com/otelbreaker/otelbreaker/fleet

go 1.26.7

replace github.com/otelbreaker/otelbreaker => ..
