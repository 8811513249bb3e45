package transport_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/transport"
)

func TestG15_ErrorsCanBeRidOfTheURL(t *testing.T) {
	guarded := blockedBy(t, func(*http.Request, *breaker.OpenError) (*http.Response, error) {
		return nil, fmt.Errorf("the spare one: %w", &url.Error{Op: "Post", URL: "https://canary@b.example/?canary", Err: io.ErrUnexpectedEOF})
	})
	_, err := (&http.Client{Transport: guarded}).Get(`http://user:canary@a.example/a%2Fb?q="canary&canary#canary`)
	if err == nil || strings.Count(err.Error(), "canary") < 4 {
		t.Fatalf("error is %v", err)
	}
	const want = `Get "http://a.example/a%2Fb": the spare one: Post "https://b.example/": unexpected EOF`
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("asking: %w", err), "asking: " + want},
		{errors.Join(errors.New("first"), err, fmt.Errorf("last: %w", err)), "first\n" + want + "\nlast: " + want},
		{fmt.Errorf("%w and %w", io.EOF, errors.Join(err)), "EOF and " + want},
		{errors.Join(fmt.Errorf("asking http://u:canary@c.example/?canary#canary: %w", io.ErrUnexpectedEOF)), "asking http://c.example/: unexpected EOF"},
	} {
		got := transport.RedactError(c.err)
		if got.Error() != c.want {
			t.Errorf("error is %s, want %s", got, c.want)
		}
		if !errors.Is(got, io.ErrUnexpectedEOF) || !errors.Is(got, c.err) {
			t.Errorf("%v has lost what it wraps", got)
		}
	}
	if _, is := errors.AsType[*url.Error](transport.RedactError(err)); !is {
		t.Error("there is no url.Error in it")
	}
	for _, err := range []error{nil, io.EOF, errors.New("what? #1 of me@home"), errors.Join(io.EOF, &url.Error{Op: "Get", URL: "http://a.example/", Err: io.EOF})} {
		if got := transport.RedactError(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// What http.Client and url.Parse say of URLs that make no sense, the client's own and those that a server sends.
func TestG15_ErrorsOfURLsThatMakeNoSense(t *testing.T) {
	var to string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Location"] = []string{to}
		w.WriteHeader(http.StatusFound)
	}))
	defer server.Close()
	client := &http.Client{Transport: mustNew(t, &http.Transport{DisableKeepAlives: true})}
	for _, at := range []string{"http://user:CAN/ARY@h/", "http://user:CAN?ARY@h/", "http://user:CAN#ARY@h", "http://h/?CAN\x7fARY", "http://u:CAN ARY@h/",
		"http://u:CANARY@h:port/?CANARY", "//user:CAN/ARY@h", "/%zzCANARY?CANARY", "gopher://u:CANARY@h/?CANARY", "gopher:CANARY@h", "?CANARY\x01", "http://[u:CANARY@h]/"} {
		to = at
		_, redirected := client.Get(server.URL + "/?CANARY")
		_, direct := client.Get(at)
		_, parsed := url.Parse(at)
		for _, err := range []error{redirected, direct, parsed, errors.Join(redirected, fmt.Errorf("%w, %w", direct, redirected))} {
			if err == nil {
				continue // this one does make sense
			}
			for _, secret := range []string{"CAN", "ARY"} {
				if got := transport.RedactError(err).Error(); strings.Contains(got, secret) {
					t.Errorf("%q: %s, of %s", at, got, err)
				}
			}
		}
		if redirected == nil || direct == nil {
			t.Errorf("%q is fine: %v, %v", at, redirected, direct)
		}
	}
}

func urlOf(s sdktrace.ReadOnlySpan) (value string, has bool) {
	for _, a := range s.Attributes() {
		if a.Key == "url.full" {
			return a.Value.AsString(), true
		}
	}
	return "", false
}

