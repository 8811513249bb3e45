package main

// consumers are programs that use the nested modules, by the modules' folders.
var consumers = map[string]string{
	"contrib/grpcbreaker": `package main

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/contrib/grpcbreaker"
)

func main() {
	guarded, err := grpcbreaker.New(grpcbreaker.WithConfig(breaker.Config{Service: "payments"}))
	if err != nil {
		panic(err)
	}
	defer guarded.Close()
	options := append(guarded.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient("127.0.0.1:9000", options...)
	if err != nil {
		panic(err)
	}
	defer conn.Close()
}
`,
	"contrib/gobreaker": `package main

import (
	peer "github.com/sony/gobreaker/v2"

	"github.com/otelbreaker/otelbreaker/contrib/gobreaker"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

func main() {
	cb, err := gobreaker.New[string](peer.Settings{Name: "payments"})
	if err != nil {
		panic(err)
	}
	if _, err := otelcb.Observe(cb); err != nil {
		panic(err)
	}
}
`,
	"contrib/failsafe": `package main

import (
	peer "github.com/failsafe-go/failsafe-go"

	"github.com/otelbreaker/otelbreaker/contrib/failsafe"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

func main() {
	cb, err := failsafe.NewBuilder[string](failsafe.WithService("payments")).Build()
	if err != nil {
		panic(err)
	}
	if _, err := otelcb.Observe(cb); err != nil {
		panic(err)
	}
	_ = peer.With[string](cb)
}
`,
	"fleet": `package main

import (
	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/fleet"
)

func main() {
	group, err := breaker.NewGroup(breaker.Config{Service: "payments"})
	if err != nil {
		panic(err)
	}
	var engine fleet.Engine
	if _, err := fleet.Join(group, engine, fleet.WithName("shop")); err == nil {
		panic("it joined without an engine")
	}
}
`,
	"fleet/nats": sharing("github.com/nats-io/nats.go", "nats", `
	client, err := nats.Connect("nats://127.0.0.1:4222", nats.RetryOnFailedConnect(true))
	if err != nil {
		panic(err)
	}`),
	"fleet/redis": sharing("github.com/redis/go-redis/v9", "redis", `
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})`),
}

// sharing is a program that joins a fleet by an engine, on a client of another module that connect makes.
func sharing(clients, engine, connect string) string {
	return `package main

import (
	"context"

	"` + clients + `"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/fleet"
	engines "github.com/otelbreaker/otelbreaker/fleet/` + engine + `"
)

func main() {
	group, err := breaker.NewGroup(breaker.Config{Service: "payments"})
	if err != nil {
		panic(err)
	}` + connect + `
	defer client.Close()
	engine, err := engines.New(client)
	if err != nil {
		panic(err)
	}
	member, err := fleet.Join(group, engine, fleet.WithName("shop"))
	if err != nil {
		panic(err)
	}
	_ = member.Close(context.Background())
}
`
}
