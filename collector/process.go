package collector

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shirou/gopsutil/v4/common"
	"github.com/shirou/gopsutil/v4/process"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/processconv"
)

// runtimeInterval is how old the runtime's numbers may be. By contrib's own 15 s a scrape of every 15 s would now and
// then see the numbers of the one before.
const runtimeInterval = time.Second

// observeProcess registers the metrics of the Go runtime and of the process, so that the price of what else happens
// can be seen.
//
// Contrib's package host would give the CPU time, too, but not the resident memory, and with it everything about the
// whole machine.
func (p *Pipeline) observeProcess(ctx context.Context) error {
	err := runtime.Start(runtime.WithMeterProvider(p.meters), runtime.WithMinimumReadMemStatsInterval(runtimeInterval))
	if err != nil {
		return fmt.Errorf("collector: runtime metrics: %w", err)
	}
	self, err := process.NewProcessWithContext(ownProc(ctx), int32(os.Getpid()))
	if err != nil { // a system that does not tell
		p.errors.add(fmt.Errorf("no metrics of the process: %w", err))
		return nil
	}
	meter := p.meters.Meter(scopeName)
	cpu, err1 := processconv.NewCPUTime(meter)
	memory, err2 := processconv.NewMemoryUsageObservable(meter)
	user := metric.WithAttributeSet(attribute.NewSet(cpu.AttrCPUMode(processconv.CPUModeUser)))
	system := metric.WithAttributeSet(attribute.NewSet(cpu.AttrCPUMode(processconv.CPUModeSystem)))
	_, err3 := meter.RegisterCallback(func(ctx context.Context, observer metric.Observer) error {
		times, errTimes := self.TimesWithContext(ownProc(ctx))
		if errTimes == nil {
			observer.ObserveFloat64(cpu.Inst(), times.User, user)
			observer.ObserveFloat64(cpu.Inst(), times.System, system)
		}
		used, errUsed := self.MemoryInfoWithContext(ownProc(ctx))
		if errUsed == nil {
			observer.ObserveInt64(memory.Inst(), int64(used.RSS))
		}
		// Not as the callback's error: a periodic reader then exports nothing at all.
		if err := errors.Join(errTimes, errUsed); err != nil {
			p.errors.add(fmt.Errorf("no metrics of the process: %w", err))
		}
		return nil
	}, cpu.Inst(), memory.Inst())
	return errors.Join(err1, err2, err3)
}

// ownProc keeps gopsutil from reading HOST_PROC, by which agents in a container look at the host: there the process
// has another id.
func ownProc(ctx context.Context) context.Context {
	return context.WithValue(ctx, common.EnvKey, common.EnvMap{common.HostProcEnvKey: "/proc"})
}
