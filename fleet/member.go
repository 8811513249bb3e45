package fleet

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Source is what can join a fleet: a [*breaker.Breaker], a [*breaker.Group], or a [*breaker.Set] of these.
type Source = breaker.Source

// Member is this process's part in a fleet, made by [Join].
//
// Whatever happens, be it a transition, a change in the store or the passing of time, is put into one mailbox and worked
// off by one goroutine, which alone touches what is below "of the loop" and waits for nobody. What has to wait for the
// engine is done by a few others, whose number does not depend on that of the breakers.
type Member struct {
	config    config
	source    Source
	engine    Engine
	telemetry *telemetry
	listener  func() // ends the subscription

	ctx   context.Context
	end   context.CancelFunc
	loops sync.WaitGroup // the loop
	going sync.WaitGroup // those who wait for the engine
	mail  mailbox
	work  workers

	// Of the loop.
	guarded  map[string]*guarded // by breakerID
	known    map[*breaker.Breaker]*guarded
	siblings map[string]*sibling          // by replica
	votes    map[string]map[string]string // by breakerID and replica: the votes of siblings
	turns    map[string]*standing         // by breakerID
	link     link
}

// Join has the breakers of src, those to come included, take part in the fleet. It begins at once, in the background:
// Join does not wait for the engine, which may well be away. All that is wrong with the arguments is reported at once,
// each fault naming what it is and what is allowed; nothing has begun then. A breaker is in one fleet at most, and has no
// other [breaker.Gate]. The engine stays the caller's, who closes it after [Member.Close].
func Join(src Source, engine Engine, opts ...Option) (*Member, error) {
	c, err := configured(opts)
	if isNil(src) {
		err = errors.Join(err, fmt.Errorf("fleet: the source is nil (%T): pass a breaker or a group", src))
	}
	if isNil(engine) {
		err = errors.Join(err, fmt.Errorf("fleet: the engine is nil (%T): pass that of fleet/nats, fleet/redis or the like", engine))
	}
	if err != nil {
		return nil, err
	}
	m := &Member{config: c, source: src, engine: engine,
		guarded: map[string]*guarded{}, known: map[*breaker.Breaker]*guarded{}, siblings: map[string]*sibling{},
		votes: map[string]map[string]string{}, turns: map[string]*standing{}}
	m.ctx, m.end = context.WithCancel(context.Background())
	m.mail.init()
	m.work.init()
	m.link.init(time.Now())
	if m.telemetry, err = newTelemetry(c); err != nil {
		return nil, err
	}
	m.listener = src.Subscribe(listener{m})
	for b := range src.All() {
		if err := m.attach(b); err != nil {
			m.detach()
			return nil, err
		}
	}
	m.loops.Go(m.loop)
	m.going.Go(m.watch)
	for range workerCount {
		m.going.Go(m.works)
	}
	return m, nil
}

// idle waits until nobody waits for the engine any more, which is soon, for operations end with their context.
func (m *Member) idle(ctx context.Context) error {
	idle := make(chan struct{})
	go func() {
		m.going.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("fleet: the engine does not end what it is at: %w", context.Cause(ctx))
	}
}

func isNil(given any) bool {
	v := reflect.ValueOf(given)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// Close leaves the fleet: this replica's votes and lease are withdrawn, as far as the engine takes it until ctx ends, and
// the breakers go on by themselves. What goes wrong is returned; all has ended then, too, but for what an engine does that
// does not honour its context. A second Close does nothing. A nil ctx is an error, and closes nothing.
func (m *Member) Close(ctx context.Context) error {
	if ctx == nil {
		return errors.New("fleet: the context of Close is nil: allowed is one that ends, or context.Background()")
	}
	var err error
	m.mail.close(func() {
		m.end()
		m.work.close()
		m.loops.Wait()
		turns := m.held()
		m.detach()
		if err = m.idle(ctx); err == nil {
			err = m.withdraw(ctx, turns)
		}
	})
	return err
}

// Connected tells whether this replica shares with its fleet now, or its breakers carry on alone.
func (m *Member) Connected() bool { return m.telemetry.isWhole.Load() }

// Replicas is the number of live replicas that this one knows of, itself included; 1 while it is not connected.
func (m *Member) Replicas() int { return int(m.telemetry.replicas.Load()) }

// detach leaves the breakers to themselves.
func (m *Member) detach() {
	m.listener()
	for _, g := range m.guarded {
		m.forget(g)
	}
	m.telemetry.end()
}

// held gives the turns that are this replica's, or may be: of one that was asked for, the answer may be under way.
func (m *Member) held() map[string][]byte {
	turns := map[string][]byte{}
	for id, g := range m.guarded {
		if g.turn != nil {
			turns[id] = g.turn
		} else if g.asked != nil {
			turns[id] = g.asked
		}
	}
	return turns
}

// withdraw takes away what this replica has written. The loop has ended.
func (m *Member) withdraw(ctx context.Context, turns map[string][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, m.config.timeout)
	defer cancel()
	var errs []error
	remove := func(key string, value []byte) {
		if value != nil {
			errs = append(errs, m.engine.CompareAndDelete(ctx, key, value))
		}
	}
	for id, turn := range turns {
		remove(m.config.breakerKey(id), turn)
	}
	remove(m.config.replicaKey(), m.link.value)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("fleet: withdrawing: %w", err)
	}
	return nil
}

func (m *Member) loop() {
	ticker := time.NewTicker(min(time.Second, m.config.heartbeat/2, m.config.lease/4))
	defer ticker.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.mail.news:
			for _, f := range m.mail.take() {
				f(time.Now())
			}
		case <-ticker.C:
			m.tick(time.Now())
		}
	}
}

// tick does what time brings about.
func (m *Member) tick(now time.Time) {
	m.rescan()
	m.link.check(m, now)
	m.expire(now)
	for _, g := range m.guarded {
		m.mind(g, now)
	}
}

// post has the loop call f. It never waits. After Close it does nothing, and tells so.
func (m *Member) post(f func(now time.Time)) (posted bool) { return m.mail.put(f) }

// later is post after some time.
func (m *Member) later(d time.Duration, f func(now time.Time)) *time.Timer {
	return time.AfterFunc(d, func() { m.post(f) })
}

// mailbox holds what the loop has to do.
type mailbox struct {
	news chan struct{} // holds one where there is something

	mu     sync.Mutex
	queue  []func(time.Time)
	closed bool
}

func (m *mailbox) init() { m.news = make(chan struct{}, 1) }

func (m *mailbox) put(f func(time.Time)) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.queue = append(m.queue, f)
	select {
	case m.news <- struct{}{}:
	default:
	}
	return true
}

func (m *mailbox) take() []func(time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	queue := m.queue
	m.queue = nil
	return queue
}

// close calls f, once, when nothing is taken in any more.
func (m *mailbox) close(f func()) {
	m.mu.Lock()
	was := m.closed
	m.closed, m.queue = true, nil
	m.mu.Unlock()
	if !was {
		f()
	}
}
