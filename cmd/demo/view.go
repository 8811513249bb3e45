package main

import (
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/cmd/demo/internal/faulty"
)

// update is what the page is told several times a second. Times are milliseconds since 1970.
type update struct {
	Run      string    `json:"run"`
	Now      int64     `json:"now"`
	Act      int       `json:"act"` // 0: the script is not playing
	Ended    string    `json:"ended"`
	Circuits []circuit `json:"circuits"`
	Records  []shown   `json:"records"` // new ones, oldest first; to begin with, all
}

// circuit is one dependency and its breaker.
type circuit struct {
	Service   string       `json:"service"`
	Endpoint  string       `json:"endpoint"`
	State     string       `json:"state"`
	Since     int64        `json:"since"`      // when it came into this state
	NextProbe int64        `json:"next_probe"` // 0 where there is none to come
	OpenFor   int64        `json:"open_for"`   // how long it stays open, in milliseconds
	OutageID  string       `json:"outage_id"`
	Success   uint64       `json:"success"`
	Failure   uint64       `json:"failure"`
	Blocked   uint64       `json:"blocked"`
	Ignored   uint64       `json:"ignored"`
	Streak    int          `json:"streak"`    // consecutive failures
	Threshold int          `json:"threshold"` // at which it opens
	Calls     string       `json:"calls"`     // outcomes of the last ones, a letter each, oldest first
	Fault     faulty.Fault `json:"fault"`
}

// shown is a log record as the page shows it.
type shown struct {
	Seq      int      `json:"seq"`
	Time     int64    `json:"time"`
	Service  string   `json:"service"`
	Endpoint string   `json:"endpoint"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	Why      string   `json:"why"`
	TraceID  string   `json:"trace_id"`
	OutageID string   `json:"outage_id"`
	Recovery *float64 `json:"recovery,omitempty"` // seconds, on closing
	Blocked  *int     `json:"blocked,omitempty"`  // on closing
}

// update gives all that is shown, of the records those behind the one numbered seq.
func (a *app) update(seq int) update {
	act, ended := a.script.progress()
	u := update{Run: a.run, Now: time.Now().UnixMilli(), Act: act, Ended: ended, Circuits: a.circuits(), Records: []shown{}}
	for _, r := range a.records.after(seq) {
		u.Records = append(u.Records, shown{
			Seq: r.seq, Time: r.Time.UnixMilli(), Service: r.Service, Endpoint: r.Endpoint, From: r.OldState,
			To: r.NewState, Why: r.why(), TraceID: r.TraceID, OutageID: r.OutageID, Recovery: r.RecoveryDuration,
			Blocked: r.BlockedCount,
		})
	}
	return u
}

func (a *app) circuits() []circuit {
	var all []circuit
	for _, d := range a.deps {
		all = append(all, a.circuit(d))
	}
	return all
}

func (a *app) circuit(d *dependency) circuit {
	s := d.breaker().Snapshot()
	c := circuit{
		Service: s.Service, Endpoint: s.Endpoint, State: s.State.String(), Since: a.started.UnixMilli(),
		OpenFor: s.Config.RecoveryTimeout.Milliseconds(), OutageID: s.OutageID,
		Success: s.Success, Failure: s.Failure, Blocked: s.Blocked, Ignored: s.Ignored,
		Streak: s.ConsecutiveFailures, Threshold: s.Config.FailureThreshold, Fault: d.upstream.Current(),
	}
	if newest, found := a.records.newestOf(s.Service); found {
		c.Since = newest.Time.UnixMilli()
	}
	if s.State == breaker.Open && !s.RetryAt.IsZero() {
		c.NextProbe = s.RetryAt.UnixMilli()
	}
	for _, call := range d.client.last(stripLength) {
		c.Calls += string(call.outcome)
	}
	return c
}
