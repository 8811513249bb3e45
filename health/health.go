// Package health serves what circuit breakers are doing right now, for people and for programs that would rather ask
// one service than a metrics server.
//
//	http.Handle("GET /health/circuit-breakers", health.Handler(transport.Breakers()))
//
// The answer is JSON: a timestamp (RFC 3339, UTC) and, under circuit_breakers, by service and then by endpoint, what
// each breaker does, why, since when, and when the next probe goes through. Times are RFC 3339 in UTC; durations in the
// configuration are Go's notation ("1m30s"), all others are numbers of seconds, with the unit in the name.
//
// The page informs; it is no readiness probe. It answers 200 also while breakers are open, since restarting a
// service does not mend what it depends on. It changes nothing and takes no input.
package health

import (
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Source is a set of breakers: a [*breaker.Group], or a single [*breaker.Breaker]. Where it also has
// Subscribe(breaker.Listener) (cancel func()), as those two do, the page shows each breaker's last transitions.
type Source interface {
	All() iter.Seq[*breaker.Breaker]
}

// Handler serves the health page of the breakers of all groups, those to come included. Make it once and keep it: it
// remembers transitions and measures rates from its making on, which costs one look at the counters every five seconds.
// Once nothing holds the handler any more, it stops listening to its groups.
//
// It answers GET and HEAD, with 200 whatever the breakers' states, and refuses other methods. A nil group counts as an
// empty one. Where two breakers have the same service and endpoint, the second is shown as "endpoint #2", and so on.
// It may be used concurrently.
func Handler(groups ...Source) http.Handler {
	h := &handler{}
	var cancels []func()
	for _, g := range groups {
		history := newHistory(&guarded{source: g})
		if cancel := history.source.subscribe(history); cancel != nil {
			cancels = append(cancels, cancel)
		}
		h.groups = append(h.groups, history)
	}
	h.rates.keepSampling(h.groups)
	// The groups hold the histories and outlive the handler; they must not hold what nobody can see any more.
	runtime.AddCleanup(h, func(cancels []func()) {
		for _, cancel := range cancels {
			cancel()
		}
	}, cancels)
	return h
}

type handler struct {
	groups []*history
	rates  rates
}

// ServeHTTP answers with the page. What a client can ask for (a format, a part of the page) belongs between the
// collecting and the writing.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed; allowed is GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	body, err := json.MarshalIndent(h.collect(time.Now()), "", "  ")
	if err != nil { // the page's types cannot fail to encode
		http.Error(w, "the health page could not be encoded", http.StatusInternalServerError)
		return
	}
	body = append(body, '\n')
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the server leaves it out for HEAD; a client that went away wants none
}

// guarded keeps the panic of a source that is badly made, or nil, from the caller, which may be a timer and would take
// the process down.
type guarded struct {
	source   Source
	complain sync.Once
}

// breakers lists what the source has now.
func (g *guarded) breakers() []*breaker.Breaker {
	var all []*breaker.Breaker
	g.do(func() {
		for b := range g.source.All() {
			if b != nil {
				all = append(all, b)
			}
		}
	})
	return all
}

// subscribe gives nil where the source cannot be listened to.
func (g *guarded) subscribe(l breaker.Listener) (cancel func()) {
	s, ok := g.source.(interface {
		Subscribe(breaker.Listener) (cancel func())
	})
	if ok {
		g.do(func() { cancel = s.Subscribe(l) })
	}
	return cancel
}

func (g *guarded) do(f func()) {
	if g.source == nil {
		return
	}
	defer func() {
		if recover() != nil {
			g.complain.Do(func() {
				slog.Default().Error("health: a source panicked; breakers are missing from the page",
					"source", fmt.Sprintf("%T", g.source))
			})
		}
	}()
	f()
}
