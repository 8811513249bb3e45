// Package loadtest drives a URL through a circuit breaker at a steady rate, while its dependency misbehaves as a scenario
// has it, and tells what came of it: what callers got, how long it took, and what the breaker did.
//
// The load is made by vegeta. What became of each call is counted twice, by the client that made it and by the breaker,
// and the two have to agree.
package loadtest

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// The bounds of a load test: it is to try a breaker, not to bring a server down.
const (
	MaxRate        = 2000
	MaxConcurrency = 1000
	MinFor         = time.Second
	MaxFor         = 10 * time.Minute
	MinTimeout     = 10 * time.Millisecond
	MaxTimeout     = 30 * time.Second
)

// Settings say what to do. Each field is a flag of the same name.
type Settings struct {
	URL         string        // what to call; empty is an upstream of its own
	Rate        int           // requests a second
	Concurrency int           // requests under way at once, at most
	For         time.Duration // how long
	Timeout     time.Duration // of a request
	Scenario    string        // the name of one in Scenarios
	AllowRemote bool          // call what is not on this machine, too
	Breaker     breaker.Config
	Expect      []Expectation
}

// BreakerFor gives the configuration of the breaker where nothing else is said: all rules are on, and times are in
// proportion to the test.
func BreakerFor(d time.Duration) breaker.Config {
	return breaker.Config{
		FailureThreshold: 5,
		FailureRate:      0.5,
		SlowCallRate:     0.5,
		SlowCallDuration: min(max(d/40, 50*time.Millisecond), 200*time.Millisecond),
		WindowCalls:      20,
		RecoveryTimeout:  min(max(d/20, 50*time.Millisecond), 5*time.Second),
	}
}

// Check tells all that is wrong with the settings, flag by flag.
func (s *Settings) Check() error {
	var errs []error
	wrong := func(flag string, value, allowed any) {
		errs = append(errs, fmt.Errorf("--%s is %v: allowed is %v", flag, value, allowed))
	}
	if s.URL != "" {
		if _, err := parseTarget(s.URL); err != nil {
			errs = append(errs, err)
		}
	}
	if s.Rate < 1 || s.Rate > MaxRate {
		wrong("rate", s.Rate, fmt.Sprintf("1 to %d", MaxRate))
	}
	if s.Concurrency < 1 || s.Concurrency > MaxConcurrency {
		wrong("concurrency", s.Concurrency, fmt.Sprintf("1 to %d", MaxConcurrency))
	}
	if s.For < MinFor || s.For > MaxFor {
		wrong("for", s.For, fmt.Sprintf("%v to %v", MinFor, MaxFor))
	}
	if s.Timeout < MinTimeout || s.Timeout > MaxTimeout {
		wrong("timeout", s.Timeout, fmt.Sprintf("%v to %v", MinTimeout, MaxTimeout))
	}
	plot, known := find(s.Scenario)
	if !known {
		wrong("scenario", fmt.Sprintf("%q", s.Scenario), strings.Join(Scenarios(), ", "))
	}
	if _, err := breaker.New(s.Breaker); err != nil {
		errs = append(errs, fmt.Errorf("--breaker: %w", err))
	}
	if s.Breaker.Endpoint != "" {
		errs = append(errs, errors.New("--breaker: endpoint is the URL's: allowed is none"))
	}
	if slow := s.slowAnswer(); known && plot.slow() && s.Timeout <= slow {
		wrong("timeout", s.Timeout, fmt.Sprintf("more than %v in this scenario, whose slow answers take as long", slow))
	}
	return errors.Join(errs...)
}

// slowAnswer is how much longer an answer takes that is to be slow.
func (s *Settings) slowAnswer() time.Duration {
	if d := s.Breaker.SlowCallDuration; d > 0 {
		return 2 * d
	}
	return 400 * time.Millisecond
}

// parseTarget reads the URL to call. Its errors have no more of it than scheme and host, for the rest may be secret, and
// what cannot be read may be anything.
func parseTarget(text string) (*url.URL, error) {
	const allowed = "allowed is http:// or https:// with a host, for example http://127.0.0.1:8080/balance"
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("--url cannot be read: " + allowed)
	case u.Opaque != "" || u.Scheme == "":
		return nil, errors.New("--url has no scheme: " + allowed)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("--url has the scheme %q: %s", u.Scheme, allowed)
	case u.Hostname() == "":
		return nil, errors.New("--url has no host: " + allowed)
	}
	return u, nil
}
