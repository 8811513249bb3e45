package breaker

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Defaults of [Config], for the fields whose default is a plain number.
const (
	DefaultFailureThreshold = 5
	DefaultWindowCalls      = 100
	DefaultMinCalls         = 10
	DefaultRecoveryTimeout  = 30 * time.Second
	DefaultProbeTimeout     = 60 * time.Second

	defaultName = "default" // of a service or an endpoint that was not named

	maxWindowCalls = 1_000_000
	maxProbes      = 10_000
	minWindow      = time.Millisecond
)

// Config says when a breaker opens and how it recovers. The zero value of every field means its default, so the zero
// Config is a good one: five consecutive failures open, a single probe after 30 seconds closes. Durations have the
// precision of [time.Duration]; shares are numbers from 0 to 1.
//
// The rules that open are FailureThreshold, FailureRate and SlowCallRate. Any number of them can be set; the first
// that is met opens and names itself in the [Event]. Every threshold is inclusive.
type Config struct {
	// Service is the dependency that is called, Endpoint its base URL, without user info, query or fragment. They name
	// the breaker in every signal. Service defaults to the host of Endpoint, or "default"; Endpoint to "default".
	Service, Endpoint string

	// FailureThreshold is the number of consecutive failures that opens. It knows no window: failures that come slowly
	// count as well. Default 5 where neither rate is set; otherwise 0 leaves this rule out.
	FailureThreshold int

	// FailureRate is the share of the window's calls that failed, in (0, 1], at which to open. 0 leaves the rule out.
	FailureRate float64

	// SlowCallRate is the share of the window's calls that took longer than SlowCallDuration, in (0, 1], at which to
	// open. A failed call can be slow too. 0 leaves the rule out.
	SlowCallRate float64

	// SlowCallDuration is the time above which a call is slow. Set without SlowCallRate, slow calls are only counted.
	SlowCallDuration time.Duration

	// WindowCalls makes the window of the rates the last so many calls, exactly; 1 to 1,000,000.
	// Default 100 where a rate is set and WindowDuration is not.
	WindowCalls int

	// WindowDuration makes the window the calls that ended in this last stretch of time, exact to a tenth of it;
	// 1 ms or more. Not both WindowCalls and WindowDuration.
	WindowDuration time.Duration

	// MinCalls is the number of calls in the window below which no rate is judged. Default 10, or WindowCalls where
	// that is less.
	MinCalls int

	// RecoveryTimeout is how long the breaker stays open before it lets a probe through. Default 30 s.
	RecoveryTimeout time.Duration

	// BackoffFactor multiplies the delay at each reopening of one outage; 1 or more. Default 1, no backoff.
	BackoffFactor float64

	// MaxRecoveryTimeout caps the delay, also one that the dependency asked for (Retry-After). Not less than
	// RecoveryTimeout. Default one hour, or ten times RecoveryTimeout where that is longer.
	MaxRecoveryTimeout time.Duration

	// Jitter is the share of the delay that is random: a delay d becomes one between (1-Jitter)*d and d. In [0, 1].
	Jitter float64

	// SuccessThreshold is the number of successful probes that closes. Default 1.
	SuccessThreshold int

	// MaxProbes is the number of probes in flight at once; 1 to 10,000. Default 1.
	MaxProbes int

	// ProbeTimeout is the lease of a probe: one that has not ended by then counts as a failure, gives its place back,
	// and its late result is void. Default 60 s.
	ProbeTimeout time.Duration

	// Classify judges the error a call returned, nil included. Default: nil is a Success, all else a Failure. Either
	// way a call that failed after its caller cancelled it is Ignored; a deadline that passed is a Failure. It is
	// called on the caller's goroutine, concurrently; should it panic, the call counts as a failure and the panic
	// goes on to the caller.
	Classify func(error) Outcome
}

// ConfigError is one thing wrong with a [Config]. New, NewGroup and Reconfigure report all of them at once, joined;
// errors.As finds the first.
type ConfigError struct {
	Field   string // the field's name, as in Config
	Value   any    // what it was set to; withheld where it may hold a secret, nil where there is no such field
	Allowed string // what it may be; where there is no such field, those there are
}

