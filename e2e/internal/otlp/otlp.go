// Package otlp receives OTLP, by gRPC and by HTTP, in a test.
package otlp

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
)

// Receiver passes on what it receives. Each function tells how many records, spans or data points of it are rejected,
// which the sender is then told, or an error, on which the request as a whole fails. A signal without a function is
// taken and thrown away.
type Receiver struct {
	Logs    func(context.Context, plog.Logs) (rejected int64, err error)
	Traces  func(context.Context, ptrace.Traces) (rejected int64, err error)
	Metrics func(context.Context, pmetric.Metrics) (rejected int64, err error)
}

// reason is what a sender is told of what was rejected.
const reason = "rejected by the test"

func (r *Receiver) logs(ctx context.Context, req plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	res := plogotlp.NewExportResponse()
	if r.Logs == nil {
		return res, nil
	}
	n, err := r.Logs(ctx, req.Logs())
	if n > 0 {
		res.PartialSuccess().SetRejectedLogRecords(n)
		res.PartialSuccess().SetErrorMessage(reason)
	}
	return res, err
}

func (r *Receiver) traces(ctx context.Context, req ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	res := ptraceotlp.NewExportResponse()
	if r.Traces == nil {
		return res, nil
	}
	n, err := r.Traces(ctx, req.Traces())
	if n > 0 {
		res.PartialSuccess().SetRejectedSpans(n)
		res.PartialSuccess().SetErrorMessage(reason)
	}
	return res, err
}

func (r *Receiver) metrics(ctx context.Context, req pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	res := pmetricotlp.NewExportResponse()
	if r.Metrics == nil {
		return res, nil
	}
	n, err := r.Metrics(ctx, req.Metrics())
	if n > 0 {
		res.PartialSuccess().SetRejectedDataPoints(n)
		res.PartialSuccess().SetErrorMessage(reason)
	}
	return res, err
}

// Register makes s receive.
func (r *Receiver) Register(s *grpc.Server) {
	plogotlp.RegisterGRPCServer(s, &logsServer{Receiver: r})
	ptraceotlp.RegisterGRPCServer(s, &tracesServer{Receiver: r})
	pmetricotlp.RegisterGRPCServer(s, &metricsServer{Receiver: r})
}

type logsServer struct {
	plogotlp.UnimplementedGRPCServer
	*Receiver
}

func (s *logsServer) Export(ctx context.Context, req plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	return s.logs(ctx, req)
}

type tracesServer struct {
	ptraceotlp.UnimplementedGRPCServer
	*Receiver
}

func (s *tracesServer) Export(ctx context.Context, req ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	return s.traces(ctx, req)
}

type metricsServer struct {
	pmetricotlp.UnimplementedGRPCServer
	*Receiver
}

func (s *metricsServer) Export(ctx context.Context, req pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	return s.metrics(ctx, req)
}

// ServeHTTP makes r an endpoint for OTLP by HTTP, in protobuf.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch req.URL.Path {
	case "/v1/logs":
		in := plogotlp.NewExportRequest()
		serve(w, req, in.UnmarshalProto, func() (message, error) { return r.logs(req.Context(), in) })
	case "/v1/traces":
		in := ptraceotlp.NewExportRequest()
		serve(w, req, in.UnmarshalProto, func() (message, error) { return r.traces(req.Context(), in) })
	case "/v1/metrics":
		in := pmetricotlp.NewExportRequest()
		serve(w, req, in.UnmarshalProto, func() (message, error) { return r.metrics(req.Context(), in) })
	default:
		http.NotFound(w, req)
	}
}

type message interface{ MarshalProto() ([]byte, error) }

func serve(w http.ResponseWriter, req *http.Request, unmarshal func([]byte) error, export func() (message, error)) {
	body, err := read(req)
	if err == nil {
		err = unmarshal(body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	res, err := export()
	if err == nil {
		body, err = res.MarshalProto()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable) // so that the sender tries again, as gRPC's Unavailable
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(body) // a sender that has gone away will notice
}

func read(req *http.Request) ([]byte, error) {
	if req.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(req.Body)
	}
	unzipped, err := gzip.NewReader(req.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(unzipped)
}