func TestG15_EverySpanHasItsOwnURL(t *testing.T) {
	for _, order := range []string{over, under} {
		tel := newTelemetry()
		_, top := stack(t, order, roundTripper(func(req *http.Request) (*http.Response, error) {
			return response(req, http.StatusOK, text("x")), nil
		}), tel)
		var want []string
		for range 4 { // seen for the first time, remembered, and written from memory
			for _, c := range []struct {
				u    url.URL
				want string
			}{
				{url.URL{Scheme: "http", Host: "a.example", Path: "/p", RawQuery: "canary"}, "http://a.example/p"},
				{url.URL{Scheme: "http", Host: "a.example", Path: "/p", RawQuery: "canary=2"}, "http://a.example/p"},
				{url.URL{Scheme: "https", Host: "a.example", Path: "/p", RawQuery: "canary"}, "https://a.example/p"},
				{url.URL{Scheme: "https", Host: "b.example", Path: "/p", RawQuery: "canary"}, "https://b.example/p"},
				{url.URL{Scheme: "https", Host: "b.example", Path: "/a/b", RawPath: "/a%2Fb", RawQuery: "canary"}, "https://b.example/a%2Fb"},
				{url.URL{Scheme: "https", Host: "b.example", Path: "/a/b", RawQuery: "canary"}, "https://b.example/a/b"},
				{url.URL{Scheme: "https", Host: "b.example", Path: "/ ", Fragment: "canary"}, "https://b.example/%20"},
				{url.URL{Scheme: "http", Host: "a.example", Opaque: "//user:canary@c.example/p?canary"}, "http://c.example/p"},
				{url.URL{Scheme: "http", Host: "a.example", Opaque: "canary:canary@h"}, "(URL)"},
				{url.URL{Scheme: "http", Host: "user:canary@a.example", Path: "/"}, "(URL)"},
				{url.URL{Scheme: "http", Host: "a.example", Path: "/" + strings.Repeat("x", 300), RawQuery: "canary"}, "http://a.example/" + strings.Repeat("x", 300)},
				{url.URL{Scheme: "http", Host: "a.example", Path: "/plain"}, "http://a.example/plain"},
			} {
				req := request(t, http.MethodGet, "http://h", nil)
				req.URL = &c.u
				res, err := top.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				drain(t, res)
				_ = res.Body.Close()
				want = append(want, c.want)
			}
		}
		for i, s := range tel.spans.Ended() {
			if got, _ := urlOf(s); got != want[i] {
				t.Errorf("%s: %q, want %q", order, got, want[i])
			}
		}
	}
}

// A caller may have a client span of its own, around several requests, say.
func TestG15_TheCallersOwnSpanKeepsItsURL(t *testing.T) {
	for _, order := range []string{bare, over} {
		for _, c := range []struct {
			attrs []attribute.KeyValue
			want  string
			has   bool
		}{
			{nil, "", false},
			{[]attribute.KeyValue{attribute.String("url.full", "http://first.example/x")}, "http://first.example/x", true},
			{[]attribute.KeyValue{attribute.String("url.full", "http://first.example/x?canary")}, "http://first.example/x", true},
		} {
			tel := newTelemetry()
			_, top := stack(t, order, roundTripper(func(req *http.Request) (*http.Response, error) {
				return response(req, http.StatusOK, text("x")), nil
			}), tel)
			ctx, span := tel.tracers.Tracer("caller").Start(t.Context(), "caller", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(c.attrs...))
			res, err := top.RoundTrip(request(t, http.MethodGet, "http://a.example/p?canary", nil).WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			span.End()
			for _, s := range tel.spans.Ended() {
				got, has := urlOf(s)
				if want := c.want; s.Name() == "caller" && (got != want || has != c.has) {
					t.Errorf("%s: the caller's url.full is %q, want %q", order, got, want)
				}
				if s.Name() != "caller" && got != "http://a.example/p" {
					t.Errorf("%s: otelhttp's url.full is %q", order, got)
				}
			}
		}
	}
}

func TestRedactionAllocatesOnceAtMost(t *testing.T) {
	for _, order := range []string{over, under} {
		allocations := func(paths []string, options ...transport.Option) float64 {
			tel := newBenchTelemetry()
			_, top := stack(t, order, roundTripper(func(req *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Body: endless{}, ContentLength: -1, Header: http.Header{}, Request: req}, nil
			}), tel, options...)
			i, req := 0, request(t, http.MethodGet, "http://a.example/?query", nil)
			return testing.AllocsPerRun(1_000, func() {
				req.URL.Path = paths[i%len(paths)]
				i++
				res, err := top.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = res.Body.Read(nil)
				_ = res.Body.Close()
			})
		}
		many := make([]string, 5_000)
		for i := range many {
			many[i] = fmt.Sprint("/", i)
		}
		for _, c := range []struct {
			paths []string
			most  float64
		}{{[]string{"/path"}, 0}, {many, 1}} {
			with, without := allocations(c.paths), allocations(c.paths, transport.WithFullURL())
			if with-without > c.most {
				t.Errorf("%s, %d paths: %v allocations with the redaction and %v without", order, len(c.paths), with, without)
			}
		}
	}
}