// Error names the field, its value and what is allowed.
func (e *ConfigError) Error() string {
	if e.Value == nil {
		return fmt.Sprintf("breaker: unknown field %q; known are %s", e.Field, e.Allowed)
	}
	return fmt.Sprintf("breaker: Config.%s is %v: allowed is %s", e.Field, e.Value, e.Allowed)
}

// withDefaults checks c and fills in what was left out.
func (c Config) withDefaults() (Config, error) {
	if err := c.validate(); err != nil {
		return Config{}, err
	}
	c.Service, c.Endpoint = names(c.Service, c.Endpoint)
	if c.FailureThreshold == 0 && !c.rated() {
		c.FailureThreshold = DefaultFailureThreshold
	}
	if c.rated() {
		if c.WindowCalls == 0 && c.WindowDuration == 0 {
			c.WindowCalls = DefaultWindowCalls
		}
		if c.MinCalls == 0 {
			c.MinCalls = DefaultMinCalls
			if c.WindowCalls > 0 {
				c.MinCalls = min(c.MinCalls, c.WindowCalls)
			}
		}
	}
	orDefault(&c.RecoveryTimeout, DefaultRecoveryTimeout)
	orDefault(&c.BackoffFactor, 1)
	orDefault(&c.MaxRecoveryTimeout, max(time.Hour, times(c.RecoveryTimeout, 10)))
	orDefault(&c.SuccessThreshold, 1)
	orDefault(&c.MaxProbes, 1)
	orDefault(&c.ProbeTimeout, DefaultProbeTimeout)
	return c, nil
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) rated() bool { return c.FailureRate > 0 || c.SlowCallRate > 0 }

func (c Config) validate() error {
	var errs []error
	refuse := func(bad bool, field string, value any, allowed string) {
		if bad {
			errs = append(errs, &ConfigError{Field: field, Value: value, Allowed: allowed})
		}
	}
	for _, f := range []struct{ field, value string }{{"Service", c.Service}, {"Endpoint", c.Endpoint}} {
		refuse(!utf8.ValidString(f.value), f.field, fmt.Sprintf("%q", withoutSecrets(f.value)), "valid UTF-8")
		refuse(withoutSecrets(f.value) != f.value, f.field, "with a query, a fragment or user info (withheld)",
			"a name, or a base URL without them")
	}
	for _, f := range []struct {
		field string
		value int
		most  int
	}{
		{"FailureThreshold", c.FailureThreshold, math.MaxInt},
		{"WindowCalls", c.WindowCalls, maxWindowCalls},
		{"MinCalls", c.MinCalls, math.MaxInt},
		{"SuccessThreshold", c.SuccessThreshold, math.MaxInt},
		{"MaxProbes", c.MaxProbes, maxProbes},
	} {
		allowed := "1 or more, or 0 for the default"
		if f.most < math.MaxInt {
			allowed = fmt.Sprintf("1 to %d, or 0 for the default", f.most)
		}
		refuse(f.value < 0 || f.value > f.most, f.field, f.value, allowed)
	}
	for _, f := range []struct {
		field string
		value float64
	}{{"FailureRate", c.FailureRate}, {"SlowCallRate", c.SlowCallRate}, {"Jitter", c.Jitter}} {
		refuse(!(f.value >= 0 && f.value <= 1), f.field, f.value, "a share from 0 to 1") // the form that NaN fails
	}
	refuse(c.BackoffFactor != 0 && !(c.BackoffFactor >= 1 && c.BackoffFactor <= math.MaxFloat64),
		"BackoffFactor", c.BackoffFactor, "a finite number of 1 or more, or 0 for the default")
	for _, f := range []struct {
		field string
		value time.Duration
	}{
		{"SlowCallDuration", c.SlowCallDuration}, {"RecoveryTimeout", c.RecoveryTimeout},
		{"MaxRecoveryTimeout", c.MaxRecoveryTimeout}, {"ProbeTimeout", c.ProbeTimeout},
	} {
		refuse(f.value < 0, f.field, f.value, "a positive duration, or 0 for the default")
	}
	refuse(c.WindowDuration < 0 || c.WindowDuration > 0 && c.WindowDuration < minWindow,
		"WindowDuration", c.WindowDuration, "1ms or more, or 0 for none")

	refuse(c.WindowCalls > 0 && c.WindowDuration > 0, "WindowDuration", c.WindowDuration,
		"one of WindowCalls and WindowDuration, not both")
	if !c.rated() {
		const allowed = "set only together with FailureRate or SlowCallRate, which alone look at a window"
		refuse(c.WindowCalls > 0, "WindowCalls", c.WindowCalls, allowed)
		refuse(c.WindowDuration > 0, "WindowDuration", c.WindowDuration, allowed)
		refuse(c.MinCalls > 0, "MinCalls", c.MinCalls, allowed)
	}
	if c.rated() && c.WindowDuration == 0 {
		window := c.WindowCalls
		orDefault(&window, DefaultWindowCalls)
		refuse(c.MinCalls > window, "MinCalls", c.MinCalls,
			fmt.Sprintf("at most the %d calls of the window, or no rate would ever be judged", window))
	}
	refuse(c.SlowCallRate > 0 && c.SlowCallDuration == 0, "SlowCallDuration", c.SlowCallDuration,
		"a positive duration where SlowCallRate is set")
	recovery := c.RecoveryTimeout
	orDefault(&recovery, DefaultRecoveryTimeout)
	refuse(c.MaxRecoveryTimeout > 0 && c.MaxRecoveryTimeout < recovery, "MaxRecoveryTimeout", c.MaxRecoveryTimeout,
		fmt.Sprintf("at least RecoveryTimeout (%v)", recovery))
	return errors.Join(errs...)
}

