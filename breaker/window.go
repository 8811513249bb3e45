package breaker

import "time"

// tally counts the calls of a window.
type tally struct{ calls, failures, slow int }

func (t *tally) add(failed, slow bool, n int) {
	t.calls += n
	if failed {
		t.failures += n
	}
	if slow {
		t.slow += n
	}
}

// window holds what the rates look at: the last calls, or the last stretch of time. It does no locking and reads no
// clock. A nil window takes and holds nothing.
type window struct {
	sum tally

	// The last calls: a ring of marks, one a call, the oldest overwritten.
	marks []mark
	next  int

	// The last stretch of time: a ring of tallies, one for each grain (a tenth of the stretch). The newest, at index
	// last, is being filled until end; the sum of all ten reaches back nine to ten tenths.
	buckets []tally
	grain   int64
	last    int
	end     int64

	// Plain successes are not recorded one by one: the breaker's own total of them is read when the window is looked
	// at, and what it has grown by since belongs to the newest bucket. So a healthy call pays nothing for the window.
	plain uint64
}

type mark uint8

const (
	markUsed mark = 1 << iota
	markFailed
	markSlow
)

const grains = 10

func newWindow(calls int, duration time.Duration) *window {
	switch {
	case calls > 0:
		return &window{marks: make([]mark, calls)}
	case duration > 0:
		return &window{buckets: make([]tally, grains), grain: int64(duration / grains)}
	}
	return nil
}

// record adds a call that ended at now to a window of time. plain is the total of plain successes.
func (w *window) record(now int64, failed, slow bool, plain uint64) {
	w.advance(now, plain)
	w.buckets[w.last].add(failed, slow, 1)
	w.sum.add(failed, slow, 1)
}

// mark adds a call to a window of calls.
func (w *window) mark(failed, slow bool) {
	old := w.marks[w.next]
	if old != 0 {
		w.sum.add(old&markFailed != 0, old&markSlow != 0, -1)
	}
	m := markUsed
	if failed {
		m |= markFailed
	}
	if slow {
		m |= markSlow
	}
	w.marks[w.next] = m
	w.sum.add(failed, slow, 1)
	if w.next++; w.next == len(w.marks) {
		w.next = 0
	}
}

// advance takes in the plain successes and drops what has grown too old by now. A now that lies before the newest
// bucket (two goroutines read the clock in the other order) belongs to that bucket.
func (w *window) advance(now int64, plain uint64) {
	w.buckets[w.last].calls += int(plain - w.plain)
	w.sum.calls += int(plain - w.plain)
	w.plain = plain
	if now < w.end {
		return
	}
	passed := (now-w.end)/w.grain + 1
	if passed >= grains {
		clear(w.buckets)
		w.sum = tally{}
	} else {
		for range passed {
			w.last = (w.last + 1) % grains
			old := &w.buckets[w.last]
			w.sum.calls -= old.calls
			w.sum.failures -= old.failures
			w.sum.slow -= old.slow
			*old = tally{}
		}
	}
	w.end += passed * w.grain
}

// clean tells that no failure and no slow call is in the window, so that another success cannot make a rule be met.
func (w *window) clean() bool { return w == nil || w.sum.failures == 0 && w.sum.slow == 0 }

// reset forgets all calls. plain is the total of plain successes.
func (w *window) reset(plain uint64) {
	if w == nil {
		return
	}
	clear(w.marks)
	clear(w.buckets)
	w.sum, w.next, w.plain = tally{}, 0, plain
}
