package notify

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const complaintInterval = time.Minute

// complaint tells the log what was not sent, in one line a minute at most. The line is written on a goroutine of its
// own, for neither an event nor a message is to wait for the program's logger.
type complaint struct {
	logger  *slog.Logger
	channel string

	mu              sync.Mutex
	due             bool      // a timer will write the line
	next            time.Time // not before
	failed, dropped int       // since the last line
	newest          string
}

func (c *complaint) add(o outcome, n int, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o == failed {
		c.failed += n
	} else {
		c.dropped += n
	}
	if why != "" {
		c.newest = why
	}
	if !c.due {
		c.due = true
		time.AfterFunc(time.Until(c.next), c.write)
	}
}

func (c *complaint) write() {
	c.mu.Lock()
	attrs := []slog.Attr{slog.String("channel", c.channel), slog.Int("failed", c.failed), slog.Int("dropped", c.dropped)}
	if c.newest != "" {
		attrs = append(attrs, slog.String("error", c.newest))
	}
	c.failed, c.dropped, c.newest, c.due = 0, 0, "", false
	c.next = time.Now().Add(complaintInterval)
	c.mu.Unlock()
	defer func() { _ = recover() }() // a logger that panics is not to end the program
	logger := c.logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.LogAttrs(context.Background(), slog.LevelWarn, "circuit breaker notifications were not sent", attrs...)
}