// names fills in what a breaker is called in every signal.
func names(service, endpoint string) (string, string) {
	if endpoint == "" {
		endpoint = defaultName
	}
	if service == "" {
		service = defaultName
		if host := hostOf(endpoint); host != "" {
			service = host
		}
	}
	return service, endpoint
}

// hostOf gives the host of a URL, or "". A gRPC target has it behind an empty one (dns:///payments.example:443), where
// it is taken for one if it stands alone or has a port, for there may also be the path of a socket; or behind the server
// that is asked for it (dns://resolver.example/payments.example:443).
func hostOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err == nil && u.Scheme != "" && (u.Host == "" || u.Scheme == "dns" || u.Scheme == "xds") && strings.HasPrefix(u.Path, "/") {
		first, rest, _ := strings.Cut(u.EscapedPath()[1:], "/")
		if rest != "" && !strings.Contains(first, ":") {
			return ""
		}
		u, err = url.Parse("//" + first)
	}
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// withoutSecrets takes query, fragment and user info out of a URL that is to be a name, for they may hold credentials
// and a name leaves in every signal. A URL that makes no sense is replaced, for who knows what it holds. Connection
// strings (user:password@...) and paths with a query lose the same; other texts come back as they are.
func withoutSecrets(text string) string {
	if !strings.ContainsAny(text, "@?#") {
		return text
	}
	scheme, rest, isURL := strings.Cut(text, "//")
	if !isURL || scheme != "" && !strings.HasSuffix(scheme, ":") {
		if i := strings.IndexByte(text, '?'); i >= 0 && strings.Contains(text[i:], "=") {
			text = text[:i]
		}
		if i := strings.LastIndexByte(text, '@'); i >= 0 && strings.Contains(text[:i], ":") && !strings.ContainsAny(text[:i], " <>") {
			text = text[i+1:]
		}
		return text
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	text = scheme + "//" + rest[strings.LastIndexByte(rest, '@')+1:]
	if _, err := url.Parse(text); err != nil {
		return "invalid"
	}
	return text
}

// delay is how long to stay open after so many reopenings of one outage. random is in [0, 1); asked is what the
// dependency asked for, which lengthens and never shortens. It saturates at MaxRecoveryTimeout and never overflows.
func (c *Config) delay(reopenings int, random float64, asked time.Duration) time.Duration {
	d := min(times(c.RecoveryTimeout, math.Pow(c.BackoffFactor, float64(reopenings))), c.MaxRecoveryTimeout)
	d -= times(d, c.Jitter*random)
	return max(d, min(asked, c.MaxRecoveryTimeout), 1)
}

// times multiplies and saturates.
func times(d time.Duration, factor float64) time.Duration {
	product := float64(d) * factor
	if product >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(product)
}
