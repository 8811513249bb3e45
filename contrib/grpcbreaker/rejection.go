package grpcbreaker

import (
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Reason and Domain are in the ErrorInfo of a blocked call's status, by which it is known from a server's own
// Unavailable, also where a server has passed it on.
const (
	Reason = "CIRCUIT_OPEN"
	Domain = "otelbreaker"
)

// rejection is the error of a blocked call. A value of it is as large as its pointer, and so costs no allocation.
type rejection struct{ open *breaker.OpenError }

// rejected gives the error of a call that was not admitted.
func rejected(err error) error {
	if open, blocked := errors.AsType[*breaker.OpenError](err); blocked {
		return rejection{open}
	}
	return err
}

func (r rejection) Error() string { return r.open.Error() }

func (r rejection) Unwrap() error { return r.open }

// GRPCStatus is what package status makes of the error. Who serves gRPC may pass it on to strangers, so it does not
// name the endpoint.
func (r rejection) GRPCStatus() *status.Status {
	bare := status.New(codes.Unavailable, breaker.ErrOpen.Error())
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: Reason, Domain: Domain}}
	if after := r.open.RetryAfter(); after > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	}
	full, err := bare.WithDetails(details...)
	if err != nil {
		return bare
	}
	return full
}

// isRejection tells whether an error is the rejection of a breaker: one in this process, or one on the way, whose
// status was passed on.
func isRejection(err error) bool {
	if errors.Is(err, breaker.ErrOpen) {
		return true
	}
	st, _ := status.FromError(err)
	if st.Code() != codes.Unavailable {
		return false
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetReason() == Reason && info.GetDomain() == Domain {
			return true
		}
	}
	return false
}
