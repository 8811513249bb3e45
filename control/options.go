package control

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"go.opentelemetry.io/otel/log"
)

const (
	// ScopeName is the instrumentation scope of the audit records.
	ScopeName = "github.com/otelbreaker/otelbreaker/control"

	// Version is the version of this module.
	Version = "0.1.0-dev"

	// MinTokenLength is the length below which a token is refused. openssl rand -hex 32 makes a good one.
	MinTokenLength = 32
)

// Option is a setting of [Handler].
type Option interface{ apply(*settings) error }

type option func(*settings) error

func (o option) apply(s *settings) error { return o(s) }

type settings struct {
	tokens  *tokens
	address func(*http.Request) string
	loggers log.LoggerProvider
	slog    *slog.Logger
}

func newSettings(options []Option) (*settings, error) {
	s := &settings{tokens: new(tokens), address: connection}
	var errs []error
	for i, o := range options {
		if o == nil {
			errs = append(errs, fmt.Errorf("control: option %d is nil", i))
			continue
		}
		errs = append(errs, o.apply(s))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, s.tokens.check()
}

// WithToken lets one in who has this token, as name: that is what the audit record calls him. A name is 1 to 64
// printable characters, and may have several tokens, so that one can be replaced by another in peace. A token has
// [MinTokenLength] to 512 characters, of letters, digits and -._~+/=; it is not kept, only its hash is.
func WithToken(name, token string) Option {
	return option(func(s *settings) error {
		t, err := newToken(name, token)
		if err != nil {
			return fmt.Errorf("control: WithToken: %w", err)
		}
		s.tokens.fixed = append(s.tokens.fixed, t)
		return nil
	})
}

// WithTokenFile lets those in whose tokens are in a file: a name and a token on a line, with space between them, or a
// token alone, whose name is then "operator"; empty lines and those that begin with # count for nothing. The file is read
// again when a request comes and the last time is a second ago. So tokens come and go with the file; where it cannot be
// read any more, or makes no sense, none of it is good, which is logged. At first it must be good. It is 64 KiB long at
// most.
func WithTokenFile(path string) Option {
	return option(func(s *settings) error {
		f := &tokenFile{path: path}
		if _, err := f.read(); err != nil {
			return fmt.Errorf("control: WithTokenFile: %w", err)
		}
		s.tokens.files = append(s.tokens.files, f)
		return nil
	})
}

// WithClientAddress says where a request comes from, for the audit record and the limit on wrong tokens, where a proxy
// stands before the program. The function must give what the proxy itself says (a header that it sets on every request,
// say), for what the client says can be made up. Default is the address of the connection.
func WithClientAddress(address func(*http.Request) string) Option {
	return option(func(s *settings) error {
		if address == nil {
			return errors.New("control: WithClientAddress is nil: allowed is a function")
		}
		s.address = func(r *http.Request) string { return shortened(address(r)) }
		return nil
	})
}

// WithLoggerProvider says where the audit records go by OpenTelemetry. Default, and nil, is the global provider.
func WithLoggerProvider(p log.LoggerProvider) Option {
	return option(func(s *settings) error {
		s.loggers = p
		return nil
	})
}

// WithSlog says where the audit records go besides. Default, and nil, is what [slog.Default] is at the time.
func WithSlog(l *slog.Logger) Option {
	return option(func(s *settings) error {
		s.slog = l
		return nil
	})
}

// connection is the address of the other end.
func connection(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return shortened(r.RemoteAddr) // that of a socket in the file system, say
	}
	return host
}
