// Command program runs package incident by the plan in its argument, until standard input ends or it is told to.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/otelbreaker/otelbreaker/e2e/internal/child"
	"github.com/otelbreaker/otelbreaker/e2e/internal/incident"
)

func main() {
	var plan incident.Plan
	if len(os.Args) != 2 {
		log.Fatal("want a plan, as JSON")
	}
	if err := json.Unmarshal([]byte(os.Args[1]), &plan); err != nil {
		log.Fatal(err)
	}
	service, stop, err := incident.Start(context.Background(), plan)
	if err != nil {
		log.Fatal(err)
	}
	if err := child.Serve(service); err != nil {
		log.Fatal(err)
	}
	if err := stop(); err != nil {
		log.Fatal(err)
	}
}
