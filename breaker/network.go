package breaker

import (
	"errors"
	"io"
	"reflect"
)

// The error types of a network that fails: whoever is on call has to tell a server that is not there from one that
// hangs up, and the Go type of all of these is that of the operation that failed.
const (
	errorTypeRefused    = "connection_refused"
	errorTypeReset      = "connection_reset"
	errorTypeAborted    = "connection_aborted"
	errorTypeBrokenPipe = "broken_pipe"
	errorTypeHost       = "host_unreachable"
	errorTypeNetwork    = "network_unreachable"
	errorTypeAddress    = "address_not_available" // our own ports are used up, as a rule
	errorTypeFiles      = "too_many_open_files"   // ours as well
	errorTypeDNS        = "dns"
	errorTypeEOF        = "unexpected_eof" // hung up without an answer, or in the midst of it
)

// networkErrorType names an error by what the network, or the system, said of it; "" where neither did.
func networkErrorType(err error) string {
	if name := errnoType(err); name != "" {
		return name
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errorTypeEOF
	}
	// By the type's name, since package net would be most of a program that has no other use for it.
	for ; err != nil; err = unwrap(err) {
		if reflect.TypeOf(err).String() == "*net.DNSError" {
			return errorTypeDNS
		}
	}
	return ""
}
