package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/otelbreaker/otelbreaker/internal/redact"
)

const (
	errorLogInterval = time.Minute
	errorLogLength   = 1024 // bytes of one error: an OTLP receiver's whole answer can be in it
)

// errorLog writes to slog what goes wrong in the pipeline, one line a minute: with a receiver that is down every batch
// fails, and with a full queue every call may lose a span. The line is written on a goroutine of its own, for neither
// a call nor an export is to wait for the program's logger.
type errorLog struct {
	logger *slog.Logger

	lost [3]atomic.Int64 // items dropped since the last line, in the order of signals
	due  atomic.Bool     // a timer will write the next line

	mu   sync.Mutex
	next time.Time // the next line comes no earlier
	held int       // errors since the last line
	text string    // of the newest

	writing sync.Mutex
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

// Handle implements [otel.ErrorHandler]. A failed export comes here, too, but its outlet has told of it already.
func (l *errorLog) Handle(err error) {
	if _, told := errors.AsType[redacted](err); err != nil && !told {
		l.add(err)
	}
}

// add takes an error for the next line.
func (l *errorLog) add(err error) {
	text := redact.TextToHosts(err.Error())
	if len(text) > errorLogLength {
		text = strings.ToValidUTF8(text[:errorLogLength], "") + "…"
	}
	l.mu.Lock()
	l.held++
	l.text = text
	l.mu.Unlock()
	l.wake()
}

// lose takes items that were dropped for the next line.
func (l *errorLog) lose(s signal, items int64) {
	l.lost[s.index()].Add(items)
	l.wake()
}

// wake sees to it that a line is written, at once where the last one is a minute old.
func (l *errorLog) wake() {
	if !l.due.CompareAndSwap(false, true) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	time.AfterFunc(time.Until(l.next), func() {
		l.mu.Lock()
		l.next = time.Now().Add(errorLogInterval)
		l.mu.Unlock()
		l.flush()
		l.due.Store(false)
		if l.waiting() { // what has come since the look at what there was
			l.wake()
		}
	})
}

// waiting tells that there is something to write.
func (l *errorLog) waiting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.lost {
		if l.lost[i].Load() > 0 {
			return true
		}
	}
	return l.held > 0
}

// flush writes a line of what has come since the last, after one that is being written.
func (l *errorLog) flush() {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	text, held := l.text, l.held
	l.text, l.held = "", 0
	l.mu.Unlock()
	var attrs []slog.Attr
	if held > 0 {
		attrs = append(attrs, slog.String("error", text), slog.Int("held_back", held-1))
	}
	var dropped []any
	for i, s := range signals {
		if n := l.lost[i].Swap(0); n > 0 {
			dropped = append(dropped, slog.Int64(s.String(), n))
		}
	}
	if len(dropped) > 0 {
		attrs = append(attrs, slog.Group("dropped", dropped...))
	}
	if len(attrs) == 0 {
		return
	}
	logger := l.logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.LogAttrs(context.Background(), slog.LevelWarn, "telemetry pipeline error", attrs...)
}

// Println makes l the error log of promhttp.
func (l *errorLog) Println(v ...any) {
	l.Handle(errors.New(strings.TrimSpace(fmt.Sprintln(v...))))
}
