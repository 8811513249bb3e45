package breaker

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"
)

// What only a race brings about, brought about by hand.

func TestACallThatMeetsTheClosingIsNoProbe(t *testing.T) {
	b, err := New(Config{FailureThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	// It saw a place for a probe, but has the lock only now that the breaker is closed.
	token, admitted := b.admitLocked(context.Background())
	if !admitted || token.lease != nil || token.gen != 1 || token.start == 0 {
		t.Fatalf("admitted %v, with %+v", admitted, token)
	}
	p := Permit{b: b, token: token}
	p.Done(context.Background(), Failure)
	if got := b.State(); got != Open {
		t.Errorf("its failure left the breaker %v", got)
	}
	b.Reset() // stops the timer
}

func TestARejectionThatMeetsTheClosingNamesTheStateThatRefused(t *testing.T) {
	b, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	b.ForceOpen("")
	b.Reset()
	// It saw that the breaker was open, and takes the rejection only now that it is closed.
	var rejection *OpenError
	if err := b.block(context.Background()); !errors.As(err, &rejection) || rejection.State != Open {
		t.Errorf("blocked with %v", err)
	}
}

func TestACallThatMeetsTheCancelTellsNobody(t *testing.T) {
	var l contextListener
	s := newSubscription(&l)
	listening := callListenersOf([]*subscription{s})
	s.cancelled.Store(true) // after the call has seen who listens
	listening.blocked(context.Background(), new(OpenError))
	listening.transition(context.Background(), new(Event))
	if l.call != nil {
		t.Error("a cancelled subscription was still called")
	}
	s.cancelled.Store(false)
	listening.blocked(context.Background(), new(OpenError))
	if l.call == nil {
		t.Error("a subscription that is not cancelled was not called")
	}
}

func TestTwoWhoAskForANewEndpointGetOneBreaker(t *testing.T) {
	g, err := NewGroup(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if first, second := g.add("a"), g.add("a"); first != second || len(g.members) != 1 || g.turn.Load() != 1 {
		t.Errorf("%d breakers after %d turns", len(g.members), g.turn.Load())
	}
}

func TestACallToABreakerThatIsBeingDroppedGoesToTheNext(t *testing.T) {
	g, err := NewGroup(Config{})
	if err != nil {
		t.Fatal(err)
	}
	leaving := g.member("a")
	leaving.pins.Store(dropped)
	permits := make(chan *Permit)
	go func() {
		p, err := g.Acquire(context.Background(), "a")
		if err != nil {
			t.Error(err)
		}
		permits <- &p
	}()
	for leaving.pins.Load() == dropped { // until it has tried
		runtime.Gosched()
	}
	g.mu.Lock()
	g.byName.Delete("a")
	g.members = nil
	g.mu.Unlock()
	p := <-permits
	if p.b == leaving.breaker || p.b != g.Get("a") {
		t.Error("the call went through a breaker that is not the group's")
	}
	if got := g.member("a").pins.Load(); got != 1 {
		t.Errorf("%d calls keep the breaker in its place, want 1", got)
	}
	p.Done(context.Background(), Success)
	if got := g.member("a").pins.Load(); got != 0 {
		t.Errorf("%d calls keep the breaker in its place, want none", got)
	}
}

func TestTheNewestFailureIsToldInWhicheverOrderTheyCome(t *testing.T) {
	b, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	b.failedAt(instant{mono: 2e9})
	b.failedAt(instant{mono: 1e9})
	if b.lastFailure.mono != 2e9 {
		t.Errorf("the newest failure was at %d", b.lastFailure.mono)
	}
}

func TestG06_ATimeThatWasToldStaysWhateverTheWallClockDoes(t *testing.T) {
	m := moment{mono: 1e9}
	wall := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	told := m.tell(instant{wall: wall, mono: 3e9})
	if !told.Equal(wall.Add(-2 * time.Second)) {
		t.Errorf("two seconds before %v is told as %v", wall, told)
	}
	if again := m.tell(instant{wall: wall.Add(time.Hour), mono: 4e9}); !again.Equal(told) {
		t.Errorf("with the wall clock set, %v became %v", told, again)
	}
}
