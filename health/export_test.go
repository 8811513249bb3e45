package health

import "net/http"

// Remembered counts the breakers that the handler's histories hold.
func Remembered(h http.Handler) (n int) {
	for _, g := range h.(*handler).groups {
		g.mu.Lock()
		n += len(g.last)
		g.mu.Unlock()
	}
	return n
}

// HandlerOn is Handler on a system that tells this of the process: CPU seconds and bytes.
func HandlerOn(tells func() (*float64, *uint64), groups ...Source) http.Handler {
	return newHandler(&usages{look: func() usage {
		cpu, memory := tells()
		return usage{cpu: cpu, memory: memory}
	}}, groups)
}
