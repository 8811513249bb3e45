package main

import (
	"encoding/json"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
	"github.com/otelbreaker/otelbreaker/cmd/demo/internal/faulty"
)

// update is what the page is told several times a second: what has changed since the one before. The first one tells
// all. Times are milliseconds since 1970.
type update struct {
	Run        string          `json:"run"`
	Now        int64           `json:"now"`
	Act        int             `json:"act"` // 0: the script is not playing
	Ended      string          `json:"ended,omitempty"`
	Circuits   []change        `json:"circuits,omitempty"`
	Records    []shown         `json:"records,omitempty"`    // new ones, oldest first
	Rates      []rate          `json:"rates,omitempty"`      // new ones, oldest first
	Figures    *figures        `json:"figures,omitempty"`    // left out where nothing is new, as all below
	Recoveries json.RawMessage `json:"recoveries,omitempty"` // of type recoveries
	Alerts     json.RawMessage `json:"alerts,omitempty"`     // of type []ruleShown
}

// change is what is new of one dependency and its breaker. What has not changed is left out.
type change struct {
	Index    int       `json:"i"`
	Named    *named    `json:"named,omitempty"` // once
	Standing *standing `json:"standing,omitempty"`
	Counts   *tally    `json:"counts,omitempty"`
	Streak   *int      `json:"streak,omitempty"` // consecutive failures
	Calls    string    `json:"calls,omitempty"`  // outcomes of the new ones, a letter each, oldest first
	Spans    []span    `json:"spans,omitempty"`  // states that it came into
}

type named struct {
	Service   string `json:"service"`
	Endpoint  string `json:"endpoint"`
	Threshold int    `json:"threshold"` // consecutive failures at which it opens
	OpenFor   int64  `json:"open_for"`  // how long it stays open, in milliseconds
}

type standing struct {
	State     string       `json:"state"`
	Since     int64        `json:"since"`      // when it came into this state
	NextProbe int64        `json:"next_probe"` // 0 where there is none to come
	OutageID  string       `json:"outage_id"`
	Override  string       `json:"override"` // empty: none
	Note      string       `json:"note"`     // the operator's reason
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

// viewer is one page that is open, and what it has been told.
type viewer struct {
	app      *app
	of       int // the service whose rates it shows; -1: all together
	told     bool
	at       time.Time
	act      int
	circuits []circuitTold
	record   int
	looks    int
	figures  *figures

	recoveries, alerts string
}

type circuitTold struct {
	standing standing
	counts   tally
	streak   int
	calls    uint64
	spans    int
}

// quietFor is how long a page is told nothing where there is nothing to tell.
const quietFor = 2 * time.Second

// update gives what is new to the viewer, or false where nothing is worth an update.
func (v *viewer) update(now time.Time) (update, bool) {
	act, ended := v.app.script.progress()
	u := update{Run: v.app.run, Now: now.UnixMilli(), Act: act, Ended: ended}
	if !v.told {
		v.circuits = make([]circuitTold, len(v.app.deps))
	}
	for i, d := range v.app.deps {
		if c, changed := v.change(i, d); changed {
			u.Circuits = append(u.Circuits, c)
		}
	}
	for _, r := range v.app.records.after(v.record) {
		u.Records = append(u.Records, shown{
			Seq: r.seq, Time: r.Time.UnixMilli(), Service: r.Service, Endpoint: r.Endpoint, From: r.OldState,
			To: r.NewState, Why: r.why(), TraceID: r.TraceID, OutageID: r.OutageID, Recovery: r.RecoveryDuration,
			Blocked: r.BlockedCount,
		})
		v.record = r.seq
	}
	if v.app.board != nil {
		v.look(&u)
	}
	something := act != v.act || len(u.Circuits)+len(u.Records)+len(u.Rates)+len(u.Recoveries)+len(u.Alerts) > 0
	if v.told && !something && now.Sub(v.at) < quietFor {
		return u, false
	}
	v.told, v.at, v.act = true, now, act
	return u, true
}

// look adds what the board has that is new.
func (v *viewer) look(u *update) {
	u.Rates, v.looks = v.app.board.rates(v.of, v.looks)
	figures, recoveries, alerts := v.app.board.known()
	if figures != v.figures {
		u.Figures, v.figures = figures, figures
	}
	if string(recoveries) != v.recoveries {
		u.Recoveries, v.recoveries = recoveries, string(recoveries)
	}
	if string(alerts) != v.alerts {
		u.Alerts, v.alerts = alerts, string(alerts)
	}
}

// change compares a dependency with what was told of it.
func (v *viewer) change(i int, d *dependency) (c change, changed bool) {
	told := &v.circuits[i]
	s := d.breaker().Snapshot()
	c.Index = i
	if !v.told {
		c.Named = &named{Service: s.Service, Endpoint: s.Endpoint, Threshold: s.Config.FailureThreshold,
			OpenFor: s.Config.RecoveryTimeout.Milliseconds()}
	}
	if now := v.app.standing(d, s); now != told.standing {
		c.Standing, told.standing = &now, now
	}
	if now := (tally{s.Success, s.Failure, s.Blocked, s.Ignored}); now != told.counts || !v.told {
		c.Counts, told.counts = &now, now
	}
	if now := s.ConsecutiveFailures; now != told.streak || !v.told {
		c.Streak, told.streak = &now, now
	}
	c.Calls, told.calls = d.client.lettersAfter(told.calls)
	c.Spans, told.spans = v.app.past.after(d.client.name, told.spans)
	return c, c.Named != nil || c.Standing != nil || c.Counts != nil || c.Streak != nil || c.Calls != "" || len(c.Spans) > 0
}

func (a *app) standing(d *dependency, s breaker.Snapshot) standing {
	now := standing{State: s.State.String(), Since: a.started.UnixMilli(), OutageID: s.OutageID, Note: s.OverrideNote, Fault: d.upstream.Current()}
	if newest, found := a.records.newestOf(s.Service); found {
		now.Since = newest.Time.UnixMilli()
	}
	if s.State == breaker.Open && !s.RetryAt.IsZero() {
		now.NextProbe = s.RetryAt.UnixMilli()
	}
	if s.Override != breaker.Automatic {
		now.Override = s.Override.String()
	}
	return now
}

// rows are the dependencies for the page as it is before the first update.
func (a *app) rows() (rows []any) {
	for _, d := range a.deps {
		s := d.breaker().Snapshot()
		rows = append(rows, struct {
			breaker.Snapshot
			Fault faulty.Fault
		}{s, d.upstream.Current()})
	}
	return rows
}
