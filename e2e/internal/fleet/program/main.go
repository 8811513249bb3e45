// Command program runs package fleet, told what to do on standard input.
package main

import (
	"log"

	"github.com/otelbreaker/otelbreaker/e2e/internal/child"
	"github.com/otelbreaker/otelbreaker/e2e/internal/fleet"
)

func main() {
	if err := child.Serve(&fleet.Fleet{}); err != nil {
		log.Fatal(err)
	}
}
