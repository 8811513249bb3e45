package transport

import (
	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// observe connects the breakers to metrics, spans and logs, until the function that it returns is called.
func observe(breakers *breaker.Group, s *settings) (end func() error, err error) {
	registration, err := otelcb.Observe(breakers, otelcb.WithMeterProvider(s.meters), otelcb.WithTracerProvider(s.tracers),
		otelcb.WithLogs(append([]logs.Option{logs.WithLoggerProvider(s.loggers)}, s.logs...)...), otelcb.WithSlog(s.slog))
	if err != nil {
		return nil, err
	}
	return registration.Unregister, nil
}
