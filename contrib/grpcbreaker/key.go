package grpcbreaker

import (
	"context"
	"strings"

	"google.golang.org/grpc"
)

// TargetKey has one breaker for each target, as the connection writes it in full: dns:///payments.example:443. It is the
// default of [WithKey].
func TargetKey(_ context.Context, _ string, cc *grpc.ClientConn) string {
	if cc == nil {
		return ""
	}
	return cc.CanonicalTarget()
}

// ServiceKey is for [WithKey] and has one breaker for each service of a target, as behind a gateway:
// dns:///gateway.example:443/payments.v1.Charges.
func ServiceKey(_ context.Context, method string, cc *grpc.ClientConn) string {
	if cc == nil {
		return ""
	}
	return cc.CanonicalTarget() + method[:max(0, strings.LastIndexByte(method, '/'))]
}

// MethodKey is for [WithKey] and has one breaker for each method of a target:
// dns:///gateway.example:443/payments.v1.Charges/Create. Mind that they share the bound of [WithMaxEndpoints].
func MethodKey(_ context.Context, method string, cc *grpc.ClientConn) string {
	if cc == nil {
		return ""
	}
	return cc.CanonicalTarget() + method
}
