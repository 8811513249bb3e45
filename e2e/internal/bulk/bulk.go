// Package bulk receives what is sent to Elasticsearch's _bulk endpoint. It is a stand-in: Elasticsearch cannot be
// built from Go modules. It shows what is sent, field by field, and not what a server makes of it: neither that an
// index template takes a document nor that a query finds it.
package bulk

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Document is what was sent for one record.
type Document struct {
	Index  string         // the index or data stream
	Action string         // create or index
	Fields map[string]any // the document; numbers are json.Number
}

// Field returns a field of the document by its path. Attributes have dots in their names, so a name may be of
// several parts of the path. It is nil where there is none.
func (d Document) Field(path string) any { return field(d.Fields, path) }

func field(in map[string]any, path string) any {
	if value, found := in[path]; found {
		return value
	}
	for i := range path {
		if path[i] != '.' {
			continue
		}
		if inner, ok := in[path[:i]].(map[string]any); ok {
			if value := field(inner, path[i+1:]); value != nil {
				return value
			}
		}
	}
	return nil
}

// Server is an http.Handler that takes bulk requests. Its zero value is ready, and safe for concurrent use.
type Server struct {
	mu        sync.Mutex
	documents []Document
}

// Documents returns what has arrived, in the order of arrival.
func (s *Server) Documents() []Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Document{}, s.documents...)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Elastic-Product", "Elasticsearch") // clients refuse any other
	w.Header().Set("Content-Type", "application/json")
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/_bulk") {
		http.Error(w, `{"error":"only POST …/_bulk"}`, http.StatusNotFound)
		return
	}
	documents, err := read(r)
	if err != nil {
		http.Error(w, fmt.Sprintf(`{"error":%q}`, err), http.StatusBadRequest)
		return
	}
	type result struct {
		Index  string `json:"_index"`
		Status int    `json:"status"`
	}
	var answer struct {
		Errors bool                `json:"errors"`
		Items  []map[string]result `json:"items"`
	}
	for _, d := range documents {
		answer.Items = append(answer.Items, map[string]result{d.Action: {d.Index, http.StatusCreated}})
	}
	s.mu.Lock()
	s.documents = append(s.documents, documents...)
	s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(answer) // who has gone away sends again
}

// read reads lines in pairs: what to do, and with which document.
func read(r *http.Request) ([]Document, error) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = unzipped
	}
	var documents []Document
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var action map[string]struct {
			Index string `json:"_index"`
		}
		if err := json.Unmarshal(lines.Bytes(), &action); err != nil {
			return nil, fmt.Errorf("an action: %w", err)
		}
		if len(action) != 1 || !lines.Scan() {
			return nil, errors.New("an action without a document")
		}
		var d Document
		for name, target := range action {
			d.Action, d.Index = name, target.Index
		}
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.UseNumber()
		if err := decoder.Decode(&d.Fields); err != nil {
			return nil, fmt.Errorf("a document: %w", err)
		}
		documents = append(documents, d)
	}
	return documents, lines.Err()
}
