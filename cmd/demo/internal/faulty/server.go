// Package faulty is a dependency that misbehaves on demand: an HTTP server on loopback whose faults can be switched, with
// an answer of its own or as a proxy before another server.
package faulty

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is how a dependency misbehaves.
type Fault string

// The faults there are.
const (
	None     Fault = "none"
	Errors   Fault = "errors"
	Brownout Fault = "brownout"
	Latency  Fault = "latency"
	Hang     Fault = "hang"
	Refuse   Fault = "refuse"
	Cut      Fault = "cut"
)

// All are all of them, with what is to be said of each to people, in the order in which to show them.
var All = []struct {
	Name         Fault
	Title, Meant string
}{
	{None, "Healthy", "answers 200"},
	{Errors, "Errors", "answers 500"},
	{Brownout, "Brownout", "answers 500 to three of five"},
	{Latency, "Latency", "answers 200, too late"},
	{Hang, "Hang", "never answers"},
	{Refuse, "Refuse", "refuses connections"},
	{Cut, "Cut", "breaks off in the body"},
}

// Parse gives the fault of that name.
func Parse(name string) (Fault, error) {
	var allowed []string
	for _, f := range All {
		if string(f.Name) == name {
			return f.Name, nil
		}
		allowed = append(allowed, string(f.Name))
	}
	return "", fmt.Errorf("unknown fault %q: allowed is %s", name, strings.Join(allowed, ", "))
}

// usualDelay is what a healthy answer of its own takes.
const usualDelay = 15 * time.Millisecond

const body = `{"status":"ok"}` + "\n"

// Server is a dependency on a loopback port of its own. Its methods may be called concurrently.
type Server struct {
	name  string
	addr  string        // host:port, the same for its whole life
	delay time.Duration // of an answer under Latency
	next  http.Handler  // answers where it does not misbehave

	answered atomic.Uint64 // under Brownout

	mu     sync.Mutex
	fault  Fault
	server *http.Server // nil while it refuses connections
	closed bool
	served sync.WaitGroup
}

// Start starts a healthy one. delay is what an answer takes longer under [Latency]. next answers where it does not misbehave; nil
// is an answer of its own.
func Start(ctx context.Context, name string, delay time.Duration, next http.Handler) (*Server, error) {
	if next == nil {
		next = http.HandlerFunc(healthy)
	}
	u := &Server{name: name, addr: "127.0.0.1:0", delay: delay, next: next, fault: None}
	if err := u.listen(ctx); err != nil {
		return nil, err
	}
	return u, nil
}

// URL is its base URL.
func (u *Server) URL() string { return "http://" + u.addr }

// listen opens the port and serves. The caller holds the lock, or is alone.
func (u *Server) listen(ctx context.Context) error {
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

// Set switches the fault. Connections that are open when it begins to refuse them are cut.
func (u *Server) Set(ctx context.Context, f Fault) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return fmt.Errorf("upstream %s has ended", u.name)
	}
	if err := context.Cause(ctx); err != nil {
		return err // a script that was taken over a moment ago
	}
	if f != Refuse && u.server == nil {
		if err := u.listen(ctx); err != nil {
			return err
		}
	}
	if f == Refuse && u.server != nil {
		_ = u.server.Close() // the port is free whatever it says
		u.server = nil
	}
	u.fault = f
	return nil
}

// Current tells the fault that is on.
func (u *Server) Current() Fault {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.fault
}

// Close ends it for good, and with it the requests that hang.
func (u *Server) Close() {
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
func (u *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch u.Current() {
	case Errors:
		fail(w)
	case Brownout:
		if u.answered.Add(1)%5%2 == 0 { // two in a row at most, so that it takes a rate to notice
			pause(r.Context(), usualDelay)
			fail(w)
			return
		}
		u.next.ServeHTTP(w, r)
	case Hang:
		<-r.Context().Done()
	case Cut:
		w.Header().Set("Content-Length", strconv.Itoa(2*len(body)))
		_, _ = io.WriteString(w, body)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // closes the connection, without a word in the log
	case Latency:
		pause(r.Context(), u.delay)
		u.next.ServeHTTP(w, r)
	default:
		u.next.ServeHTTP(w, r)
	}
}

func healthy(w http.ResponseWriter, r *http.Request) {
	pause(r.Context(), usualDelay)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, body) // a client that went away has its reasons
}

func fail(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = io.WriteString(w, `{"status":"failing"}`+"\n")
}

// pause waits for d, or for the end of ctx if that is sooner.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
