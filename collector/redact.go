package collector

import "github.com/otelbreaker/otelbreaker/internal/redact"

// redacted is an error that tells no more of a URL than scheme and host: user info, path and query of an endpoint may
// hold the token that lets in, and the exporters' errors quote it whole.
type redacted struct{ error }

func (e redacted) Error() string { return redact.TextToHosts(e.error.Error()) }
func (e redacted) Unwrap() error { return e.error }
