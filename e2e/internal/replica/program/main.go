// Command program runs package replica, told what to do on standard input.
package main

import (
	"context"
	"log"

	"github.com/otelbreaker/otelbreaker/e2e/internal/child"
	"github.com/otelbreaker/otelbreaker/e2e/internal/replica"
)

func main() {
	r, stop, err := replica.Start(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if err := child.Serve(r); err != nil {
		log.Fatal(err)
	}
	if err := stop(); err != nil {
		log.Fatal(err)
	}
}
