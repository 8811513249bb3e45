package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// fault is how a dependency misbehaves.
type fault string

const (
	faultNone    fault = "none"
	faultErrors  fault = "errors"
	faultLatency fault = "latency"
	faultHang    fault = "hang"
	faultRefuse  fault = "refuse"
	faultCut     fault = "cut"
)

// faults are all of them, with what the page says of each, in its order.
var faults = []struct {
	Name         fault
	Title, Meant string
}{
	{faultNone, "Healthy", "answers 200"},
	{faultErrors, "Errors", "answers 500"},
	{faultLatency, "Latency", "answers 200, too late"},
	{faultHang, "Hang", "never answers"},
	{faultRefuse, "Refuse", "refuses connections"},
	{faultCut, "Cut", "breaks off in the body"},
}

func parseFault(name string) (fault, error) {
	var allowed []string
	for _, f := range faults {
		if string(f.Name) == name {
			return f.Name, nil
		}
		allowed = append(allowed, string(f.Name))
	}
	return "", fmt.Errorf("unknown fault %q: allowed is %s", name, strings.Join(allowed, ", "))
}

// usualDelay is what a healthy answer takes.
const usualDelay = 15 * time.Millisecond

// upstream is a dependency: an HTTP service on a loopback port of its own, whose faults can be switched.
type upstream struct {
	name  string
	addr  string        // host:port, the same for its whole life
	delay time.Duration // of an answer under faultLatency

	mu     sync.Mutex
	fault  fault
	server *http.Server // nil while it refuses connections
	closed bool
	served sync.WaitGroup
}

// startUpstream starts a healthy one.
func startUpstream(ctx context.Context, name string, delay time.Duration) (*upstream, error) {
	u := &upstream{name: name, addr: "127.0.0.1:0", delay: delay, fault: faultNone}
	if err := u.listen(ctx); err != nil {
		return nil, err
	}
	return u, nil
}

// url is its base URL.
func (u *upstream) url() string { return "http://" + u.addr }

// listen opens the port and serves. The caller holds the lock, or is alone.
func (u *upstream) listen(ctx context.Context) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", u.addr)
	if err != nil {
		return fmt.Errorf("upstream %s cannot listen: %w", u.name, err)
	}
	u.addr = listener.Addr().String()
	u.server = &http.Server{Handler: u, ReadHeaderTimeout: 5 * time.Second}
	server := u.server
	u.served.Go(func() { _ = server.Serve(listener) }) // always an error, ErrServerClosed; others show as refused calls
	return nil
}

// set switches the fault. Connections that are open when it begins to refuse them are cut.
func (u *upstream) set(ctx context.Context, f fault) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return errors.New("the demo is ending")
	}
	if err := context.Cause(ctx); err != nil {
		return err // a script that was taken over a moment ago
	}
	if f != faultRefuse && u.server == nil {
		if err := u.listen(ctx); err != nil {
			return err
		}
	}
	if f == faultRefuse && u.server != nil {
		_ = u.server.Close() // the port is free whatever it says
		u.server = nil
	}
	u.fault = f
	return nil
}

func (u *upstream) current() fault {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.fault
}

// close ends it for good, and with it the requests that hang.
func (u *upstream) close() {
	u.mu.Lock()
	if u.server != nil {
		_ = u.server.Close()
		u.server = nil
	}
	u.closed = true
	u.mu.Unlock()
	u.served.Wait()
}

// ServeHTTP answers as the fault has it.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const body = `{"status":"ok"}` + "\n"
	w.Header().Set("Content-Type", "application/json")
	switch u.current() {
	case faultErrors:
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"status":"failing"}`+"\n") // a client that went away has its reasons
	case faultHang:
		<-r.Context().Done()
	case faultCut:
		w.Header().Set("Content-Length", strconv.Itoa(2*len(body)))
		_, _ = io.WriteString(w, body)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // closes the connection, without a word in the log
	case faultLatency:
		pause(r.Context(), u.delay)
		_, _ = io.WriteString(w, body)
	default:
		pause(r.Context(), usualDelay)
		_, _ = io.WriteString(w, body)
	}
}

// pause waits for d, or for the end of ctx if that is sooner.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
