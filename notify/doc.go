// Package notify tells people and programs when a circuit breaker opens, reopens and recovers: [Slack], by an incoming
// webhook or a bot, and [Webhook], a POST of signed JSON, for everything else. Both are a [breaker.Listener].
//
//	slack, err := notify.NewSlack(os.Getenv("SLACK_WEBHOOK"), notify.WithRunbook("https://wiki.example/breakers/{service}"))
//	if err != nil {
//		return err
//	}
//	defer slack.Close(context.Background()) // sends what waits, for five seconds at most
//	guarded, err := transport.New(nil, transport.WithListeners(slack))
//
// # Delivery
//
// OnTransition only notes what happened, under a lock that is never held over anything that waits. One goroutine sends,
// one message at a time and in order; it lives only while there is something to send, so a notifier that is never closed
// leaves none behind either (net/http keeps a connection for a minute and a half). Network errors, 5xx and 429 are tried again with growing, jittered pauses for two minutes
// ([WithRetryFor]), not sooner than Retry-After asks; any other answer but 2xx is final. A message that got through
// although its answer was lost comes twice.
//
// At most 256 messages wait ([WithQueue]). Beyond that the oldest follow-up is dropped first (of a reopening, for the
// webhook also of half-open), and where there is none, the oldest message. What was sent, failed and dropped is counted
// in circuit_breaker.notifications, by the OpenTelemetry API, and failures and drops are one log line a minute at most.
//
// # What Slack is told
//
// Of an outage there is one message when it begins, follow-ups about reopenings, gathered to one in five minutes
// ([WithInterval]), and one when it ends. A breaker that opens for the third time in ten minutes ([WithFlapping]) is
// flapping: its outages are gathered from then on, to one message in five minutes, until an opening comes that is no
// longer the third in ten. What is told is the state at the time of sending: an outage that is over before its beginning
// could be told is one message. Half-open is not told, nor an override that moves no state. With a bot ([NewSlackBot]) there is one message an outage, which is updated; its end is
// told in the message's thread as well. Breakers of the same service and endpoint are told of as one.
//
// # Secrets and untrusted text
//
// The address of a webhook and the token of a bot are secrets: they are in no error, log line, metric or printed value.
// Redirects are not followed, and https is required except on loopback. Names and error types come from elsewhere: they
// are cut to Slack's limits, rid of control characters, and sent as plain text, in which nothing is a mention, a link or
// markup. The text of errors, bodies and queries are never told.
package notify
