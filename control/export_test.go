package control

import "net/http"

// Remembered counts the addresses that a handler remembers.
func Remembered(h http.Handler) (failures, records int) {
	return len(h.(*handler).failures.full), len(h.(*handler).records.full)
}

// Temporary counts the overrides that will end by themselves.
func Temporary(h http.Handler) int {
	h.(*handler).mu.Lock()
	defer h.(*handler).mu.Unlock()
	return len(h.(*handler).temporary)
}
