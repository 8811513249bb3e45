package main

import (
	"fmt"
	"testing"
	"time"
)

func TestPast(t *testing.T) {
	begin := time.UnixMilli(1_700_000_000_000)
	var p past
	p.begin("a", "closed", begin)
	note := func(after time.Duration, state string) {
		p.note(record{Service: "a", NewState: state, Time: begin.Add(after)})
	}
	if got, seen := p.after("a", 0); fmt.Sprint(got) != "[{1700000000000 closed}]" || seen != 1 {
		t.Errorf("at first: %v, %d", got, seen)
	}
	note(time.Second, "open")
	note(2*time.Second, "open") // forced, say
	if got, seen := p.after("a", 1); fmt.Sprint(got) != "[{1700000001000 open}]" || seen != 2 {
		t.Errorf("what is new: %v, %d", got, seen)
	}
	if got, seen := p.after("a", 2); len(got) != 0 || seen != 2 {
		t.Errorf("nothing is new: %v, %d", got, seen)
	}
	// Of what is older than ten minutes, the state that reaches into them stays.
	note(11*time.Minute, "closed")
	if got, seen := p.after("a", 0); fmt.Sprint(got) != "[{1700000001000 open} {1700000660000 closed}]" || seen != 3 {
		t.Errorf("ten minutes later: %v, %d", got, seen)
	}
	for i := range 3 * maxSpans {
		note(11*time.Minute+time.Duration(i+1)*time.Millisecond, []string{"open", "closed"}[i%2])
	}
	if got, seen := p.after("a", 0); len(got) != maxSpans || seen != 3+3*maxSpans {
		t.Errorf("it keeps %d of %d", len(got), seen)
	}
	if got, seen := p.after("a", 5); len(got) != maxSpans || seen != 3+3*maxSpans {
		t.Errorf("one who has missed some is told %d of %d", len(got), seen)
	}
	p.note(record{Service: "b", NewState: "open", Time: begin})
	if got, seen := p.after("b", 0); got != nil || seen != 0 {
		t.Errorf("of an unknown service: %v, %d", got, seen)
	}
}
