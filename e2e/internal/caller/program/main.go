// Command program runs package caller by the plan in its argument, told what to do on standard input.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/otelbreaker/otelbreaker/e2e/internal/caller"
	"github.com/otelbreaker/otelbreaker/e2e/internal/child"
)

func main() {
	var plan caller.Plan
	if err := json.Unmarshal([]byte(os.Args[1]), &plan); err != nil {
		log.Fatal(err)
	}
	c, stop, err := caller.Start(context.Background(), plan)
	if err != nil {
		log.Fatal(err)
	}
	if err := child.Serve(c); err != nil {
		log.Fatal(err)
	}
	if err := stop(); err != nil {
		log.Fatal(err)
	}
}
