package signals

import (
	"context"
	"slices"
	"sync"

	sdklog "go.opentelemetry.io/otel/sdk/log"
)

// Records is a log processor that keeps what it is given. The zero Records is ready. All methods may be called
// concurrently.
type Records struct {
	mu  sync.Mutex
	all []sdklog.Record
}

// OnEmit keeps a record.
func (r *Records) OnEmit(_ context.Context, record *sdklog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, record.Clone())
	return nil
}

// Enabled wants all.
func (*Records) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

// Shutdown does nothing.
func (*Records) Shutdown(context.Context) error { return nil }

// ForceFlush does nothing.
func (*Records) ForceFlush(context.Context) error { return nil }

// List gives the records so far, in the order in which they came.
func (r *Records) List() []sdklog.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}
