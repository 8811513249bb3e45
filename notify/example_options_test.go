package notify_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/otelbreaker/otelbreaker/notify"
)

// A bot keeps one message an outage up to date. It is told what is too often, and where its buttons lead.
func ExampleNewSlackBot() {
	slack, err := notify.NewSlackBot("xoxb-of-your-app", "#incidents",
		notify.WithInstance("shop-1"),
		notify.WithInterval(10*time.Minute),
		notify.WithFlapping(5, time.Hour),
		notify.WithTrace("https://jaeger.example/trace/{trace}"),
		notify.WithAPI("https://slack-gov.com/api/")) // where it is not the usual one
	if err != nil {
		fmt.Println(err)
		return
	}
	defer slack.Close(context.Background())
	fmt.Println(slack) // and not its token
	// Output: notify.Slack(slack)
}

// How long, how often and by which client it is tried; and who hears of what could not be sent.
func ExampleWithRetryFor() {
	webhook, err := notify.NewWebhook("http://events.internal:8080/breakers",
		notify.WithInsecureHTTP(), // the sidecar before it has TLS
		notify.WithSecret("at least 16 bytes of it"),
		notify.WithName("events"),
		notify.WithHTTPClient(&http.Client{Transport: http.DefaultTransport}),
		notify.WithTimeout(3*time.Second),
		notify.WithRetryFor(10*time.Minute),
		notify.WithQueue(1_000),
		notify.WithLogger(slog.Default()),
		notify.WithMeterProvider(noop.NewMeterProvider()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer webhook.Close(context.Background())
	fmt.Println(webhook)
	// Output: notify.Webhook(events)
}
