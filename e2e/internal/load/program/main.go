// Command program runs package load in a process of its own.
package main

import (
	"io"
	"log"
	"net/rpc"
	"os"

	"github.com/otelbreaker/otelbreaker/e2e/internal/load"
)

func main() {
	l, err := load.Start()
	if err != nil {
		log.Fatal(err)
	}
	if err := rpc.Register(l); err != nil {
		log.Fatal(err)
	}
	rpc.ServeConn(struct { // until standard input ends
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout})
}
