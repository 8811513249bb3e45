// Package transport puts circuit breakers under an [http.Client], one for each scheme, host and port that it calls.
//
//	guarded, err := transport.New(otelhttp.NewTransport(http.DefaultTransport))
//	...
//	client := &http.Client{Transport: guarded, Timeout: 5 * time.Second}
//	res, err := client.Get("https://payments.example/v1/charges")
//	if open, ok := errors.AsType[*breaker.OpenError](err); ok {
//		// not sent: try again in open.RetryAfter(), where that is known
//	}
//
// Metrics, log records and span events leave by the global OpenTelemetry providers, unless options name others.
//
// # Over otelhttp or under it
//
// Over it, as above, a blocked call makes no client span and is not in http.client.request.duration: nothing was sent.
// The caller's span gets the event that says so, with a link to the call that opened the breaker. Take this where there
// is a caller's span, as in a server whose handler otelhttp wraps, and where the client's metrics shall tell of the
// dependency alone, which is most often. Rejections then neither lower its latency nor raise its error rate.
//
//	guarded, err := transport.New(http.DefaultTransport)
//	...
//	client := &http.Client{Transport: otelhttp.NewTransport(guarded)}
//
// Under it, as here, a blocked call is a failed client span with error.type circuit_open, counts in
// http.client.request.duration (there otelhttp names the Go type, github.com/otelbreaker/otelbreaker/breaker.OpenError),
// and the events are on the client span. Take this where calls are made without a span
// around them, as by a job, where a trace shall show every call that the program wanted to make, or where spans go to
// exporters that do not redact URLs (below).
//
// The verdict is the same in both, also with a tracer that samples nothing.
//
// # What counts as what
//
// Errors, 5xx and 429 are failures, all else is a success; [WithClassify] judges otherwise. A bad status is judged when
// the headers are in, a good one when the body has ended: at its end, when it is closed, or when it breaks off, which is
// a failure and nothing but a failure. So bodies have to be closed, as ever; one that is forgotten is judged when it is
// garbage. An upgrade (101) is judged at its headers. A probe whose stream outlives the lease is a success shortly before
// the lease ends. Whether a call was slow is judged by the time to the headers.
//
// A call that never ends never fails, and the transport sets no limit to it: give calls a timeout, by http.Client's Timeout
// or a deadline of their context. A deadline that passed is a failure, be it the context's or http.Client's Timeout. What
// the caller cancelled is ignored, also while it reads or where it closes a body that it has cancelled. A request that could
// not be sent because its method, URL or headers are malformed, or its body is not as long as it says, is ignored too: that
// tells nothing about the server. So is the rejection of another breaker on the way (see [DefaultClassify]). A request
// without a proper scheme and host goes past the breakers. A redirect that http.Client follows is a call of its own, of the
// endpoint that it leads to.
//
// The pause that a failing 429 or 503 asks for (Retry-After) lengthens the open period, up to
// [breaker.Config.MaxRecoveryTimeout].
//
// # Instead of the error
//
// [WithFallback] has a function answer blocked calls: from a cache, by another server, or by [Unavailable], which makes a
// 503 with a Retry-After for those who proxy. That one is marked, and the breaker of a client further down ignores it. The
// mark goes through proxies, and is taken at its word: see [DefaultClassify].
// Under otelhttp such an answer looks like one of the server, but for the event on its span.
//
// # Retries
//
// Put what retries over the breaker, so that each attempt is judged, and have it stop at a rejection, which another
// attempt would only repeat:
//
//	retrying := retryablehttp.NewClient()
//	retrying.HTTPClient = &http.Client{Transport: guarded}
//	retrying.CheckRetry = func(ctx context.Context, res *http.Response, err error) (bool, error) {
//		if errors.Is(err, breaker.ErrOpen) {
//			return false, err
//		}
//		return retryablehttp.DefaultRetryPolicy(ctx, res, err)
//	}
//
// Breakers over the retries would judge a call by its last attempt, and see neither those that failed before nor the
// pauses.
//
// # Secrets
//
// Of a URL, user info, query and fragment may be secrets. No key, label, record or event of the breakers has them. Yet
// otelhttp writes the query on the client span's url.full, and the transport takes it off again; [WithFullURL] leaves it.
// Under otelhttp that covers every call whose URL nothing between the two has changed. Over otelhttp it covers those that
// had a response: the span of one that failed has ended before anything outside can reach it. The exporters of package
// collector cut URLs too, in all that spans and log records say. Where spans leave by others, put [RedactURL] right
// beneath otelhttp.
//
// The error that http.Client returns has the URL in its text, of which it leaves out no more than the password, whatever
// the transport does: [RedactError] cuts it before it is logged.
package transport
