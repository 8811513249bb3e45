package collector

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
)

func newTestLog() (*errorLog, *bytes.Buffer) {
	out := &bytes.Buffer{}
	return &errorLog{logger: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))}, out
}

func TestErrorLogIsRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, out := newTestLog()
		const prefix = `level=WARN msg="telemetry pipeline error" error=`
		want := prefix + "first held_back=0\n"
		l.Handle(nil)
		l.Handle(errors.New("first"))
		for range 59 {
			time.Sleep(time.Second)
			l.Handle(errors.New("held"))
		}
		if out.String() != want {
			t.Fatalf("in the first minute:\n%s", out)
		}
		time.Sleep(time.Second)
		l.Handle(errors.New("second"))
		want += prefix + "second held_back=59\n"
		if out.String() != want {
			t.Fatalf("after the first minute:\n%s", out)
		}
		l.flush()
		if out.String() != want {
			t.Fatalf("a flush with nothing held back:\n%s", out)
		}
		l.Handle(errors.New("third"))
		l.Println("fourth", errors.New("and last"))
		l.flush()
		l.flush()
		want += prefix + `"fourth and last" held_back=1` + "\n"
		if out.String() != want {
			t.Fatalf("a flush with two held back:\n%s", out)
		}
	})
}

func TestErrorLogCutsLongErrors(t *testing.T) {
	l, out := newTestLog()
	l.Handle(errors.New("x" + strings.Repeat("é", 1<<20)))
	if n := out.Len(); n > 1200 || !strings.Contains(out.String(), "é…") {
		t.Errorf("%d bytes: %.1200s", n, out)
	}
}

func TestErrorLogConcurrentSafe(t *testing.T) {
	l, out := newTestLog()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				l.Handle(errors.New("again"))
			}
		})
	}
	wg.Wait()
	l.flush()
	if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), "held_back=798\n") {
		t.Errorf("%d lines:\n%s", n, out)
	}
}

type ownHandler struct{ got []error }

func (h *ownHandler) Handle(err error) { h.got = append(h.got, err) }

func TestErrorHandlerOfTheProgramStays(t *testing.T) {
	unset := otel.GetErrorHandler()
	t.Cleanup(func() { otel.SetErrorHandler(unset) })

	l, out := newTestLog()
	l.install()
	otel.Handle(errors.New("to the log"))
	if !strings.Contains(out.String(), "to the log") {
		t.Errorf("where the program has set none: %q", out)
	}

	next, out := newTestLog()
	next.install()
	otel.Handle(errors.New("to the next"))
	if !strings.Contains(out.String(), "to the next") {
		t.Errorf("where an earlier pipeline has set its own: %q", out)
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
