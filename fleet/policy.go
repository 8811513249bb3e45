package fleet

import (
	"fmt"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// Policy says what the openings of other replicas do to a closed breaker. Only those count that a replica's own calls
// brought about: one that a fleet opened is no evidence of its own. The zero Policy is Quorum(0.5).
type Policy struct {
	kind  kind
	share float64
}

type kind uint8

const (
	unset kind = iota
	quorum
	advisory
	leader
)

const defaultShare = 0.5

// Advisory lowers a breaker's thresholds to a share of what is configured, in (0, 1), while a sibling has opened. Each
// still needs failures of its own to open.
func Advisory(share float64) Policy { return Policy{advisory, share} }

// Quorum opens a breaker when a share of the live replicas, in (0, 1], have opened. The breaker itself is among the live
// and has not: with a share above (n-1)/n of n replicas, it never comes to that.
func Quorum(share float64) Policy { return Policy{quorum, share} }

// LeaderOfOne opens a breaker as soon as one sibling has opened: for a dependency that is one thing, so that what one
// replica sees of it is true for all.
func LeaderOfOne() Policy { return Policy{kind: leader} }

func (p Policy) check() error {
	switch {
	case p.kind == advisory && !(p.share > 0 && p.share < 1): // the form that NaN fails
		return fmt.Errorf("fleet: the share of Advisory is %v: allowed is a number above 0 and below 1", p.share)
	case p.kind == quorum && !(p.share > 0 && p.share <= 1):
		return fmt.Errorf("fleet: the share of Quorum is %v: allowed is a number above 0 and up to 1", p.share)
	}
	return nil
}

// opens tells whether so many votes of so many live replicas open a breaker, and what its event says then.
func (p Policy) opens(votes, live int, by string) (breaker.Reason, bool) {
	switch {
	case votes == 0 || p.kind == advisory:
		return breaker.Reason{}, false
	case p.kind == leader:
		return breaker.Reason{Rule: breaker.RuleFleetLeader, Observed: float64(votes), Threshold: 1, Note: "replica " + by}, true
	}
	share := float64(votes) / float64(live)
	return breaker.Reason{Rule: breaker.RuleFleetQuorum, Observed: share, Threshold: p.share}, share >= p.share
}

// advises is the share of the thresholds that so many votes leave in force.
func (p Policy) advises(votes int) float64 {
	if p.kind == advisory && votes > 0 {
		return p.share
	}
	return 1
}
