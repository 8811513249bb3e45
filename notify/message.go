package notify

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/slack-go/slack"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// messageKind is what a message is.
type messageKind string

const (
	opened    messageKind = "opened"
	reopened  messageKind = "reopened"
	recovered messageKind = "closed"
	gathered  messageKind = "flapping"
)

func (r report) kind() messageKind {
	switch {
	case r.openings > 1:
		return gathered
	case r.state == breaker.Closed:
		return recovered
	case r.reopenings > 0 && r.begun:
		return reopened
	default:
		return opened
	}
}

var colours = map[messageKind]string{opened: "#d72b3f", reopened: "#d72b3f", recovered: "#2eb67d", gathered: "#ecb22e"}

// message is a report as Slack wants it: a headline, an attachment with a coloured edge, and the text that stands in
// where blocks are not shown, as in notifications.
type message struct {
	text       string
	headline   []slack.Block
	attachment slack.Attachment
}

func (r report) message(instance string, links []link) message {
	service := shortened(clean(r.service), maxName)
	headline := "Circuit breaker " + r.summary(service)
	text := headline
	if r.kind() != gathered && r.endpoint != "" {
		text += fmt.Sprintf(" (%s)", shortened(clean(r.endpoint), maxName))
	}
	if r.kind() == opened || r.kind() == reopened {
		text += ": " + reasonText(r.reason)
	}
	blocks := []slack.Block{slack.NewSectionBlock(nil, r.fields(), nil)}
	if b := r.buttons(links); len(b) > 0 {
		blocks = append(blocks, slack.NewActionBlock("", b...))
	}
	if c := r.context(instance); len(c) > 0 {
		blocks = append(blocks, slack.NewContextBlock("", c...))
	}
	return message{
		text:     inert(text, maxText),
		headline: []slack.Block{slack.NewHeaderBlock(plain(headline, maxHeader))},
		attachment: slack.Attachment{
			Color: colours[r.kind()], Fallback: inert(text, maxText), Blocks: slack.Blocks{BlockSet: blocks},
		},
	}
}

// summary says in a few words what the message is about.
func (r report) summary(service string) string {
	switch r.kind() {
	case opened:
		if r.reason.Rule == breaker.RuleForced {
			return "forced open: " + service
		}
		return "opened: " + service
	case reopened:
		return fmt.Sprintf("reopened %s: %s", times(r.reopenings), service)
	case gathered:
		what := "flapping: "
		if !r.flapping { // they were gathered while nothing could be sent
			what = "of "
		}
		return what + fmt.Sprintf("%s opened %s in %s, now %s", service, times(r.openings), span(r.when.Sub(r.since)), stateText(r.state))
	case recovered:
	}
	switch r.reason.Rule {
	case breaker.RuleReset:
		return "reset: " + service
	case breaker.RuleDisabled:
		return "disabled: " + service
	}
	return fmt.Sprintf("closed: %s recovered after %s", service, span(r.recovery))
}

// fields are those of the section, ten at most.
func (r report) fields() (all []*slack.TextBlockObject) {
	add := func(title, value string) {
		all = append(all, plain(title+"\n"+shortened(value, maxField-len(title)-1), maxField))
	}
	add("Service", orDash(clean(r.service)))
	add("Endpoint", orDash(clean(r.endpoint)))
	add("State", stateText(r.state))
	if r.kind() == gathered {
		add("Opened", fmt.Sprintf("%s in %s", times(r.openings), span(r.when.Sub(r.since))))
	}
	if r.state == breaker.Closed {
		if r.recovery > 0 {
			add("Recovery time", span(r.recovery))
		}
		add("Blocked calls", strconv.FormatUint(r.blocked, 10))
	} else {
		add("Failed calls", strconv.FormatUint(r.failures, 10))
	}
	if r.reopenings > 0 {
		add("Reopened", times(r.reopenings))
	}
	add("Reason", reasonText(r.reason))
	if r.errorType != "" {
		add("Error type", clean(r.errorType))
	}
	return all
}

func (r report) context(instance string) (all []slack.MixedElement) {
	add := func(title, value string) {
		if value != "" {
			all = append(all, plain(title+" "+clean(value), maxContext))
		}
	}
	add("Instance", instance)
	add("Outage", r.outageID)
	add("Trace", r.traceID)
	add("At", r.when.UTC().Format(time.RFC3339))
	return all
}

func (r report) buttons(links []link) (all []slack.BlockElement) {
	about := subject{r.service, r.endpoint, r.outageID, r.traceID}
	for _, l := range links {
		if address := l.to(about); address != "" {
			b := slack.NewButtonBlockElement("open_"+l.key(), "", plain(l.label, maxHeader))
			b.URL = address
			all = append(all, b)
		}
	}
	return all
}

// plain is a text in which Slack reads no markup: no mention, link, format or emoji by name. It is escaped all the same.
func plain(s string, most int) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, escaped(s, most), false, false)
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func stateText(s breaker.State) string {
	if s == breaker.HalfOpen {
		return "half-open"
	}
	return s.String()
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

// span is a duration to the precision that people care for.
func span(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// reasonText says which rule it was, with the numbers that it saw.
func reasonText(r breaker.Reason) string {
	switch r.Rule {
	case breaker.RuleConsecutiveFailures:
		return fmt.Sprintf("%s consecutive failures (threshold %s)", number(r.Observed), number(r.Threshold))
	case breaker.RuleFailureRate:
		return fmt.Sprintf("failure rate %s %% (threshold %s %%)", number(100*r.Observed), number(100*r.Threshold))
	case breaker.RuleSlowCallRate:
		return fmt.Sprintf("slow calls %s %% (threshold %s %%)", number(100*r.Observed), number(100*r.Threshold))
	case breaker.RuleProbeFailed:
		return "the probe failed"
	case breaker.RuleProbeTimeout:
		return "the probe did not end in time"
	case breaker.RuleFleetQuorum:
		return fmt.Sprintf("%s %% of the replicas have opened (threshold %s %%)", number(100*r.Observed), number(100*r.Threshold))
	case breaker.RuleFleetLeader:
		return "another replica has opened"
	case breaker.RuleFleetRecovered:
		return "another replica's probe succeeded"
	case breaker.RuleProbesSucceeded:
		return fmt.Sprintf("successful probes %s of %s", number(r.Observed), number(r.Threshold))
	}
	what, known := map[string]string{
		breaker.RuleForced: "forced open by an operator", breaker.RuleDisabled: "disabled by an operator",
		breaker.RuleReset: "reset by an operator",
	}[r.Rule]
	if !known {
		what = orDash(shortened(clean(r.Rule), maxName))
	}
	if note := shortened(clean(r.Note), maxName); note != "" {
		what += ": " + note
	}
	return what
}

// number is one for people: two digits behind the point at most.
func number(f float64) string {
	return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64)
}
