package incident

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Names of the scripts.
const (
	CleanOutage             = "clean-outage"
	Flapping                = "flapping"
	SlowFailureRate         = "slow-failure-rate"
	StuckOpen               = "stuck-open"
	NotRecovering           = "not-recovering"
	SlowRecovery            = "slow-recovery"
	ForgottenDisabled       = "forgotten-disabled"
	ForgottenOpen           = "forgotten-open"
	HealthyDay              = "healthy-day"
	QuietHalfOpen           = "quiet-half-open"
	WedgedHalfOpen          = "wedged-half-open"
	Restart                 = "restart"
	QuietRestart            = "quiet-restart"
	Drill                   = "drill"
	FleetOutage             = "fleet-outage"
	BrokenReplica           = "broken-replica"
	TelemetryGone           = "telemetry-gone"
	calm                    = 6 // minutes at the beginning of each, so that all windows have seen it healthy
	noFailures        int64 = 0
	allFail           int64 = 1
)

// script is the story of one dependency. Durations of its configuration are scaled.
type script struct {
	config breaker.Config
	// patient is a client without a timeout, whose calls do not wait for each other.
	patient bool
	play    func(ctx context.Context, st *stage) error
}

// usual is the configuration of a breaker that nothing is special about.
var usual = breaker.Config{FailureThreshold: 5, RecoveryTimeout: 30 * time.Second}

var scripts = map[string]script{
	// Down for four minutes, which is longer than the one that somebody is told after.
	CleanOutage: {config: usual, play: outage(4)},

	// Four trips, each over at the first probe, three minutes apart.
	Flapping: {config: breaker.Config{FailureThreshold: 2, RecoveryTimeout: 30 * time.Second}, play: func(ctx context.Context, st *stage) error {
		err := st.wait(ctx, calm)
		for trip := 1; trip <= 4 && err == nil; trip++ {
			if trip == 3 {
				st.onset()
			}
			st.failEvery.Store(allFail)
			err = st.reaches(ctx, breaker.Open)
			st.failEvery.Store(noFailures)
			err = errors.Join(err, st.reaches(ctx, breaker.Closed), st.wait(ctx, 2.5))
		}
		return err
	}},

	// One call in five fails, for good, and never two in a row: no breaker that goes by a row notices.
	SlowFailureRate: {config: usual, play: func(ctx context.Context, st *stage) error {
		err := st.wait(ctx, calm)
		st.onset()
		st.failEvery.Store(5)
		return err
	}},

	// The delay has grown to hours, and no probe is made before it is over.
	StuckOpen: {config: breaker.Config{FailureThreshold: 5, RecoveryTimeout: 3 * time.Hour}, play: func(ctx context.Context, st *stage) error {
		err := st.trip(ctx)
		st.failEvery.Store(noFailures) // it would recover, were it asked
		return err
	}},

	// Down for good: each probe fails.
	NotRecovering: {config: usual, play: func(ctx context.Context, st *stage) error { return st.trip(ctx) }},

	// Down for seven minutes.
	SlowRecovery: {config: usual, play: outage(7)},

	// Disabled by an operator, and forgotten.
	ForgottenDisabled: {config: usual, play: func(ctx context.Context, st *stage) error {
		err := st.wait(ctx, calm)
		st.onset()
		st.breaker.Disable("looking into it")
		return err
	}},

	// Forced open by an operator, and forgotten.
	ForgottenOpen: {config: usual, play: func(ctx context.Context, st *stage) error {
		err := st.wait(ctx, calm)
		st.onset()
		st.breaker.ForceOpen("maintenance")
		return err
	}},

	// An operator opens and resets, four times, half a minute each; all calls that are made succeed.
	Drill: {config: usual, play: func(ctx context.Context, st *stage) error {
		err := st.wait(ctx, calm)
		for range 4 {
			st.breaker.ForceOpen("drill")
			err = errors.Join(err, st.wait(ctx, 0.5))
			st.breaker.Reset()
			err = errors.Join(err, st.wait(ctx, 0.75))
		}
		return err
	}},

	// One call in fifty fails, and now and then the dependency is away for a moment: a trip that is over at the first
	// probe, an hour apart from the next.
	HealthyDay: {config: usual, play: func(ctx context.Context, st *stage) error {
		err := st.wait(ctx, calm)
		for err == nil && ctx.Err() == nil {
			st.failEvery.Store(50)
			err = st.wait(ctx, 12)
			st.failEvery.Store(allFail)
			err = errors.Join(err, st.reaches(ctx, breaker.Open))
			st.failEvery.Store(noFailures)
			err = errors.Join(err, st.reaches(ctx, breaker.Closed), st.wait(ctx, 40))
		}
		return err
	}},

	// Tripped, and then nobody calls: half-open for as long as that lasts, and refusing nobody. Its three failures are too
	// few to be a rate.
	QuietHalfOpen: {config: breaker.Config{FailureThreshold: 3, RecoveryTimeout: 30 * time.Second}, play: func(ctx context.Context, st *stage) error {
		err := st.trip(ctx)
		st.quiet.Store(true)
		return errors.Join(err, st.reaches(ctx, breaker.HalfOpen))
	}},

	// Tripped, and the probe hangs: nobody has set it a deadline, and its lease is hours. The others are refused meanwhile.
	WedgedHalfOpen: {
		config:  breaker.Config{FailureThreshold: 3, RecoveryTimeout: 30 * time.Second, ProbeTimeout: 3 * time.Hour},
		patient: true,
		play: func(ctx context.Context, st *stage) error {
			err := st.trip(ctx)
			st.hang.Store(true)
			return errors.Join(err, st.reaches(ctx, breaker.HalfOpen))
		},
	},

	// A short outage, in the middle of which the process is to be restarted; then healthy.
	Restart: {config: usual, play: func(ctx context.Context, st *stage) error { return st.trip(ctx) }},

	// Healthy until that restart, after which nobody calls, and there is no breaker.
	QuietRestart: {config: usual, play: func(ctx context.Context, st *stage) error { return st.wait(ctx, calm) }},

	// The same for every process, three minutes long.
	FleetOutage: {config: usual, play: outage(3)},

	// The replica's own fault, for good: to its siblings, in whose processes this is not played, the dependency is well.
	BrokenReplica: {config: usual, play: func(ctx context.Context, st *stage) error { return st.trip(ctx) }},

	// Healthy; the process is to be killed. Not before those of the fleet have told how its outage ended.
	TelemetryGone: {config: usual, play: func(ctx context.Context, st *stage) error { return st.wait(ctx, calm+8) }},
}

