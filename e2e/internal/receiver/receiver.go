// Package receiver takes the place of Slack: a webhook on loopback that keeps what Alertmanager posts to it.
package receiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Post is one notification, as Slack's incoming webhooks take it.
type Post struct {
	At          time.Time `json:"-"` // when it came in
	Channel     string
	Text        string
	Attachments []Attachment
}

// Attachment is the part of a post that holds its content.
type Attachment struct {
	Title     string
	TitleLink string `json:"title_link"`
	Fallback  string
	Pretext   string
	Text      string
	Color     string
	Fields    []Field
	Actions   []Action
}

// Field is a named value of an attachment.
type Field struct{ Title, Value string }

// Action is a button, which opens a link.
type Action struct{ Text, URL string }

// Words are all that the post says, one line each, links included.
func (p Post) Words() string {
	lines := []string{p.Text}
	for _, a := range p.Attachments {
		lines = append(lines, a.Title, a.TitleLink, a.Pretext, a.Text)
		for _, f := range a.Fields {
			lines = append(lines, f.Title+": "+f.Value)
		}
		for _, b := range a.Actions {
			lines = append(lines, b.Text+": "+b.URL)
		}
	}
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.TrimSpace(line) == "" })
	return strings.Join(lines, "\n")
}

// Receiver is a running webhook.
type Receiver struct {
	URL string // to post to

	server *http.Server
	told   func(Post)

	mu    sync.Mutex
	posts []Post
	odd   error // what came in and is no post
}

// Start starts a receiver on any free port. told, where not nil, is called with each post as it comes in.
func Start(ctx context.Context, told func(Post)) (*Receiver, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Receiver{URL: "http://" + l.Addr().String() + "/services/T0/B0/secret", told: told}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	go func() { _ = r.server.Serve(l) }() // until it is closed
	return r, nil
}

// Close ends it.
func (r *Receiver) Close() error { return r.server.Close() }

// Posts returns what has come in, in order, and an error where something came that Slack would not take.
func (r *Receiver) Posts() ([]Post, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.posts), r.odd
}

// ServeHTTP takes a post.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var p Post
	err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<20)).Decode(&p)
	if err == nil && p.Words() == "" {
		err = errors.New("it says nothing")
	}
	if req.Method != http.MethodPost || err != nil {
		r.mu.Lock()
		r.odd = errors.Join(r.odd, fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err))
		r.mu.Unlock()
		http.Error(w, "invalid_payload", http.StatusBadRequest)
		return
	}
	p.At = time.Now()
	r.mu.Lock()
	r.posts = append(r.posts, p)
	r.mu.Unlock()
	if r.told != nil {
		r.told(p)
	}
	_, _ = w.Write([]byte("ok"))
}
