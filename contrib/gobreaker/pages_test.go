package gobreaker_test

import (
	"reflect"
	"testing"

	peer "github.com/sony/gobreaker/v2"

	"github.com/otelbreaker/otelbreaker/contrib/gobreaker"
	"github.com/otelbreaker/otelbreaker/internal/signals"
	"github.com/otelbreaker/otelbreaker/notify"
	"github.com/otelbreaker/otelbreaker/otelcb"
)

func TestTheHealthPageShowsItAndWhatIsKnownOfIt(t *testing.T) {
	cb := mustNew(t, peer.Settings{Name: signals.Service, MaxRequests: 2}, gobreaker.WithEndpoint(signals.Endpoint))
	e := signals.OnPage(t, cb, func() {
		for range 7 { // one is blocked
			_, _ = cb.Execute(bad)
		}
	})
	if e.Engine != "gobreaker" || e.State != "open" || e.FailureCount != 6 || e.BlockedCount != 1 || len(e.Last) != 1 ||
		e.Last[0].Reason != "consecutive_failures" {
		t.Errorf("the page shows %+v", e)
	}
	known := map[string]any{"failure_threshold": 6.0, "recovery_timeout": "1m0s", "success_threshold": 2.0, "max_probes": 2.0}
	if !reflect.DeepEqual(e.Configuration, known) {
		t.Errorf("the configuration is %v, want %v", e.Configuration, known)
	}
}

func TestControlRefusesIt(t *testing.T) {
	cb := mustNew(t, peer.Settings{Name: signals.Service}, gobreaker.WithEndpoint(signals.Endpoint))
	if signals.ControlRefuses(t, cb, "gobreaker"); cb.State() != peer.StateClosed {
		t.Errorf("it is %v", cb.State())
	}
}

func TestSlackIsToldOfIt(t *testing.T) {
	signals.TellsSlack(t, func(webhook string) (signals.Notifier, otelcb.Source) {
		slack, err := notify.NewSlack(webhook)
		if err != nil {
			t.Fatal(err)
		}
		cb := mustNew(t, peer.Settings{Name: signals.Service, ReadyToTrip: atOnce}, gobreaker.WithListeners(slack))
		_, _ = cb.Execute(bad)
		return slack, cb
	})
}
