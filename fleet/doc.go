// Package fleet lets the replicas of a service share what their circuit breakers learn, by an engine that they have
// already: NATS JetStream (package fleet/nats) or Redis (fleet/redis).
//
//	member, err := fleet.Join(guarded.Breakers(), engine, fleet.WithName("shop"), fleet.WithPolicy(fleet.LeaderOfOne()))
//	if err != nil {
//		return err
//	}
//	defer member.Close(ctx)
//
// # What is shared
//
// An opening: by the policy, what siblings' own calls have opened lowers a breaker's thresholds ([Advisory]), opens it
// when a share of the live replicas agree ([Quorum]), or opens it at once ([LeaderOfOne]).
//
// The probe: while breakers are open, one replica at a time goes half-open, by a lease in the store. If its probe fails
// all wait, and another has its turn next. Its success closes all, each after a random moment.
//
// # What is not
//
// Calls. None waits for the engine or for a lock of this package, none allocates. Decisions stay with each breaker
// ([breaker.Breaker.Trip], Recover, Advise and Gate are the ways in which others have a say), which goes on by itself where the
// engine is slow, away, full or cut off. An operator's override wins over a fleet.
//
// # What it tells
//
// By the OpenTelemetry API, under the scope [ScopeName]: the metrics circuit_breaker.fleet.connected, .replicas, .errors
// and .propagation, and the log records fleet_lost, fleet_rejoined and fleet_refused. Breakers' own events are told as ever, for
// the reasons fleet_quorum, fleet_leader and fleet_recovered. docs/fleet.md has more, the figures among it.
package fleet
