package collector

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
)

// newTestLog returns a log and what reads its lines, without their time.
func newTestLog() (l *errorLog, lines func() string) {
	var out bytes.Buffer
	l = &errorLog{logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))}
	return l, func() string {
		l.writing.Lock()
		defer l.writing.Unlock()
		return out.String()
	}
}

const errorLogPrefix = `level=WARN msg="telemetry pipeline error" `

func TestErrorLogIsRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, lines := newTestLog()
		var want string
		check := func(when, line string) {
			t.Helper()
			synctest.Wait()
			if line != "" {
				want += errorLogPrefix + line + "\n"
			}
			if lines() != want {
				t.Fatalf("%s:\n%s\nwant:\n%s", when, lines(), want)
			}
		}
		l.Handle(nil)
		check("no error", "")
		l.Handle(errors.New("first"))
		check("an error", "error=first held_back=0")
		for i := range 58 {
			time.Sleep(time.Second)
			l.Handle(fmt.Errorf("held %d", i))
		}
		time.Sleep(time.Second)
		check("in the first minute", "")
		time.Sleep(time.Second)
		check("after it, without another error", `error="held 57" held_back=57`)
		time.Sleep(time.Hour)
		check("nothing to tell", "")
		l.Handle(errors.New("after a while"))
		check("after a while", `error="after a while" held_back=0`)
		l.Println("one", errors.New("more"))
		check("one more", "")
		l.flush()
		check("a flush", `error="one more" held_back=0`)
		l.flush()
		time.Sleep(time.Hour)
		check("another flush", "")
		failed := redacted{errors.New("export failed")}
		l.add(failed)
		l.Handle(fmt.Errorf("by the SDK: %w", failed))
		check("one failed export, reported twice", `error="export failed" held_back=0`)
	})
}

// What finds its queue full is told, too, also where no export fails.
func TestG14_DropsAreToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, lines := newTestLog()
		p := &Pipeline{errors: l}
		spans := p.newOutlet(traces, otlpExporter, plan{}, 1)
		records := p.newOutlet(logs, otlpExporter, plan{}, 1)
		for _, o := range p.outlets {
			if !o.admit() {
				t.Fatal("no room for one")
			}
		}
		spans.admit()
		synctest.Wait()
		for range 499 {
			spans.admit()
		}
		for range 20 {
			records.admit()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		want := errorLogPrefix + "dropped.traces=1\n"
		if lines() != want {
			t.Fatalf("in the first minute:\n%s\nwant:\n%s", lines(), want)
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		want += errorLogPrefix + "dropped.traces=499 dropped.logs=20\n"
		if lines() != want {
			t.Fatalf("after it:\n%s\nwant:\n%s", lines(), want)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if lines() != want {
			t.Fatalf("nothing more was dropped:\n%s", lines())
		}
	})
}

// stuckWriter takes what is written only when it is released.
type stuckWriter struct{ release chan struct{} }

func (w stuckWriter) Write(p []byte) (int, error) { <-w.release; return len(p), nil }

func TestG14_ALoggerThatHangsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := stuckWriter{make(chan struct{})}
		p := &Pipeline{errors: &errorLog{logger: slog.New(slog.NewTextHandler(w, nil))}}
		o := p.newOutlet(traces, otlpExporter, plan{}, 0)
		begin := time.Now()
		for range 3 {
			o.admit()
			p.errors.Handle(errors.New("an error"))
			synctest.Wait() // the line is being written
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("took %v", d)
		}
		close(w.release)
	})
}

// However long the logger hangs, one goroutine waits for it, and what came meanwhile is told by the next line.
func TestOneLineAtATimeIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := stuckWriter{make(chan struct{})}
		l := &errorLog{logger: slog.New(slog.NewTextHandler(w, nil))}
		l.Handle(errors.New("an error"))
		synctest.Wait()
		goroutines := runtime.NumGoroutine()
		for range 20 {
			time.Sleep(errorLogInterval)
			l.Handle(errors.New("another"))
			synctest.Wait()
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d goroutines, %d with the first line", n, goroutines)
		}
		close(w.release)
		time.Sleep(errorLogInterval)
		synctest.Wait()
		if l.waiting() {
			t.Error("what came while the logger hung is still to be told")
		}
	})
}

func TestErrorLogCutsLongErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, lines := newTestLog()
		l.Handle(errors.New("x" + strings.Repeat("é", 1<<20)))
		synctest.Wait()
		if n := len(lines()); n > 1200 || !strings.Contains(lines(), "é…") {
			t.Errorf("%d bytes: %.1200s", n, lines())
		}
	})
}

func TestErrorLogConcurrentSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, lines := newTestLog()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					l.Handle(errors.New("again"))
					l.lose(logs, 1)
				}
			})
		}
		wg.Wait()
		time.Sleep(errorLogInterval)
		synctest.Wait()
		var n, held, dropped int
		for line := range strings.Lines(lines()) {
			n++
			for field := range strings.FieldsSeq(line) {
				switch key, value, _ := strings.Cut(field, "="); key {
				case "held_back":
					more, _ := strconv.Atoi(value)
					held += more + 1
				case "dropped.logs":
					more, _ := strconv.Atoi(value)
					dropped += more
				}
			}
		}
		if n > 2 || held != 800 || dropped != 800 {
			t.Errorf("%d lines tell of %d errors and %d dropped, want at most 2 with 800 each:\n%s", n, held, dropped, lines())
		}
	})
}

type ownHandler struct{ got []error }

func (h *ownHandler) Handle(err error) { h.got = append(h.got, err) }

func TestErrorHandlerOfTheProgramStays(t *testing.T) {
	unset := otel.GetErrorHandler()
	t.Cleanup(func() { otel.SetErrorHandler(unset) })

	l, lines := newTestLog()
	l.install()
	otel.Handle(errors.New("to the log"))
	l.flush()
	if !strings.Contains(lines(), "to the log") {
		t.Errorf("where the program has set none: %q", lines())
	}

	next, nextLines := newTestLog()
	next.install()
	otel.Handle(errors.New("to the next"))
	next.flush()
	if !strings.Contains(nextLines(), "to the next") {
		t.Errorf("where an earlier pipeline has set its own: %q", nextLines())
	}

	own := &ownHandler{}
	funcs := 0
	for _, handler := range []otel.ErrorHandler{own, otel.ErrorHandlerFunc(func(error) { funcs++ })} {
		otel.SetErrorHandler(handler)
		l.install()
		otel.Handle(errors.New("to the program"))
	}
	if len(own.got) != 1 || funcs != 1 {
		t.Errorf("the program's handlers got %d and %d errors, want 1 each", len(own.got), funcs)
	}
}
