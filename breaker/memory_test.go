package breaker

import (
	"testing"
	"unsafe"
)

// What takes 289 to 320 bytes is given 320 by Go's allocator: five whole cache lines, so that what calls read shares
// none with another breaker's lock.
func TestABreakerFillsWholeCacheLines(t *testing.T) {
	var b Breaker
	if size := unsafe.Sizeof(b); (size <= 288 || size > 320) && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("a Breaker takes %d bytes", size)
	}
	if lock := unsafe.Offsetof(b.mu); lock < 128 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("the lock is %d bytes behind the start, among what every call reads", lock)
	}
}
