package notify

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"github.com/otelbreaker/otelbreaker/logs"
)

const (
	// ScopeName is the instrumentation scope of the metric.
	ScopeName = "github.com/otelbreaker/otelbreaker/notify"

	// Version is the version of this module.
	Version = logs.Version
)

// Option is a setting of [NewSlack], [NewSlackBot] and [NewWebhook]. Where one is given twice the later one holds.
type Option interface{ apply(*settings) error }

type option func(*settings) error

func (o option) apply(s *settings) error { return o(s) }

// kind is a kind of notifier.
type kind uint8

const (
	slackWebhook kind = 1 << iota
	slackBot
	webhook

	anySlack = slackWebhook | slackBot
)

func (k kind) String() string {
	return map[kind]string{slackWebhook: "NewSlack", slackBot: "NewSlackBot", webhook: "NewWebhook"}[k]
}

// only makes an option of those kinds alone.
func only(k kind, name string, set func(*settings) error) Option {
	return option(func(s *settings) error {
		if s.kind&k == 0 {
			return fmt.Errorf("notify: %s is no option of %v", name, s.kind)
		}
		return set(s)
	})
}

type settings struct {
	kind     kind
	name     string
	instance string
	links    []link
	plain    bool // http is allowed

	client   *http.Client
	timeout  time.Duration
	retryFor time.Duration
	queue    int

	interval     time.Duration
	flapOpenings int
	flapWithin   time.Duration

	secret []byte
	api    string

	meters metric.MeterProvider
	logger *slog.Logger
}

func newSettings(k kind, name string, options []Option) (*settings, error) {
	s := &settings{
		kind: k, name: name, timeout: 10 * time.Second, retryFor: 2 * time.Minute, queue: 256,
		interval: 5 * time.Minute, flapOpenings: 3, flapWithin: 10 * time.Minute,
	}
	s.instance, _ = os.Hostname() // without a name, none is told
	var errs []error
	for i, o := range options {
		if o == nil {
			errs = append(errs, fmt.Errorf("notify: option %d is nil", i))
			continue
		}
		errs = append(errs, o.apply(s))
	}
	if s.meters == nil {
		s.meters = otel.GetMeterProvider()
	}
	return s, errors.Join(errs...)
}

// WithName names the notifier: the label channel of the metric, and the log line's. It takes one where there are several
// of a kind. Default "slack", or "webhook" for [NewWebhook]. Allowed are 1 to 64 letters, digits, "_", "-", "." and "#".
func WithName(name string) Option {
	return option(func(s *settings) error {
		if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.#", r)
		}) {
			return fmt.Errorf("notify: WithName is %.80q: allowed are 1 to 64 letters, digits, _, -, . and #", name)
		}
		s.name = name
		return nil
	})
}

// WithInstance tells which instance of the program a message is from. Default is the host's name; empty is none.
func WithInstance(instance string) Option {
	return option(func(s *settings) error {
		if !utf8.ValidString(instance) || len(instance) > 256 {
			return fmt.Errorf("notify: WithInstance is %.80q: allowed are up to 256 bytes of UTF-8", instance)
		}
		s.instance = instance
		return nil
	})
}

// WithDashboard links to a dashboard: a button in Slack, dashboard_url in JSON. The template is an http or https URL in
// whose path, query or fragment {service}, {endpoint}, {outage} (its id) and {trace} stand for what the message is about,
// percent-encoded. A link that takes an outage or a trace where there is none is left out.
func WithDashboard(template string) Option { return withLink("WithDashboard", "Dashboard", template) }

// WithRunbook links to a runbook: a button in Slack, runbook_url in JSON. The template is as for [WithDashboard].
func WithRunbook(template string) Option { return withLink("WithRunbook", "Runbook", template) }

// WithTrace links to the trace of the call that opened the breaker: a button in Slack, trace_url in JSON. The template
// is as for [WithDashboard].
func WithTrace(template string) Option { return withLink("WithTrace", "Trace", template) }

func withLink(name, label, template string) Option {
	return option(func(s *settings) error {
		if err := checkTemplate(name, template); err != nil {
			return err
		}
		for i := range s.links {
			if s.links[i].label == label {
				s.links[i].template = template
				return nil
			}
		}
		s.links = append(s.links, link{label, template})
		return nil
	})
}

