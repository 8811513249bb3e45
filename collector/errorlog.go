package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
)

const (
	errorLogInterval = time.Minute
	errorLogLength   = 1024 // bytes of one error: an OTLP receiver's whole answer can be in it
)

// errorLog writes errors of the SDK to slog, one a minute: with a receiver that is down every batch fails.
type errorLog struct {
	logger *slog.Logger

	mu   sync.Mutex
	last time.Time
	held int    // since last
	text string // of the newest held back
}

// install makes l the SDK's error handler unless the program has set one.
func (l *errorLog) install() {
	current := otel.GetErrorHandler()
	if _, ours := current.(*errorLog); ours || isDefault(current) {
		otel.SetErrorHandler(l)
	}
}

// isDefault tells whether h is what package otel holds until a program sets a handler. There is no way to ask but
// by its type, which nobody outside of otel can make.
func isDefault(h otel.ErrorHandler) bool {
	t := reflect.TypeOf(h)
	return t != nil && t.Kind() == reflect.Pointer && strings.HasPrefix(t.Elem().PkgPath(), "go.opentelemetry.io/otel/internal/")
}

// Handle implements [otel.ErrorHandler].
func (l *errorLog) Handle(err error) {
	if err == nil {
		return
	}
	text := redact(err.Error())
	if len(text) > errorLogLength {
		text = strings.ToValidUTF8(text[:errorLogLength], "") + "…"
	}
	l.mu.Lock()
	now := time.Now()
	if !l.last.IsZero() && now.Sub(l.last) < errorLogInterval {
		l.held++
		l.text = text
		l.mu.Unlock()
		return
	}
	held := l.held
	l.last, l.held = now, 0
	l.mu.Unlock()
	l.write(text, held) // outside the lock: the logger may be slow, or may itself report here
}

// flush writes what is held back.
func (l *errorLog) flush() {
	l.mu.Lock()
	text, held := l.text, l.held
	l.held = 0
	l.mu.Unlock()
	if held > 0 {
		l.write(text, held-1)
	}
}

func (l *errorLog) write(text string, held int) {
	logger := l.logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.LogAttrs(context.Background(), slog.LevelWarn, "telemetry pipeline error",
		slog.String("error", text), slog.Int("held_back", held))
}

// Println makes l the error log of promhttp.
func (l *errorLog) Println(v ...any) {
	l.Handle(errors.New(strings.TrimSpace(fmt.Sprintln(v...))))
}
