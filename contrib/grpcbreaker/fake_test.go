package grpcbreaker_test

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// fake is a stream that does as it is told.
type fake struct {
	header func() (metadata.MD, error)
	send   func() error
	recv   func() error
}

var _ grpc.ClientStream = (*fake)(nil)

func (f *fake) Header() (metadata.MD, error) { return f.header() }
func (f *fake) Trailer() metadata.MD         { return nil }
func (f *fake) CloseSend() error             { return nil }
func (f *fake) Context() context.Context     { return context.Background() }
func (f *fake) SendMsg(any) error            { return f.send() }
func (f *fake) RecvMsg(any) error            { return f.recv() }
