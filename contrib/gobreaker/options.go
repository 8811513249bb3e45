package gobreaker

import (
	"errors"
	"fmt"

	"github.com/sony/gobreaker/v2"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Option is a setting of [New] and [NewTwoStep] beside gobreaker's own.
type Option interface{ apply(*settings) }

type option func(*settings)

func (o option) apply(s *settings) { o(s) }

type settings struct {
	service, endpoint string
	listeners         []breaker.Listener
}

func newSettings(st gobreaker.Settings, options []Option) (*settings, error) {
	s := &settings{service: st.Name}
	var errs []error
	for i, o := range options {
		if o == nil {
			errs = append(errs, fmt.Errorf("gobreaker: option %d is nil", i))
			continue
		}
		o.apply(s)
	}
	return s, errors.Join(errs...)
}

// WithService names the dependency that is called in every signal, instead of the settings' Name. Where both are empty
// it is the endpoint's host.
func WithService(name string) Option { return option(func(s *settings) { s.service = name }) }

// WithEndpoint names the dependency's base URL in every signal. Default "default".
func WithEndpoint(url string) Option { return option(func(s *settings) { s.endpoint = url }) }

// WithListeners has these told of the transitions, from the first on. What they do does not reach gobreaker: they may
// call it, and a panic in one harms nobody.
func WithListeners(listeners ...breaker.Listener) Option {
	return option(func(s *settings) { s.listeners = append(s.listeners, listeners...) })
}
