package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/cmd/demo/internal/faulty"
)

// acts are those of the scripted outage of a service, as the page lists them.
func acts(target string) []string {
	return []string{
		"All healthy",
		target + " fails, its breaker opens",
		"A probe goes out, too early",
		target + " is mended",
		"A probe succeeds, closed again",
	}
}

var (
	errTakenOver = errors.New("somebody switched a fault by hand")
	errPlaying   = errors.New("the script is playing already")
)

// script plays an outage of one dependency and tells how far it is.
type script struct {
	stage  *stage
	calm   time.Duration // of the healthy times before and after
	before func()        // called before each play, to have all healthy

	// sawOpen tells, for one who watches, whether the open breaker has been seen. If not, the outage lasts for a second
	// early probe. nil: nobody watches.
	sawOpen func() bool

	mu      sync.Mutex
	act     int // of acts, from 1; 0 before the first play
	playing context.CancelCauseFunc
	ended   string // how the last play ended
}

// stage is what the script moves and watches.
type stage struct {
	target   *client
	upstream *faulty.Server
	records  *recorder
	say      func(format string, args ...any)
}

// play plays it once and returns when the breaker has closed again and calls go through. Its waits are for what happens,
// bounded by ctx; only the healthy times are as long as they are set. It gives up when somebody takes over.
func (s *script) play(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.mu.Lock()
	if s.playing != nil {
		s.mu.Unlock()
		return errPlaying
	}
	s.playing = cancel
	s.mu.Unlock()

	err := s.perform(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.playing, s.act = nil, 0
	switch {
	case err == nil:
		s.ended = "The outage is over. Switch a fault below, or play it again."
	case errors.Is(err, errTakenOver):
		s.ended = "You have taken over: the faults are yours to switch."
	default:
		s.ended = "The script has ended before its end."
	}
	return err
}

func (s *script) perform(ctx context.Context) error {
	target, from := s.stage.target, s.stage.records.count()
	happens := func(eventType string, enough func(times int) bool) error {
		err := s.stage.records.changed.Until(ctx, func() bool {
			return enough(s.stage.records.times(from, target.name, eventType))
		})
		if err != nil {
			return fmt.Errorf("waiting for %s's %s: %w", target.name, eventType, err)
		}
		return nil
	}
	once := func(times int) bool { return times > 0 }
	healthy := func() error {
		enough := target.seen(success) + 3
		pause(ctx, s.calm)
		err := target.changed.Until(ctx, func() bool { return target.seen(success) >= enough })
		if err != nil {
			return fmt.Errorf("waiting for calls of %s to succeed: %w", target.name, err)
		}
		return nil
	}
	for i, act := range []func() error{
		func() error {
			s.before()
			s.stage.say("every dependency is healthy")
			return healthy()
		},
		func() error {
			s.stage.say("%s begins to answer 500", target.name)
			if err := s.stage.upstream.Set(ctx, faulty.Errors); err != nil {
				return err
			}
			return happens("circuit_opened", once)
		},
		func() error {
			return happens("circuit_reopened", func(times int) bool {
				return times > 1 || times > 0 && (s.sawOpen == nil || s.sawOpen())
			})
		},
		func() error {
			s.stage.say("%s is mended", target.name)
			if err := s.stage.upstream.Set(ctx, faulty.None); err != nil {
				return err
			}
			return happens("circuit_closed", once)
		},
		healthy,
	} {
		if err := context.Cause(ctx); err != nil {
			return err // taken over while an act had nothing left to wait for
		}
		s.enter(i + 1)
		if err := act(); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) enter(act int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.act = act
}

// takeOver ends the play, if there is one, leaving the faults as they are.
func (s *script) takeOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.playing != nil {
		s.playing(errTakenOver)
	}
}

// progress tells the act that is on, from 1, or 0 and how the last play ended.
func (s *script) progress() (act int, ended string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.act, s.ended
}
