package collector

import (
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"github.com/otelbreaker/otelbreaker/internal/redact"
)

const hidden = "REDACTED" // as the semantic conventions want it

// redactAttributes leaves its argument as it is, which belongs to the span or the record, and gives it back where nothing
// had to go.
func redactAttributes(attrs []attribute.KeyValue) []attribute.KeyValue {
	copied := false
	for i, a := range attrs {
		value, changed := redactValue(string(a.Key), a.Value)
		if !changed {
			continue
		}
		if !copied {
			attrs, copied = slices.Clone(attrs), true
		}
		attrs[i].Value = value
	}
	return attrs
}

// redactValue cuts every text in a value, however deep.
func redactValue(key string, value attribute.Value) (is attribute.Value, changed bool) {
	switch value.Type() {
	case attribute.STRING:
		was := value.AsString()
		text := redactText(key, was)
		return attribute.StringValue(text), text != was
	case attribute.STRINGSLICE:
		texts := value.AsStringSlice()
		for i, was := range texts {
			texts[i] = redactText(key, was)
			changed = changed || texts[i] != was
		}
		return attribute.StringSliceValue(texts), changed
	case attribute.SLICE:
		values := slices.Clone(value.AsSlice())
		for i, was := range values {
			one, differs := redactValue(key, was)
			if differs {
				values[i], changed = one, true
			}
		}
		return attribute.SliceValue(values...), changed
	case attribute.MAP:
		was := value.AsMap()
		is := redactAttributes(was)
		return attribute.MapValue(is...), len(was) > 0 && &was[0] != &is[0]
	default:
		return value, false
	}
}

// redactText knows the attributes of the semantic conventions, old and new, that hold URLs or parts of them, and headers.
// Of all others it cuts the URLs that it finds in the text.
func redactText(key, text string) string {
	if text == "" {
		return text
	}
	switch key {
	case "url.full", "url.original", "http.url", "http.target":
		return redact.URL(text)
	case "url.query", "url.fragment":
		return ""
	}
	if header, is := headerOf(key); is {
		if secret(header) {
			return hidden
		}
		if namesURL(header) {
			return redact.URL(text)
		}
	}
	return redact.Text(text)
}

// headerOf gives the name of the header, or of the metadata of a gRPC call, that an attribute holds.
func headerOf(key string) (name string, is bool) {
	for _, prefix := range []string{"http.request.header.", "http.response.header.",
		"rpc.request.metadata.", "rpc.response.metadata.", "rpc.grpc.request.metadata.", "rpc.grpc.response.metadata.",
		"rpc.connect_rpc.request.metadata.", "rpc.connect_rpc.response.metadata."} {
		if name, is = strings.CutPrefix(key, prefix); is {
			return strings.ReplaceAll(strings.ToLower(name), "_", "-"), true
		}
	}
	return "", false
}

// secret tells whether a header has a name that credentials have.
func secret(header string) bool {
	for _, part := range []string{"auth", "cookie", "token", "secret", "passw", "key", "session", "credential", "signature", "jwt"} {
		if strings.Contains(header, part) {
			return header != "idempotency-key" && header != "surrogate-key"
		}
	}
	return false
}

// namesURL tells whether a header is a URL, which may be a relative one.
func namesURL(header string) bool {
	switch header {
	case "referer", "location", "content-location", "x-original-url", "x-rewrite-url", "x-forwarded-uri":
		return true
	}
	return false
}
