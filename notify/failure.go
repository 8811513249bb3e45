package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/slack-go/slack"
)

// failure is why an attempt failed, in words of our own: those of others may hold the address or the answer.
type failure struct {
	what  string
	again bool          // it is worth trying again
	after time.Duration // not sooner than that
}

func (f *failure) Error() string { return f.what }

func statusFailure(code int, after time.Duration) *failure {
	f := &failure{what: "status " + strconv.Itoa(code)}
	if code >= http.StatusInternalServerError || code == http.StatusTooManyRequests {
		f.again, f.after = true, max(0, after)
	}
	return f
}

// slackCodes are the errors of Slack's Web API that pass; all others are for somebody to mend.
var slackCodes = map[string]bool{
	"ratelimited": true, "internal_error": true, "fatal_error": true, "service_unavailable": true, "request_timeout": true,
}

var slackCode = regexp.MustCompile(`^[a-z_]{1,64}$`)

// judge says what an attempt's error means.
func judge(err error) *failure {
	if own, ok := errors.AsType[*failure](err); ok {
		return own
	}
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		return statusFailure(http.StatusTooManyRequests, limited.RetryAfter)
	}
	if status, ok := errors.AsType[slack.StatusCodeError](err); ok {
		return statusFailure(status.Code, 0)
	}
	if refused, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		if !slackCode.MatchString(refused.Err) {
			return &failure{what: "refused by Slack"}
		}
		return &failure{what: "refused by Slack: " + refused.Err, again: slackCodes[refused.Err]}
	}
	return &failure{what: describe(err), again: true}
}

// describe names an error of the network by what it is.
func describe(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return "host not found"
	}
	timeout, ok := errors.AsType[net.Error](err)
	if errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout() {
		return "timeout"
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return fmt.Sprintf("error of type %v", reflect.TypeOf(err))
}

// retryAfter reads the header: seconds, or a date.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}
