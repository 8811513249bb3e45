package breaker

import (
	"testing"
	"unsafe"
)

// A breaker of 320 bytes starts on a cache line of its own, so that what calls read shares none with another's lock.
func TestABreakerFillsWholeCacheLines(t *testing.T) {
	if size := unsafe.Sizeof(Breaker{}); size != 320 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("a Breaker takes %d bytes: mend the padding", size)
	}
}
