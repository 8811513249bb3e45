package health_test

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/health"
)

// TestHandler_TheProcess asks the real system, in real time.
func TestHandler_TheProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what other systems tell is theirs")
	}
	t.Setenv("HOST_PROC", t.TempDir()) // as for an agent that looks at the host: it must not mislead
	h := health.Handler(newBreaker(t, breaker.Config{Service: "s", Endpoint: "e"}))
	ballast := make([]byte, 64<<20)
	for i := range ballast {
		ballast[i] = byte(i)
	}
	for until := time.Now().Add(1500 * time.Millisecond); time.Now().Before(until); { // makes a core busy
	}
	p := get(t, h)
	for _, p := range []performance{p.Performance, p.CircuitBreakers["s"]["e"].Performance} {
		if p.ProcessCPU == nil || *p.ProcessCPU < 0.1 || *p.ProcessCPU > float64(runtime.NumCPU())+1 {
			t.Errorf("the process takes %v cores", p.ProcessCPU)
		}
		if p.ResidentMemory == nil || *p.ResidentMemory < 64<<20 || *p.ResidentMemory > 1<<40 {
			t.Errorf("the process takes %v bytes", p.ResidentMemory)
		}
	}
	runtime.KeepAlive(ballast)
}

// The system of these tests is made up: none tells what is expected at a time of one's own.

func TestHandler_CPUOverTheLastMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cpu, looks atomic.Uint64
		cpu.Store(100)
		h := health.HandlerOn(func() (*float64, *uint64) {
			return new(float64(cpu.Load())), new(looks.Add(1))
		}, newBreaker(t, breaker.Config{}))
		if p := get(t, h).Performance; p.ProcessCPU != nil || *p.ResidentMemory != 1 {
			t.Errorf("at once: %v cores, want none; %v bytes", p.ProcessCPU, *p.ResidentMemory)
		}
		time.Sleep(2 * time.Second)
		cpu.Add(3)
		for range 100 {
			if p := get(t, h).Performance; *p.ProcessCPU != 1.5 {
				t.Fatalf("%v cores, want 1.5", *p.ProcessCPU)
			}
		}
		if n := looks.Load(); n != 2 {
			t.Errorf("the system was asked %d times, want no more than once a second", n)
		}
		time.Sleep(10 * time.Minute)
		if p := get(t, h).Performance; *p.ProcessCPU != 0 {
			t.Errorf("%v cores, long after", *p.ProcessCPU)
		}
		cpu.Add(30)
		time.Sleep(2 * time.Second)
		if p := get(t, h).Performance; *p.ProcessCPU < 0.5 || *p.ProcessCPU > 0.55 {
			t.Errorf("%v cores over a minute, want about 0.5", *p.ProcessCPU)
		}
	})
}

func TestHandler_WhatTheSystemDoesNotTellIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := health.HandlerOn(func() (*float64, *uint64) { return nil, nil }, newBreaker(t, breaker.Config{}))
		time.Sleep(time.Minute)
		body := ask(h, "", "").Body.String()
		if strings.Contains(body, "cpu") || strings.Contains(body, "memory") {
			t.Errorf("it is there: %s", body)
		}
		if page := ask(h, "", "text/html").Body.String(); strings.Contains(page, "CPU") || strings.Contains(page, "MB") {
			t.Errorf("it is there: %s", page)
		}
	})
}