// outage is one of so many minutes from the first failing call, over at the first probe after.
func outage(minutes float64) func(context.Context, *stage) error {
	return func(ctx context.Context, st *stage) error {
		err := errors.Join(st.trip(ctx), st.wait(ctx, minutes))
		st.failEvery.Store(noFailures)
		return errors.Join(err, st.reaches(ctx, breaker.Closed))
	}
}

// trip waits until all windows have seen the dependency healthy, and has it fail until the breaker opens.
func (st *stage) trip(ctx context.Context) error {
	err := st.wait(ctx, calm)
	st.failEvery.Store(allFail)
	err = errors.Join(err, st.reaches(ctx, breaker.Open))
	st.onset()
	return err
}

// onset is now: somebody should hear of it.
func (st *stage) onset() {
	st.service.mu.Lock()
	defer st.service.mu.Unlock()
	st.service.account.Onsets[st.name] = time.Now()
}

// wait lets so many minutes of the story pass.
func (st *stage) wait(ctx context.Context, minutes float64) error {
	timer := time.NewTimer(st.service.scaled(time.Duration(minutes * float64(time.Minute))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// patience bounds the wait for what has to come, whatever the scale: the machine may be slow.
const patience = 30 * time.Second

// reaches waits until the breaker has come to a state.
func (st *stage) reaches(ctx context.Context, state breaker.State) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		select {
		case e := <-st.changes:
			if e.To == state {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return fmt.Errorf("not %v within %v", state, patience)
		}
	}
}
