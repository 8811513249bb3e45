// Package grpcbreaker puts circuit breakers into gRPC clients, one for each target that they call.
//
//	guarded, err := grpcbreaker.New()
//	...
//	conn, err := grpc.NewClient(target, append(guarded.DialOptions(),
//		grpc.WithStatsHandler(otelgrpc.NewClientHandler()), ...)...)
//	...
//	_, err = payments.NewChargesClient(conn).Create(ctx, charge)
//	if open, ok := errors.AsType[*breaker.OpenError](err); ok {
//		// not sent: try again in open.RetryAfter()
//	}
//
// Metrics, log records and span events leave by the global OpenTelemetry providers, unless options name others.
//
// # A blocked call
//
// Its error is two things in one. It is a rejection: errors.Is finds [breaker.ErrOpen], errors.As a [*breaker.OpenError].
// And it is a status, for code that knows of gRPC alone: Unavailable, with a RetryInfo that says when a probe will be let
// through, where that is known, and an ErrorInfo with [Reason] and [Domain]. A server that returns it to its own
// callers so tells them what happened, and their breakers do not count it as its failure. The status names no endpoint.
//
// # What counts as what
//
// A call fails by its code: Unavailable, DeadlineExceeded, ResourceExhausted, Internal, Unknown, DataLoss, and Canceled,
// where it was not the caller who cancelled. All other codes are successes, for the server has answered. An error that
// is no status is Unknown. [WithFailureCodes] takes other codes, [WithClassify] judges otherwise.
//
// What the caller gave up is ignored: the context was cancelled, or the connection closed. A deadline that passed is a
// failure, also where the call waited for a connection (WaitForReady) all that time.
//
// What the caller's own side refuses is ignored as well, with whatever code, for it says nothing about the server, and
// neither opens nor closes a breaker: credentials of the call that fail, malformed metadata, or more of it than the server
// takes; a message that cannot be encoded, or that as it is sent, so compressed, is larger than the caller's limit; an
// answer that is larger than the caller takes; and what an interceptor beneath refuses with a status. (So interceptors
// beneath have to hand on the options they are given, or all that the server says looks as if it was never sent.) That
// there is no connection is the server's failure: refused, not trusted, lost, dropped by keepalive. So is what the server
// refuses because of its own limits, for it says ResourceExhausted. And the rejection of another breaker on the way is
// ignored (above).
//
// The pause that a failure asks for lengthens the open period, up to [breaker.Config.MaxRecoveryTimeout]: a RetryInfo
// among the status's details, or grpc-retry-pushback-ms in the trailer.
//
// In events and log records, error.type is the name of the code as in otelgrpc's rpc.response.status_code, such as
// DEADLINE_EXCEEDED, or the Go type of an error that is no status. The status's text is in no signal of a breaker. (It
// is in otelgrpc's client span.)
//
// # Streams
//
// A stream is judged at its end, once: a good one when receiving gives io.EOF or, where the server sends one message
// alone, that message; a failed one when it cannot be opened, or sending or receiving fails. One that the caller cancels
// before is ignored, also if nobody receives any more; one that is forgotten is judged when it is garbage, and is a
// success if there was an answer, headers or a message, and ignored otherwise.
//
// A probe's stream that has an answer and outlives the lease is a success shortly before the lease ends. One that the
// server leaves without an answer for all the lease is a failure, as any such probe is. A server that has nothing to say
// for long should send its headers at once. They count when the caller sees them: by Header, or with a message.
//
// Whether a stream was slow is judged by the time to open it and, but for bidirectional ones, the time that its first
// Header or receive waited; its further life is the caller's pace.
//
// # Beside otelgrpc
//
// otelgrpc's client span begins beneath interceptors. So a blocked call has no client span, nor is it in otelgrpc's
// metrics: nothing was sent. The caller's span gets the event that says so, with a link to the call that opened the
// breaker, and the events of transitions. Log records have the trace of the caller's span. A unary call that is made
// without a span around it leaves them without trace, for its client span is out of reach; a stream's is not.
//
// This order is the only one there is, whichever option comes first: stats handlers are beneath all interceptors. Who
// wants a span for each call, blocked ones included, as where there is none around it, begins one in an interceptor above.
//
// # Endpoints
//
// There is one breaker an endpoint, however many connections there are to it and however their targets are written; see
// [TargetKey]. Its service, unless the configuration names it, is the host: of dns://resolver.example/payments.example the
// latter. The targets of resolvers of one's own are the endpoint as they stand, and where such a target has an authority
// that is not the service, the configuration should name it. Breakers().Get(TargetKey(ctx, "", conn)) is a connection's
// breaker.
//
// # Retries
//
// The attempts of gRPC's own retries, by service config or transparent (as after a GOAWAY), are made beneath interceptors:
// the breaker sees one call, with its last code. gRPC for Go does no hedging, also where a service config asks for it. What retries as an interceptor, or around the call, belongs above the breaker, which
// then sees each attempt; one that hedges does, too, or attempts at the same time would share their trailer. Have it
// stop at a rejection, which another attempt would only repeat:
//
//	backoff.Retry(ctx, func() (*Reply, error) {
//		reply, err := client.Call(ctx, request)
//		if errors.Is(err, breaker.ErrOpen) {
//			return nil, backoff.Permanent(err)
//		}
//		return reply, err
//	})
package grpcbreaker
