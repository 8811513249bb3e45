package notify_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/notify"
	"github.com/otelbreaker/otelbreaker/transport"
)

func ExampleNewSlack() {
	slack, err := notify.NewSlack(os.Getenv("SLACK_WEBHOOK"),
		notify.WithDashboard("https://grafana.example/d/breakers?var-service={service}"),
		notify.WithRunbook("https://wiki.example/runbooks/{service}"))
	if err != nil {
		fmt.Println(err) // says what is wrong, and not what the address was
		return
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := slack.Close(ctx); err != nil {
			fmt.Println(err)
		}
	}()
	guarded, err := transport.New(nil, transport.WithListeners(slack))
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: guarded}
	_, _ = client.Head("https://pay.example/") // and when it fails often enough, Slack knows
	// Output:
	// notify: the webhook's address is empty: allowed is https://host/path and nothing around it, or http:// on loopback or with WithInsecureHTTP
}

func ExampleNewWebhook() {
	webhook, err := notify.NewWebhook("https://events.example/breakers", notify.WithSecret("at least 16 bytes of it"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer webhook.Close(context.Background())
	b, err := breaker.New(breaker.Config{Service: "payments", Endpoint: "db"}, webhook)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(webhook, b.State())
	// Output: notify.Webhook(webhook) closed
}

// A receiver of what a Webhook sends.
func ExampleVerifySignature() {
	http.HandleFunc("POST /breakers", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			return
		}
		if err := notify.VerifySignature(os.Getenv("WEBHOOK_SECRET"), r.Header, body, 0); err != nil {
			http.Error(w, "not signed", http.StatusUnauthorized)
			return
		}
		fmt.Printf("%s\n", body)
		w.WriteHeader(http.StatusNoContent)
	})
}
