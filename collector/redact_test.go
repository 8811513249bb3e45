package collector

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestG15_ErrorsQuoteOfAnEndpointSchemeAndHost(t *testing.T) {
	for text, want := range map[string]string{
		`Post "http://127.0.0.1:1/api/TOKEN/v1/traces": refused`:     `Post "http://127.0.0.1:1": refused`,
		`https://user:TOKEN@otlp.example:4318/v1?k=TOKEN: no answer`: `https://otlp.example:4318: no answer`,
		`https://otlp.example?k=a@TOKEN`:                             `https://otlp.example`,
		`http://user:TO/KEN@h`:                                       `(URL)`,
		`no URL at all: 10 dropped`:                                  `no URL at all: 10 dropped`,
	} {
		if got := (redacted{errors.New(text)}).Error(); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	cause := errors.New(`Post "http://h/TOKEN"`)
	if err := error(redacted{cause}); !errors.Is(err, cause) || strings.Contains(err.Error(), "TOKEN") {
		t.Errorf("got %v", err)
	}
}

func TestG15_ATokenInAnEndpointsPathStaysOutOfTheShutdownError(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/api/TOKEN/v1/traces")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	var log strings.Builder
	p, err := Start(t.Context(), WithoutGlobals(), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	_, span := p.TracerProvider().Tracer("t").Start(t.Context(), "s")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = p.Shutdown(ctx)
	if err == nil || strings.Contains(err.Error(), "TOKEN") || strings.Contains(log.String(), "TOKEN") {
		t.Errorf("error %v, log %s", err, log.String())
	}
}
