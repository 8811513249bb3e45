package grpcbreaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// request is what was, or should have been, sent.
type request struct {
	ctx     context.Context
	cc      *grpc.ClientConn
	message any // of a unary call
	method  string
	options []grpc.CallOption
}

// givenUp tells whether the caller itself ended the call, by its context or by closing the connection.
func (r *request) givenUp() bool {
	return errors.Is(r.ctx.Err(), context.Canceled) || r.cc != nil && r.cc.GetState() == connectivity.Shutdown
}

// unsent tells whether gRPC's client refused a call before there was a stream to the server, which alone has a trailer:
// the metadata are malformed or more than the server takes, or the credentials of the call failed, which may do so with
// any code. What else fails so early is that there is no connection: that is the server's.
func (r *request) unsent(err error, trailer metadata.MD) bool {
	st, says := status.FromError(err)
	if r.cc == nil || trailer != nil || !says {
		return false // not known
	}
	switch st.Code() {
	case codes.Unavailable:
		return r.connected()
	case codes.DeadlineExceeded: // where it is not the deadline itself: the caller's, or a service config's
		return r.ctx.Err() == nil && !strings.Contains(st.Message(), context.DeadlineExceeded.Error()) && r.connected()
	default:
		return true
	}
}

// stateIsLate is how far a connection's state may lag behind.
const stateIsLate = 20 * time.Millisecond

// connected tells whether there is a connection. Calls pass, or fail for want of one, a moment before the state says so:
// an error while it says connecting means that it is about to change, and is waited for.
func (r *request) connected() bool {
	state := r.cc.GetState()
	if state == connectivity.Connecting {
		soon, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), stateIsLate)
		defer cancel()
		r.cc.WaitForStateChange(soon, state)
		state = r.cc.GetState()
	}
	return state == connectivity.Ready
}

// refused tells whether gRPC's client refused a message: one to be sent that is malformed or too large, or an answer that
// is larger than the caller takes. Users' input may end up in a message, and must not open the breaker of a server that
// never saw it. gRPC's errors do not tell these from a server's. But what a server says instead of an answer has in its
// trailer what is otherwise in the headers, and where there was an answer, what gRPC checked is checked again.
func (r *request) refused(err error, trailer metadata.MD) bool {
	st, _ := status.FromError(err)
	switch text := st.Message(); {
	case len(trailer) > 0:
	case st.Code() == codes.Internal && strings.HasPrefix(text, "grpc: error while "): // marshaling, or compressing
		_, err := r.size()
		return r.message != nil && err != nil
	case st.Code() == codes.ResourceExhausted && strings.HasPrefix(text, "trying to send"):
		var told, most int
		if _, err := fmt.Sscanf(text, "trying to send message larger than max (%d vs. %d)", &told, &most); err != nil {
			return false
		}
		size, err := r.size()
		return err == nil && size == told && size > most
	case st.Code() == codes.ResourceExhausted && strings.HasPrefix(text, "grpc: ") && strings.Contains(text, "larger than max"):
		return true // what there was of an answer
	}
	return false
}

// size gives the size in bytes that a unary call's message has when it is sent: encoded and compressed.
func (r *request) size() (int, error) {
	codec, compressor := r.encoding()
	if codec == nil {
		return 0, errors.New("grpcbreaker: no codec")
	}
	data, err := codec.Marshal(r.message)
	if err != nil {
		return 0, err
	}
	defer data.Free()
	if compressor == nil || data.Len() == 0 {
		return data.Len(), nil
	}
	var sent counter
	w, err := compressor.Compress(&sent)
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(w, data.Reader()); err != nil {
		return 0, err
	}
	return int(sent), w.Close()
}

// counter counts what is written to it.
type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// encoding gives the codec and the compressor, if any, that the options ask for. The later one holds, and a codec that is
// given goes before one that is named.
func (r *request) encoding() (codec encoding.CodecV2, compressor encoding.Compressor) {
	name := proto.Name
	for _, o := range r.options {
		switch o := o.(type) {
		case grpc.ForceCodecV2CallOption:
			codec = o.CodecV2
		case grpc.ForceCodecCallOption:
			codec = older{o.Codec}
		case grpc.ContentSubtypeCallOption:
			name = o.ContentSubtype
		case grpc.CompressorCallOption:
			compressor = encoding.GetCompressor(o.CompressorType)
		}
	}
	if codec == nil {
		codec = encoding.GetCodecV2(name)
	}
	if codec == nil {
		if first := encoding.GetCodec(name); first != nil {
			codec = older{first}
		}
	}
	return codec, compressor
}

// older is a codec of gRPC's first kind.
type older struct{ encoding.Codec }

func (c older) Marshal(v any) (mem.BufferSlice, error) {
	data, err := c.Codec.Marshal(v)
	return mem.BufferSlice{mem.SliceBuffer(data)}, err
}

func (c older) Unmarshal(data mem.BufferSlice, v any) error {
	return c.Codec.Unmarshal(data.Materialize(), v)
}
