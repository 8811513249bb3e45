package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestRecorder(t *testing.T) {
	var log strings.Builder
	var told []string
	r := newRecorder(&log, 2)
	r.told = func(rec record) { told = append(told, rec.EventType) }
	lines := ""
	for i, line := range []string{
		`{"component":"circuit_breaker","service":"a","event_type":"one","error.type":"500"}`,
		`{"component":"another","service":"a","event_type":"foreign"}`,
		`no JSON`,
		`{"component":"circuit_breaker","service":"b","event_type":"two","observed":"no number"}`,
		`{"component":"circuit_breaker","service":"a","event_type":"three","blocked_count":4}`,
		`{"component":"circuit_breaker","service":"b","event_type":"four"}`,
	} {
		if n, err := fmt.Fprintln(r, line); err != nil || n != len(line)+1 {
			t.Errorf("line %d: %d, %v", i, n, err)
		}
		lines += line + "\n"
	}
	if log.String() != lines {
		t.Errorf("passed on is %q", &log)
	}
	if got := fmt.Sprint(told); got != "[one three four]" {
		t.Errorf("told of %s", got)
	}
	kept := r.after(0)
	if len(kept) != 2 || kept[0].EventType != "three" || kept[0].seq != 2 || *kept[0].BlockedCount != 4 || r.count() != 3 {
		t.Errorf("it keeps %+v of %d", kept, r.count())
	}
	if got := r.after(2); len(got) != 1 || got[0].EventType != "four" {
		t.Errorf("behind the second: %+v", got)
	}
	if got, found := r.newestOf("a"); !found || got.EventType != "three" {
		t.Errorf("the newest of a: %+v", got)
	}
	if _, found := r.newestOf("c"); found {
		t.Error("there is a newest of c")
	}
	if r.times(1, "a", "three") != 1 || r.times(2, "a", "three") != 0 || r.times(0, "b", "three") != 0 {
		t.Error("times looks at the wrong records")
	}
}

func TestRecord_Why(t *testing.T) {
	for want, r := range map[string]record{
		"5 consecutive failures, threshold 5 (500)": {Reason: "consecutive_failures", Observed: 5, Threshold: 5, ErrorType: "500"},
		"62 % of calls failed, threshold 50 %":      {Reason: "failure_rate", Observed: 0.62, Threshold: 0.5},
		"90 % of calls were slow, threshold 80 %":   {Reason: "slow_call_rate", Observed: 0.9, Threshold: 0.8},
		"the probe failed (timeout)":                {Reason: "probe_failed", Observed: 1, Threshold: 1, ErrorType: "timeout"},
		"the probe did not end in time (timeout)":   {Reason: "probe_timeout", Observed: 1, Threshold: 1, ErrorType: "timeout"},
		"the probe succeeded":                       {Reason: "probes_succeeded", Observed: 1, Threshold: 1},
		"3 probes succeeded":                        {Reason: "probes_succeeded", Observed: 3, Threshold: 3},
		"open for 3.0 s, time for a probe":          {Reason: "delay_elapsed", Observed: 3.0004, Threshold: 3},
		"forced":                                    {Reason: "forced"},
	} {
		if got := r.why(); got != want {
			t.Errorf("%+v is %q, want %q", r, got, want)
		}
	}
}
