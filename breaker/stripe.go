package breaker

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// stripe holds a share of the counts of calls that move nothing, so that cores need not pass one cache line around.
// The sum over all stripes is exact: each call is added to one of them, once.
type stripe struct {
	success, ignored, blocked atomic.Uint64
	_                         [40]byte // to the end of a cache line
}

const maxStripes = 8

func newStripes() []stripe {
	n := 2
	for n < 2*runtime.GOMAXPROCS(0) && n < maxStripes {
		n *= 2
	}
	return make([]stripe, n)
}

// stripe picks by where the goroutine's stack lies: goroutines that run at the same time have different stacks, and
// reading an address costs less than any random number.
func (b *Breaker) stripe() *stripe {
	var here byte
	at := uint64(uintptr(unsafe.Pointer(&here))) >> 11 // the smallest stack is 2 KiB
	at ^= at >> 7
	return &b.stripes[at&uint64(len(b.stripes)-1)]
}

func (b *Breaker) striped() (success, ignored, blocked uint64) {
	for i := range b.stripes {
		s := &b.stripes[i]
		success += s.success.Load()
		ignored += s.ignored.Load()
		blocked += s.blocked.Load()
	}
	return success, ignored, blocked
}
