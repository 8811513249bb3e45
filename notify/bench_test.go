package notify_test

import (
	"context"
	"net/http"
	"strconv"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/notify"
)

// What a transition costs the goroutine that delivers it, with a webhook that hangs and a queue that is full.
func BenchmarkOnTransition(b *testing.B) {
	hangs := &receiver{answer: func(_ int, q *http.Request) (*http.Response, error) {
		<-q.Context().Done()
		return nil, q.Context().Err()
	}}
	options := []notify.Option{notify.WithHTTPClient(hangs.client()), notify.WithMeterProvider(noop.NewMeterProvider()),
		notify.WithLogger(make(lineChannel).logger())}
	slack, err := notify.NewSlack(address, options...)
	if err != nil {
		b.Fatal(err)
	}
	webhook, err := notify.NewWebhook(address, options...)
	if err != nil {
		b.Fatal(err)
	}
	for name, n := range map[string]notifier{"slack": slack, "webhook": webhook} {
		b.Run(name, func(b *testing.B) {
			e := breaker.Event{Endpoint: "db", To: breaker.Open, Context: b.Context(), OpenedBy: b.Context(), OutageID: "1",
				At: time.Now(), ErrorType: "503", Reason: breaker.Reason{Rule: breaker.RuleConsecutiveFailures, Observed: 5, Threshold: 5}}
			names := make([]string, 300)
			for i := range names {
				names[i] = strconv.Itoa(i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e.Service = names[i%len(names)]
				n.OnTransition(e)
			}
		})
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		_ = n.Close(ctx)
	}
}
