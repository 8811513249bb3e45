package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// slackGap is what Slack asks for in one channel: a message a second.
const slackGap = time.Second

// Slack tells a channel in Slack of openings, reopenings and recoveries. The package documentation says what arrives
// and when. It may listen to any number of breakers and groups, and be used concurrently.
type Slack struct{ courier *courier }

var _ breaker.Listener = (*Slack)(nil)

// NewSlack makes a notifier that posts to an incoming webhook. Such a webhook cannot change what it has posted, so
// follow-ups and recoveries are messages of their own.
//
// The error says what is wrong with the address, without it, and with the options.
func NewSlack(webhook string, opts ...Option) (*Slack, error) {
	s, err := newSettings(slackWebhook, "slack", opts)
	to, bad := checkAddress("the webhook's address", webhook, s.plain)
	if err = errors.Join(bad, err); err != nil {
		return nil, err
	}
	client, release := s.newClient()
	return newSlack(s, release, postTo(to, client, s))
}

// postTo keeps the address where nothing that prints or walks a value comes by it.
func postTo(to *url.URL, client *http.Client, s *settings) func(context.Context, report, place) (place, error) {
	address := to.String()
	return func(ctx context.Context, r report, _ place) (place, error) {
		m := r.message(s.instance, s.links)
		off := false
		return place{}, slack.PostWebhookCustomHTTPContext(ctx, address, client, &slack.WebhookMessage{
			Text: m.text, Blocks: &slack.Blocks{BlockSet: m.headline}, Attachments: []slack.Attachment{m.attachment},
			Parse: "none", UnfurlLinks: &off, UnfurlMedia: &off,
		})
	}
}

// NewSlackBot makes a notifier that posts as a bot: one message an outage, which follow-ups and the recovery change, and
// the recovery as a reply in its thread besides, for a message that changes notifies nobody. The token needs the scope
// chat:write, and the bot to be in the channel, which is its id or name.
//
// The error says what is wrong with the token, without it, and with the options.
func NewSlackBot(token, channel string, opts ...Option) (*Slack, error) {
	s, err := newSettings(slackBot, "slack", append([]Option{WithAPI(slack.APIURL)}, opts...))
	api, bad := checkAddress("the address by WithAPI", s.api, s.plain)
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		bad = errors.Join(bad, errors.New("notify: the token is empty or has a character that none has (it is a secret and not shown): allowed is a bot token, xoxb-…"))
	}
	if channel == "" || strings.ContainsAny(channel, "<>& \n") {
		bad = errors.Join(bad, fmt.Errorf("notify: the channel is %.80q: allowed is its id or its name", channel))
	}
	if err = errors.Join(bad, err); err != nil {
		return nil, err
	}
	client, release := s.newClient()
	return newSlack(s, release, postAs(slack.New(token, slack.OptionAPIURL(api.String()), slack.OptionHTTPClient(client)), channel, s))
}

func postAs(bot *slack.Client, channel string, s *settings) func(context.Context, report, place) (place, error) {
	return func(ctx context.Context, r report, at place) (place, error) {
		m := r.message(s.instance, s.links)
		text := slack.MsgOptionCompose(slack.MsgOptionText(m.text, false), slack.MsgOptionDisableMarkdown(),
			slack.MsgOptionParse(false), slack.MsgOptionLinkNames(false),
			slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl())
		all := slack.MsgOptionCompose(text, slack.MsgOptionBlocks(m.headline...), slack.MsgOptionAttachments(m.attachment))
		if at != (place{}) {
			_, _, _, err := bot.UpdateMessageContext(ctx, at.channel, at.timestamp, all)
			if err == nil && r.kind() == recovered {
				_, _, err = bot.PostMessageContext(ctx, at.channel, slack.MsgOptionTS(at.timestamp), text)
			}
			if !gone(err) {
				return at, err
			}
		}
		posted, timestamp, err := bot.PostMessageContext(ctx, channel, all)
		if err != nil {
			return place{}, err
		}
		return place{posted, timestamp}, nil
	}
}

// gone tells that the message to change is there no more, or may not be changed.
func gone(err error) bool {
	refused, ok := errors.AsType[slack.SlackErrorResponse](err)
	if !ok {
		return false
	}
	switch refused.Err {
	case "message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found":
		return true
	}
	return false
}

func newSlack(s *settings, release func(), post func(context.Context, report, place) (place, error)) (*Slack, error) {
	c, err := newCourier(s, &stories{
		interval: s.interval, flapOpenings: s.flapOpenings, flapWithin: s.flapWithin, most: s.queue,
		post: post, all: map[breakerName]*story{},
	}, slackGap, release)
	if err != nil {
		return nil, err
	}
	return &Slack{c}, nil
}

// OnTransition notes what happened and returns at once.
func (s *Slack) OnTransition(e breaker.Event) { s.courier.take(&e) }

// Close sends what waits, also what would wait for its time, until ctx ends, or for five seconds where it has no
// deadline, and tells in its error how much was not sent and what it is about. Whatever happens afterwards is counted as
// dropped; so is what a breaker has not delivered yet ([breaker.Breaker.Flush] waits for that). A second Close has nothing
// left to do.
func (s *Slack) Close(ctx context.Context) error { return s.courier.close(ctx) }

// String names the notifier, and not where it sends.
func (s *Slack) String() string { return "notify.Slack(" + s.courier.name + ")" }
