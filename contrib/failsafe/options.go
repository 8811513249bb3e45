package failsafe

import "github.com/otelbreaker/otelbreaker/breaker"

// Option is a setting of [NewBuilder].
type Option interface{ apply(*settings) }

type option func(*settings)

func (o option) apply(s *settings) { o(s) }

type settings struct {
	service, endpoint string
	listeners         []breaker.Listener
}

// WithService names the dependency that is called in every signal; a breaker of failsafe-go has no name of its own.
// Default is the endpoint's host, or "default".
func WithService(name string) Option { return option(func(s *settings) { s.service = name }) }

// WithEndpoint names the dependency's base URL in every signal. Default "default".
func WithEndpoint(url string) Option { return option(func(s *settings) { s.endpoint = url }) }

// WithListeners has these told of the transitions, from the first on. They may call the breaker, and a panic in one
// harms nobody.
func WithListeners(listeners ...breaker.Listener) Option {
	return option(func(s *settings) { s.listeners = append(s.listeners, listeners...) })
}
