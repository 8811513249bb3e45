package control_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/control"
)

func TestG17_WrongTokensAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		try := func(token, address string) int { return r.post(token, order("reset"), from(address)).Code }
		for range 10 {
			if code := try("wrong", "192.0.2.1:1"); code != 401 {
				t.Fatalf("%d, want 401", code)
			}
		}
		for _, address := range []string{"192.0.2.1:1", "192.0.2.1:2", "[::ffff:192.0.2.1]:1"} {
			if code := try("wrong", address); code != 429 {
				t.Errorf("the 11th attempt, of %s, gave %d, want 429", address, code)
			}
		}
		rec := r.post("wrong", order("reset"), from("192.0.2.1:1"))
		if got := rec.Header().Get("Retry-After"); got != "7" || rec.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("Retry-After is %q, want 7", got)
		}
		if code := try("wrong", "192.0.2.2:1"); code != 401 {
			t.Errorf("another address got %d", code)
		}
		for i := range 10 {
			try("wrong", fmt.Sprintf("[2001:db8::%d]:1", i))
		}
		if code := try("wrong", "[2001:db8::ffff]:1"); code != 429 {
			t.Errorf("another address of the same network got %d, want 429", code)
		}
		if code := try("wrong", "[2001:db8:0:1::1]:1"); code != 401 {
			t.Errorf("another network got %d", code)
		}
		time.Sleep(6 * time.Second)
		if code := try("wrong", "192.0.2.1:1"); code != 401 {
			t.Errorf("after 6 s: %d, want one more attempt", code)
		}
		if code := try("wrong", "192.0.2.1:1"); code != 429 {
			t.Errorf("and then %d, want 429", code)
		}
		if code := try("wrong", "192.0.2.1:1"); code != 429 {
			t.Errorf("and again %d, want 429", code)
		}
	})
}

// TestG17_NobodyLocksTheOperatorsOut has somebody guess from the address that they share, as behind a proxy.
func TestG17_NobodyLocksTheOperatorsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for range 100 {
			r.post("wrong", order("reset"))
			if rec := r.post(alices, order("force_open")); rec.Code != http.StatusOK {
				t.Fatalf("%d %s", rec.Code, rec.Body)
			}
		}
		if code := r.post("wrong", order("reset")).Code; code != 429 {
			t.Errorf("good tokens excuse wrong ones: %d", code)
		}
	})
}

func TestG12_OnlySoManyAddressesAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which no time goes by
		r := newRig(t)
		for range 10 {
			r.post("wrong", "", from("192.0.2.1:1"))
		}
		for i := range 3000 {
			r.post("wrong", "", from(fmt.Sprintf("10.0.%d.%d:1", i/256, i%256)))
		}
		if failures, records := control.Remembered(r.handler); failures != 1024 || records != 1024 {
			t.Errorf("%d and %d addresses are remembered, want 1024", failures, records)
		}
		if code := r.post("wrong", order("reset"), from("192.0.2.1:1")).Code; code != 429 {
			t.Errorf("the one that is farthest from its allowance was forgotten: %d", code)
		}
		time.Sleep(time.Minute)
		r.post("wrong", "", from("192.0.2.2:1"))
		if failures, records := control.Remembered(r.handler); failures != 1 || records != 1 {
			t.Errorf("%d and %d addresses are remembered long after, want the new one", failures, records)
		}
	})
}
