// Package process reads what the operating system tells of this very process.
package process

import (
	"context"
	"fmt"
	"os"

	"github.com/shirou/gopsutil/v4/common"
	"github.com/shirou/gopsutil/v4/process"
)

// Self is this process. It may be used concurrently.
type Self struct{ process *process.Process }

// New fails on a system that does not tell.
func New(ctx context.Context) (*Self, error) {
	self, err := process.NewProcessWithContext(ownProc(ctx), int32(os.Getpid()))
	if err != nil {
		return nil, fmt.Errorf("the process is not to be looked at: %w", err)
	}
	return &Self{self}, nil
}

// CPU gives the seconds that the process has run since its start.
func (s *Self) CPU(ctx context.Context) (user, system float64, err error) {
	times, err := s.process.TimesWithContext(ownProc(ctx))
	if err != nil {
		return 0, 0, fmt.Errorf("the CPU time of the process: %w", err)
	}
	return times.User, times.System, nil
}

// ResidentMemory gives the bytes that the process has in memory now.
func (s *Self) ResidentMemory(ctx context.Context) (uint64, error) {
	used, err := s.process.MemoryInfoWithContext(ownProc(ctx))
	if err != nil {
		return 0, fmt.Errorf("the memory of the process: %w", err)
	}
	return used.RSS, nil
}

// ownProc keeps gopsutil from reading HOST_PROC, by which agents in a container look at the host: there the process
// has another id.
func ownProc(ctx context.Context) context.Context {
	return context.WithValue(ctx, common.EnvKey, common.EnvMap{common.HostProcEnvKey: "/proc"})
}
