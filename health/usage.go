package health

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/internal/process"
)

// usageAge is how old what the system tells of the process may be: a page that is asked for all the time does not ask
// the system all the time.
const usageAge = time.Second

// usage is what the process has used, as of a moment. What the system does not tell is nil.
type usage struct {
	at     time.Time
	cpu    *float64 // seconds since its start
	memory *uint64  // bytes that are resident
}

// usages reads it and keeps the newest.
type usages struct {
	look func() usage

	mu     sync.Mutex
	newest usage
}

func newUsages() *usages {
	ctx := context.Background()
	self, err := process.New(ctx)
	if err != nil {
		slog.Default().Warn("health: the page has no figures of the process", "error", err.Error())
		return &usages{look: func() usage { return usage{} }}
	}
	return &usages{look: func() (u usage) {
		if user, system, err := self.CPU(ctx); err == nil {
			u.cpu = new(user + system)
		}
		if resident, err := self.ResidentMemory(ctx); err == nil {
			u.memory = &resident
		}
		return u
	}}
}

// now gives what is at most usageAge old.
func (u *usages) now() usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now := time.Now(); u.newest.at.IsZero() || now.Sub(u.newest.at) >= usageAge {
		u.newest = u.look()
		u.newest.at = now
	}
	return u.newest
}

// cores is the CPU time a second since an earlier moment; nil where it is not known, or would be a guess.
func (u usage) cores(since usage) *float64 {
	elapsed := u.at.Sub(since.at)
	if u.cpu == nil || since.cpu == nil || elapsed < leastWindow {
		return nil
	}
	return new(rounded(max(0, *u.cpu-*since.cpu) / elapsed.Seconds()))
}
