// Package fault stands between a program and a collector and makes trouble.
package fault

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Kind is how a [Proxy] behaves.
type Kind string

// What a proxy can do.
const (
	None      Kind = "none"       // passes everything on
	Refusing  Kind = "refusing"   // nothing listens, and what was connected is cut
	BlackHole Kind = "black hole" // accepts and never answers
	Slow      Kind = "slow"       // every answer comes after Delay
)

// Delay is what each answer takes where a proxy is slow.
const Delay = 2 * time.Second

// rebindTimeout bounds the wait for the port to be free again after it was refusing.
const rebindTimeout = 10 * time.Second

// Proxy passes TCP on to a target, or does not.
type Proxy struct {
	Addr   string // host:port, the same for its whole life
	target string

	mu       sync.Mutex
	kind     Kind
	listener net.Listener  // nil while it refuses
	cut      chan struct{} // closed to cut all connections
	changed  chan struct{} // closed at the next change of kind
	running  sync.WaitGroup
}

// NewProxy starts a proxy on a free port of loopback, which passes everything on.
func NewProxy(target string) (*Proxy, error) {
	p := &Proxy{
		Addr: "127.0.0.1:0", target: target, kind: Refusing,
		cut: make(chan struct{}), changed: make(chan struct{}),
	}
	return p, p.Set(None)
}

// Set changes how the proxy behaves. Connections through a black hole are cut when that ends, as by a machine that
// comes up again, and all are cut when it begins to refuse.
func (p *Proxy) Set(kind Kind) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kind == p.kind {
		return nil
	}
	var err error
	if kind == Refusing {
		err = p.listener.Close()
		p.listener = nil
	}
	if kind == Refusing || p.kind == BlackHole {
		close(p.cut)
		p.cut = make(chan struct{})
	}
	if p.kind == Refusing {
		err = p.listen()
	}
	p.kind = kind
	close(p.changed)
	p.changed = make(chan struct{})
	return err
}

// Close ends the proxy and waits until all of it has ended.
func (p *Proxy) Close() error {
	err := p.Set(Refusing)
	p.running.Wait()
	return err
}

// listen opens the port again. Something else may hold it for a moment: what connects from this machine takes its own
// port from the same range. The caller holds the lock.
func (p *Proxy) listen() error {
	ctx, cancel := context.WithTimeout(context.Background(), rebindTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var config net.ListenConfig
	for {
		listener, err := config.Listen(ctx, "tcp", p.Addr)
		if err == nil {
			p.listener, p.Addr = listener, listener.Addr().String()
			p.running.Go(func() { p.accept(listener) })
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("fault: %s cannot be listened on again: %w", p.Addr, err)
		}
	}
}

func (p *Proxy) accept(listener net.Listener) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return // closed
		}
		p.mu.Lock()
		cut := p.cut
		p.mu.Unlock()
		p.running.Go(func() { p.pass(near, cut) })
	}
}

// pass carries a connection until either side or the proxy ends it.
func (p *Proxy) pass(near net.Conn, cut <-chan struct{}) {
	defer near.Close()
	var dialer net.Dialer
	far, err := dialer.DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		return // the target is away; so is the proxy, to who asks
	}
	defer far.Close()
	ended := make(chan struct{}, 2)
	p.running.Go(func() { p.copy(far, near, cut, false); ended <- struct{}{} })
	p.running.Go(func() { p.copy(near, far, cut, true); ended <- struct{}{} })
	select {
	case <-ended:
	case <-cut:
	}
}

// copy carries one direction, with whatever is wrong at the moment.
func (p *Proxy) copy(to, from net.Conn, cut <-chan struct{}, answers bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !p.hold(cut, answers) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// hold keeps what was read for as long as it has to, and tells whether to pass it on at all.
func (p *Proxy) hold(cut <-chan struct{}, answers bool) bool {
	var slow <-chan time.Time
	for {
		p.mu.Lock()
		kind, changed := p.kind, p.changed
		p.mu.Unlock()
		switch {
		case kind == BlackHole:
		case kind == Slow && answers:
			if slow == nil {
				timer := time.NewTimer(Delay)
				defer timer.Stop()
				slow = timer.C
			}
		default:
			return true
		}
		select {
		case <-slow:
			return true
		case <-changed:
		case <-cut:
			return false
		}
	}
}
