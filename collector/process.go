package collector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/processconv"

	"github.com/otelbreaker/otelbreaker/internal/process"
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
	self, err := process.New(ctx)
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
		inUser, inSystem, errTimes := self.CPU(ctx)
		if errTimes == nil {
			observer.ObserveFloat64(cpu.Inst(), inUser, user)
			observer.ObserveFloat64(cpu.Inst(), inSystem, system)
		}
		resident, errUsed := self.ResidentMemory(ctx)
		if errUsed == nil {
			observer.ObserveInt64(memory.Inst(), int64(resident))
		}
		// Not as the callback's error: a periodic reader then exports nothing at all.
		if err := errors.Join(errTimes, errUsed); err != nil {
			p.errors.add(fmt.Errorf("no metrics of the process: %w", err))
		}
		return nil
	}, cpu.Inst(), memory.Inst())
	return errors.Join(err1, err2, err3)
}
