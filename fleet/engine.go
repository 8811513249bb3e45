package fleet

import (
	"context"
	"time"
)

// What a fleet asks of its engine, and never exceeds.
const (
	MaxKeySize   = 200         // bytes of a key
	MaxValueSize = 16 << 10    // bytes of a value; what is larger comes from a stranger, and is not looked at
	MinTTL       = time.Second // no entry is written with a shorter life
)

// Engine is the store that the replicas of a fleet share: a small, flat map of keys to values that expire, with a watch.
// Package fleet brings none; fleet/nats and fleet/redis do, and [github.com/otelbreaker/otelbreaker/fleet/enginetest]
// tests any other. An engine belongs to whoever made it: a fleet opens and closes nothing of it, so TLS and credentials
// are those of the engine's own client.
//
// Keys consist of lower-case letters, digits, '-', '_' and '.', and have no empty part between dots; a prefix ends in a
// dot. Values are bytes. A time to live is [MinTTL] or more; an engine may round it up to whole seconds.
//
// All methods may be called concurrently, also by many replicas on one value. They honour the context: each returns soon
// after it ends, whatever the network does. An error means that it is not known whether the change was made. Errors hold
// no credentials.
type Engine interface {
	// Put writes a key, whatever was there. It expires when ttl has passed, unless it is written again.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// CompareAndSwap writes a key if its value is old; nil for old: if there is none, or it has expired. Of several at
	// the same time one succeeds. swapped tells whether it was written; that it was not is no error.
	CompareAndSwap(ctx context.Context, key string, old, value []byte, ttl time.Duration) (swapped bool, err error)

	// CompareAndDelete deletes a key if its value is old. That there is another one, or none, is no error.
	CompareAndDelete(ctx context.Context, key string, old []byte) error

	// Watch calls f with every entry there is under the prefix, then with [Synced], and from then on with each change,
	// until ctx ends or it may have missed one: then it returns, always with an error, and the caller watches anew. An
	// engine whose client connects again by itself must not hide that it was away.
	//
	// f is called by one goroutine, in the order in which the changes of a key were made, and not after Watch has
	// returned. It does not block, and keeps what it gets. Of changes of one key that follow each other closely, those in
	// between may be left out; a change may be told twice; a key may be told gone that was never told.
	Watch(ctx context.Context, prefix string, f func(Change)) error
}

// Kind says what a [Change] is.
type Kind uint8

// The kinds of changes.
const (
	Written Kind = iota // the key has this value
	Gone                // the key was deleted, or has expired: a few seconds after its time to live at the latest
	Synced              // what was there when the watch began has been told; without key and value
)

// String gives "written", "gone" or "synced".
func (k Kind) String() string {
	switch k {
	case Written:
		return "written"
	case Gone:
		return "gone"
	case Synced:
		return "synced"
	}
	return "unknown"
}

// Change is what [Engine.Watch] tells.
type Change struct {
	Kind  Kind
	Key   string
	Value []byte // of a key that was written
}
