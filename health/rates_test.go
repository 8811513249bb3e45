package health_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/health"
)

func TestHandler_RatesOfTheLastMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, breaker.Config{Service: "s", RecoveryTimeout: time.Hour})
		h := health.Handler(g)
		check := func(endpoint string, rps, blocked, window float64) {
			t.Helper()
			p := get(t, h).CircuitBreakers["s"][endpoint].Performance
			if p.RequestsPerSecond == nil || *p.RequestsPerSecond != rps || *p.BlockRate != blocked || *p.WindowSeconds != window {
				t.Errorf("%v requests a second, block rate %v in %v s; want %v, %v, %v",
					*p.RequestsPerSecond, *p.BlockRate, *p.WindowSeconds, rps, blocked, window)
			}
		}
		b := g.Get("a")
		check("a", 0, 0, 1)
		succeed(b, 3)
		check("a", 3, 0, 1) // never a rate over no time
		time.Sleep(8 * time.Second)
		succeed(b, 21)
		check("a", 3, 0, 8)

		// The counters are sampled every 5 s from the making on: so at 0:00, and 3 h later at 2:59:10 and so on.
		time.Sleep(3*time.Hour - 8*time.Second) // the calls of the first seconds are long past
		synctest.Wait()
		check("a", 0, 0, 60)
		time.Sleep(time.Second)
		for range 12 {
			succeed(b, 50)
			time.Sleep(5 * time.Second)
		}
		check("a", 9.821, 0, 56) // one minute and one second later; the oldest 50 calls of 600 are before the window's first sample

		fail(t.Context(), b, 5)
		fail(t.Context(), b, 15)
		time.Sleep(time.Second)
		check("a", 10, 0.026, 57) // 550 + 20 calls, 15 of them blocked

		// Of a breaker that came meanwhile it is known that the last sample, 3 s ago, did not have it.
		time.Sleep(time.Second)
		late := g.Get("b")
		succeed(late, 39)
		time.Sleep(10 * time.Second)
		check("b", 3, 0, 13)
	})
}
