package stack

import (
	"strings"
	"testing"
	"time"
)

// restartTimeout bounds the wait for the ports to be free again.
const restartTimeout = 15 * time.Second

// Kill ends the collector by SIGKILL: it passes nothing on that it holds in memory. Stop has nothing left to do then,
// unless the collector is restarted.
func (c *Collector) Kill(t testing.TB) {
	t.Helper()
	if err := c.kill(); err != nil {
		t.Fatalf("killing the collector: %v", err)
	}
	c.exit = nil // as it was meant to end
}

// Restart starts the collector again after Kill, on the same ports and with the same files, and waits until it is
// ready.
func (c *Collector) Restart(t testing.TB) {
	t.Helper()
	for begin := time.Now(); ; {
		before := len(c.Output())
		err := c.rerun(lifetime(t))
		if err != nil {
			t.Fatalf("restarting the collector: %v", err)
		}
		if err = c.waitPage(t.Context(), c.health); err == nil {
			break
		}
		// A port may be taken for a moment: what connects from this machine takes its own from the same range.
		said := c.Output()[before:]
		if !strings.Contains(said, "address already in use") || time.Since(begin) > restartTimeout {
			t.Fatalf("restarting the collector: %v\nits output:\n%s", err, said)
		}
	}
	t.Cleanup(func() { // before the end of its lifetime, which begins with each start
		if err := c.Stop(); err != nil {
			t.Errorf("stopping the collector that was restarted: %v", err)
		}
	})
}
