// Package fleet lets the replicas of a service share what their circuit breakers learn, by an engine that they have
// already (NATS, Redis).
package fleet
