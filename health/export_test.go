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
