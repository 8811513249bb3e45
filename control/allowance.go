package control

import (
	"net/netip"
	"sync"
	"time"
)

// maxAddresses bounds the addresses of which is known that they have used something up.
const maxAddresses = 1024

// allowance lets each address have something a few times at once, and then once in an interval. It is bounded: of too
// many addresses it forgets the one that is nearest to its full allowance.
type allowance struct {
	burst    time.Duration // what can be saved
	interval time.Duration

	mu   sync.Mutex
	full map[string]time.Time // when the address has its whole allowance back; left out if it has
}

func newAllowance(burst int, interval time.Duration) *allowance {
	return &allowance{burst: time.Duration(burst) * interval, interval: interval, full: make(map[string]time.Time)}
}

// wait tells how long it is until the address may have one; 0 if it may now.
func (a *allowance) wait(address string, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waitLocked(network(address), now)
}

func (a *allowance) waitLocked(of string, now time.Time) time.Duration {
	owed := max(0, a.full[of].Sub(now))
	return max(0, owed+a.interval-a.burst)
}

// spend takes one, if there is one.
func (a *allowance) spend(address string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	of := network(address)
	if a.waitLocked(of, now) > 0 {
		return false
	}
	full, known := a.full[of]
	if !known && len(a.full) >= maxAddresses {
		a.makeRoom(now)
	}
	if full.Before(now) {
		full = now
	}
	a.full[of] = full.Add(a.interval)
	return true
}

func (a *allowance) makeRoom(now time.Time) {
	var nearest string
	for of, full := range a.full {
		if !full.After(now) {
			delete(a.full, of)
		} else if nearest == "" || full.Before(a.full[nearest]) {
			nearest = of
		}
	}
	if len(a.full) >= maxAddresses {
		delete(a.full, nearest)
	}
}

// network gives what is one client's: an address, and of version 6 the network, in which it can choose its address.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if ip = ip.Unmap(); ip.Is6() {
		return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String()
	}
	return ip.String()
}
