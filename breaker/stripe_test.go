package breaker

import (
	"runtime"
	"sync"
	"testing"
)

func TestTwoStripesACoreAndEightAtMost(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for cores, want := range map[int]int{1: 2, 2: 4, 3: 8, 4: 8, 16: 8} {
		runtime.GOMAXPROCS(cores)
		if got := len(newStripes()); got != want {
			t.Errorf("%d stripes for %d cores, want %d", got, cores, want)
		}
	}
}

func TestGoroutinesSpreadOverTheStripes(t *testing.T) {
	b := &Breaker{stripes: make([]stripe, maxStripes)}
	const goroutines = 100
	var ready, all sync.WaitGroup
	ready.Add(goroutines)
	together := make(chan struct{}) // no two at once have the same stack
	for range goroutines {
		all.Go(func() {
			ready.Done()
			<-together
			b.stripe().success.Add(1)
		})
	}
	ready.Wait()
	close(together)
	all.Wait()
	used := 0
	for i := range b.stripes {
		if b.stripes[i].success.Load() > 0 {
			used++
		}
	}
	if success, _, _ := b.striped(); used < maxStripes/2 || success != goroutines {
		t.Errorf("%d goroutines counted in %d of %d stripes", success, used, maxStripes)
	}
}
