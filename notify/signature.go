package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a [Webhook]'s requests.
const (
	TimestampHeader = "X-Otelbreaker-Timestamp" // when it was sent, in Unix seconds
	SignatureHeader = "X-Otelbreaker-Signature" // v1=, and in hex the HMAC-SHA256 of the timestamp, a dot and the body
	DeliveryHeader  = "X-Otelbreaker-Delivery"  // the same where a request is sent again, as the body's id
)

const (
	minSecret        = 16
	defaultTolerance = 5 * time.Minute
)

// ErrSignature is what all errors of [VerifySignature] are.
var ErrSignature = errors.New("notify: the signature is not valid")

// VerifySignature is for those who receive what a [Webhook] sends: it tells whether somebody who has the secret sent
// this body, at a time no further from now than the tolerance (5 minutes where it is 0 or less). That bounds how long
// what was overheard can be played again; to be told each event once, remember the ids of that time.
//
// The body is that of the request, unchanged; read it through [http.MaxBytesReader]. The signature header may hold
// several, by commas, of which one has to match. Comparing takes the same time whatever they are.
func VerifySignature(secret string, header http.Header, body []byte, tolerance time.Duration) error {
	if len(secret) < minSecret {
		return fmt.Errorf("%w: the secret has %d bytes: allowed are %d or more", ErrSignature, len(secret), minSecret)
	}
	timestamp := header.Get(TimestampHeader)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: %s is missing or no number", ErrSignature, TimestampHeader)
	}
	if tolerance <= 0 {
		tolerance = defaultTolerance
	}
	if age := time.Since(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return fmt.Errorf("%w: %s is more than %v from now", ErrSignature, TimestampHeader, tolerance)
	}
	want := signature([]byte(secret), timestamp, body)
	matches := false
	for one := range strings.SplitSeq(header.Get(SignatureHeader), ",") {
		matches = hmac.Equal([]byte(strings.TrimSpace(one)), []byte(want)) || matches
	}
	if !matches {
		return fmt.Errorf("%w: %s does not match", ErrSignature, SignatureHeader)
	}
	return nil
}

func signature(secret []byte, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return "v1=" + hex.EncodeToString(mac.Sum(nil))
}
