package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"time"
)

//go:embed page
var assets embed.FS

var index = template.Must(template.ParseFS(assets, "page/index.html"))

const (
	maxForm        = 4 << 10
	maxStreams     = 32
	updateInterval = 200 * time.Millisecond
	writeTimeout   = 5 * time.Second

	contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'"
)

// routes is all that the demo serves.
func (a *app) routes(health http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.serveIndex)
	mux.HandleFunc("GET /events", a.serveEvents(make(chan struct{}, maxStreams)))
	for _, name := range []string{"app.js", "style.css", "icon.svg"} {
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

func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (a *app) serveIndex(w http.ResponseWriter, _ *http.Request) {
	var page bytes.Buffer
	err := index.Execute(&page, map[string]any{
		"Circuits": a.circuits(), "Acts": acts(a.services[0]), "Faults": faults, "Switchable": !a.once, "StripLength": stripLength,
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
	f, err := parseFault(r.PostForm.Get("fault"))
	d := a.dependency(r.PostForm.Get("service"))
	if d == nil {
		err = errors.Join(err, fmt.Errorf("unknown service %q", r.PostForm.Get("service")))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.script.takeOver()
	if err := d.upstream.set(a.running, f); err != nil {
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

// serveEvents streams what the page shows, as server-sent events, to as many at once as places has room for.
func (a *app) serveEvents(places chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			w.Header().Set("Retry-After", "5")
			http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		stream := http.NewResponseController(w)
		ticker := time.NewTicker(updateInterval)
		defer ticker.Stop()
		for seq := 0; ; {
			u := a.update(seq)
			if n := len(u.Records); n > 0 {
				seq = u.Records[n-1].Seq
			}
			data, err := json.Marshal(u)
			if err != nil { // its types cannot fail to encode
				a.logger.Error("an update of the page could not be made", "error", err.Error())
				return
			}
			_ = stream.SetWriteDeadline(time.Now().Add(writeTimeout)) // where it cannot be set, the write fails in its own time
			if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil || stream.Flush() != nil {
				return // the reader is gone, or too slow
			}
			select {
			case <-ticker.C:
			case <-r.Context().Done():
				return
			}
		}
	}
}
