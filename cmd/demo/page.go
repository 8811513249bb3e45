package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"time"

	"github.com/otelbreaker/otelbreaker/cmd/demo/internal/faulty"
)

//go:embed page
var assets embed.FS

var index = template.Must(template.ParseFS(assets, "page/index.html"))

const (
	maxForm        = 4 << 10
	maxStreams     = 32
	updateInterval = 200 * time.Millisecond
	writeTimeout   = 5 * time.Second
	readTimeout    = 5 * time.Second // of a body

	contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'"
)

// routes is all that the demo serves.
func (a *app) routes(health http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.serveIndex)
	mux.HandleFunc("GET /events", a.serveEvents(make(chan struct{}, maxStreams)))
	for _, name := range assetNames() {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, assets, "page/"+name)
		})
	}
	mux.Handle("GET /metrics", a.pipeline.MetricsHandler())
	mux.Handle("/health/circuit-breakers", health)
	if a.control != nil {
		mux.Handle("/control/circuit-breakers", a.control)
	}
	if !a.once { // nobody shall have a hand in what is to be proved
		mux.HandleFunc("POST /fault", a.switchFault)
		mux.HandleFunc("POST /script", a.playAgain)
	}
	protection := http.NewCrossOriginProtection()
	if a.control != nil {
		protection.AddInsecureBypassPattern("/control/circuit-breakers") // looks itself, and records what it refuses
	}
	handler := protection.Handler(mux)
	if a.onLoopback() {
		handler = forLoopback(handler)
	}
	return withHeaders(handler)
}

// assetNames are the files of the page but for the page itself, which is a template.
func assetNames() (names []string) {
	files, _ := assets.ReadDir("page") // it is embedded
	for _, f := range files {
		if f.Name() != "index.html" {
			names = append(names, f.Name())
		}
	}
	return names
}

func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.ContentLength != 0 { // not the server's ReadTimeout, which would end the event streams
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout)) // where it cannot be set, none is needed
		}
		next.ServeHTTP(w, r)
	})
}

func (a *app) serveIndex(w http.ResponseWriter, _ *http.Request) {
	var page bytes.Buffer
	err := index.Execute(&page, map[string]any{
		"Circuits": a.rows(), "Acts": acts(a.services[0]), "Faults": faulty.All, "Switchable": !a.once, "StripLength": stripLength,
		"Operable": a.control != nil, "TokenVariable": tokenVariable,
	})
	if err != nil {
		a.logger.Error("the page could not be made", "error", err.Error())
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = page.WriteTo(w) // a browser that went away wants none
}

// switchFault takes the form fields service and fault.
func (a *app) switchFault(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	f, err := faulty.Parse(r.PostForm.Get("fault"))
	d := a.dependency(r.PostForm.Get("service"))
	if d == nil {
		err = errors.Join(err, fmt.Errorf("unknown service %q", r.PostForm.Get("service")))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.script.takeOver()
	if err := d.upstream.Set(a.running, f); err != nil {
		a.logger.Error("a fault could not be switched", "service", d.client.name, "fault", string(f), "error", err.Error())
		http.Error(w, "the fault could not be switched; see the log", http.StatusInternalServerError)
		return
	}
	a.say("by hand: %s, fault %s", d.client.name, f)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// playAgain plays the scripted outage, unless it is playing.
func (a *app) playAgain(w http.ResponseWriter, r *http.Request) {
	if act, _ := a.script.progress(); act == 0 && a.running.Err() == nil {
		a.serving.Go(a.perform)
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) dependency(name string) *dependency {
	for _, d := range a.deps {
		if d.client.name == name {
			return d
		}
	}
	return nil
}

// serveEvents streams what the page shows, as server-sent events, to as many at once as places has room for. The
// rates are those of the service that the query names, or of all together.
func (a *app) serveEvents(places chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &viewer{app: a, of: -1}
		if name := r.URL.Query().Get("service"); name != "" {
			if v.of = slices.IndexFunc(a.deps, func(d *dependency) bool { return d.client.name == name }); v.of < 0 {
				http.Error(w, fmt.Sprintf("unknown service %q", name), http.StatusBadRequest)
				return
			}
		}
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			w.Header().Set("Retry-After", "5")
			http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		ticker := time.NewTicker(updateInterval)
		defer ticker.Stop()
		for {
			if u, worth := v.update(time.Now()); worth && !a.send(w, u) {
				return
			}
			select {
			case <-ticker.C:
			case <-r.Context().Done():
				return
			}
		}
	}
}

// send writes one event, and tells whether there is a reader for more.
func (a *app) send(w http.ResponseWriter, u update) bool {
	data, err := json.Marshal(u)
	if err != nil { // its types cannot fail to encode
		a.logger.Error("an update of the page could not be made", "error", err.Error())
		return false
	}
	stream := http.NewResponseController(w)
	_ = stream.SetWriteDeadline(time.Now().Add(writeTimeout)) // where it cannot be set, the write fails in its own time
	if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil {
		return false
	}
	return stream.Flush() == nil
}
