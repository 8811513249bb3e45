// Command program runs package replica, told what to do on standard input.
package main

import (
	"context"
	"io"
	"log"
	"net/rpc"
	"os"

	"github.com/otelbreaker/otelbreaker/e2e/internal/replica"
)

func main() {
	r, stop, err := replica.Start(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if err := rpc.Register(r); err != nil {
		log.Fatal(err)
	}
	rpc.ServeConn(struct { // until standard input ends
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout})
	if err := stop(); err != nil {
		log.Fatal(err)
	}
}
