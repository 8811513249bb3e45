package transport

import (
	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/logs"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

// observe connects the breakers to metrics, spans and logs, until the function that it returns is called.
func observe(breakers *breaker.Group, s *settings) (end func() error, err error) {
	registration, err := otelcb.Observe(breakers,
		otelcb.WithMeterProvider(s.meters), otelcb.WithTracerProvider(s.tracers))
	if err != nil {
		return nil, err
	}
	to := []logs.Option{logs.WithLoggerProvider(s.loggers)}
	if s.slog != nil {
		to = append(to, logs.WithSlog(s.slog))
	}
	unsubscribe := breakers.Subscribe(logs.NewListener(append(to, s.logs...)...))
	return func() error {
		unsubscribe()
		return registration.Unregister()
	}, nil
}
