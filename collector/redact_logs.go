package collector

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
)

// logRedactor keeps the secrets of URLs from an exporter: whoever logs an error of http.Client logs them, too.
type logRedactor struct{ sdklog.Exporter }

func (r logRedactor) Export(ctx context.Context, records []sdklog.Record) error {
	redacted := make([]sdklog.Record, len(records))
	for i := range records {
		redacted[i] = records[i].Clone()
		redactRecord(&redacted[i])
	}
	return r.Exporter.Export(ctx, redacted)
}

func redactRecord(r *sdklog.Record) {
	if body, changed := redactValue("", r.Body()); changed {
		r.SetBody(body)
	}
	var attrs []attribute.KeyValue
	differs := false
	r.WalkAttributes(func(a attribute.KeyValue) bool {
		if value, changed := redactValue(string(a.Key), a.Value); changed {
			a.Value, differs = value, true
		}
		attrs = append(attrs, a)
		return true
	})
	switch {
	case !differs:
	case r.DroppedAttributes() > 0:
		r.AddAttributes(attrs...) // which keeps the count of those
	default:
		r.SetAttributes(attrs...)
	}
}