// WithHTTPClient sends by this client. It is copied; redirects are not followed whatever it says. Its transport sees the
// address, so it should be one that writes no URL anywhere (that of otelhttp puts it on spans), and not one whose
// breakers this notifier listens to. Default is a client of the notifier's own with the settings of
// [http.DefaultTransport], proxies by environment included.
func WithHTTPClient(c *http.Client) Option {
	return option(func(s *settings) error {
		if c == nil {
			return errors.New("notify: WithHTTPClient is nil: allowed is a client")
		}
		s.client = c
		return nil
	})
}

// WithTimeout bounds one attempt. Default 10 seconds; allowed is above 0, up to a minute.
func WithTimeout(d time.Duration) Option {
	return option(func(s *settings) error {
		if d <= 0 || d > time.Minute {
			return fmt.Errorf("notify: WithTimeout is %v: allowed is above 0, up to 1m0s", d)
		}
		s.timeout = d
		return nil
	})
}

// WithRetryFor bounds the time for which one message is tried again; others wait meanwhile. Default 2 minutes; allowed is
// 0, for a single attempt, to an hour. Where Retry-After asks for a longer pause than is left, the message fails, and the
// next one waits for as long as was asked, up to an hour.
func WithRetryFor(d time.Duration) Option {
	return option(func(s *settings) error {
		if d < 0 || d > time.Hour {
			return fmt.Errorf("notify: WithRetryFor is %v: allowed is 0 to 1h0m0s", d)
		}
		s.retryFor = d
		return nil
	})
}

// WithQueue bounds the messages that wait. Default 256; allowed is 1 to 1,024.
func WithQueue(n int) Option {
	return option(func(s *settings) error {
		if n < 1 || n > maxQueue {
			return fmt.Errorf("notify: WithQueue is %d: allowed is 1 to %d", n, maxQueue)
		}
		s.queue = n
		return nil
	})
}

// WithInterval is the least time between two follow-ups about the same breaker, and between two messages while it is
// flapping. Default 5 minutes; allowed is 1 second to a day. For Slack only.
func WithInterval(d time.Duration) Option {
	return only(anySlack, "WithInterval", func(s *settings) error {
		if d < time.Second || d > 24*time.Hour {
			return fmt.Errorf("notify: WithInterval is %v: allowed is 1s to 24h0m0s", d)
		}
		s.interval = d
		return nil
	})
}

// WithFlapping says what flapping is: so many openings of a breaker within that time. Default 3 within 10 minutes;
// allowed are 2 to 100 within 1 second to a day. For Slack only.
func WithFlapping(openings int, within time.Duration) Option {
	return only(anySlack, "WithFlapping", func(s *settings) error {
		if openings < 2 || openings > 100 || within < time.Second || within > 24*time.Hour {
			return fmt.Errorf("notify: WithFlapping is %d within %v: allowed are 2 to 100 within 1s to 24h0m0s", openings, within)
		}
		s.flapOpenings, s.flapWithin = openings, within
		return nil
	})
}

// WithSecret signs what is sent; see [VerifySignature]. Allowed are 16 bytes or more. For [NewWebhook] only.
func WithSecret(secret string) Option {
	return only(webhook, "WithSecret", func(s *settings) error {
		if len(secret) < minSecret {
			return fmt.Errorf("notify: WithSecret has %d bytes: allowed are %d or more", len(secret), minSecret)
		}
		s.secret = []byte(secret)
		return nil
	})
}

// WithAPI is the address of Slack's Web API. Default is https://slack.com/api/; GovSlack has another. For [NewSlackBot]
// only.
func WithAPI(address string) Option {
	return only(slackBot, "WithAPI", func(s *settings) error {
		s.api = strings.TrimSuffix(address, "/") + "/"
		return nil
	})
}

// WithInsecureHTTP allows an address without TLS that is not on loopback: for a proxy within the same host or pod, say.
// Whoever sees the traffic then sees the secret.
func WithInsecureHTTP() Option {
	return option(func(s *settings) error {
		s.plain = true
		return nil
	})
}

// WithMeterProvider says where the metric goes. Default, and nil, is the global provider.
func WithMeterProvider(p metric.MeterProvider) Option {
	return option(func(s *settings) error {
		s.meters = p
		return nil
	})
}

// WithLogger writes the log line to this logger. Default, and nil, is what [slog.Default] is at the time.
func WithLogger(l *slog.Logger) Option {
	return option(func(s *settings) error {
		s.logger = l
		return nil
	})
}
