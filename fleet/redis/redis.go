// Package redis lets the replicas of a fleet share what they learn by Redis 6 or later, or what speaks its protocol and
// has Lua scripts (Valkey, say): one server, Sentinel or a cluster.
//
//	client := redis.NewClient(&redis.Options{Addr: "redis:6379", ContextTimeoutEnabled: true, TLSConfig: …, Username: …})
//	engine, err := fleetredis.New(client)
//
// It needs nothing of the server's configuration, and no module. Each write is one script: it stores the entry with its
// time to live, numbers it and publishes it, so a watch needs no keyspace notifications, which most servers have switched
// off. Subscribers of Redis may miss messages, and are not told: here each message names the number before it, and a
// watch that sees a gap ends, as package fleet asks of it. Times are the server's and the watch's own stopwatch: no clock
// of a replica matters.
//
// All entries of a namespace are in one slot of a cluster, that of the hash tag {namespace}. They are few and small, some
// hundred bytes for each breaker that is not closed and for each replica. A user of the server needs
//
//	~{namespace}:* &{namespace}:* +eval +evalsha +subscribe +unsubscribe +ping +hello
//	+get +set +del +pexpire +pttl +time +publish +zadd +zrem +zremrangebyscore +zscan
//
// An eviction policy that takes what does not expire only, or none (noeviction), suits best: where the server evicts
// entries, siblings know less of each other until they are written again. A server that is full refuses writes, and that
// is told as an error.
package redis

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/otelbreaker/otelbreaker/fleet"
)

// DefaultNamespace is where entries are kept unless [WithNamespace] says otherwise.
const DefaultNamespace = "otelbreaker"

// Engine is a [fleet.Engine] on Redis. Make it with [New]. All methods may be called concurrently.
type Engine struct {
	client  redis.UniversalClient
	entry   string // and the key behind it
	index   string // a sorted set: every key that there is, by when it expires
	number  string // of the newest change
	channel string
}

var _ fleet.Engine = (*Engine)(nil)

// Option is a setting of [New].
type Option interface{ apply(*settings) }

type settings struct{ namespace string }

type optionFunc func(*settings)

func (f optionFunc) apply(s *settings) { f(s) }

// WithNamespace sets what all of the engine's keys, and its channel, begin with, in braces: 1 to 64 letters, digits, '-',
// '_' and '.'. Fleets that shall know nothing of each other's engine (of staging and of production, say) have different
// ones. Default "otelbreaker".
func WithNamespace(name string) Option {
	return optionFunc(func(s *settings) { s.namespace = name })
}

var namespaces = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// New makes an engine on a client, which stays the caller's: its options are where TLS, credentials and timeouts are set,
// and it is to be closed after the fleet. ContextTimeoutEnabled has to be set in them: without it, a client that connects
// again makes writes that were long given up, and siblings would hear of openings that are over. New speaks to nobody
// yet.
func New(client redis.UniversalClient, options ...Option) (*Engine, error) {
	s := settings{namespace: DefaultNamespace}
	if v := reflect.ValueOf(client); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, fmt.Errorf("redis: client is nil (%T): allowed is a client of Redis", client)
	}
	for i, o := range options {
		if o == nil {
			return nil, fmt.Errorf("redis: option %d is nil", i)
		}
		o.apply(&s)
	}
	if !obeysContexts(client) {
		return nil, errors.New("redis: ContextTimeoutEnabled is false in the client's options: allowed is true")
	}
	if !namespaces.MatchString(s.namespace) {
		return nil, fmt.Errorf("redis: WithNamespace is %.80q: allowed are 1 to 64 letters, digits, '-', '_' and '.'", s.namespace)
	}
	tag := "{" + s.namespace + "}:"
	return &Engine{client: client, entry: tag + "entry:", index: tag + "index", number: tag + "number", channel: tag + "changes"}, nil
}

// obeysContexts is true also of a client that cannot be asked, a wrapper of the caller's own.
func obeysContexts(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return c.Options().ContextTimeoutEnabled
	case *redis.Ring:
		return c.Options().ContextTimeoutEnabled
	}
	return true
}

// Put implements [fleet.Engine].
func (e *Engine) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	_, err := e.run(ctx, "put", put, key, value, milliseconds(ttl))
	return err
}

// CompareAndSwap implements [fleet.Engine]. Where the connection broke and the client tried again by itself, false may
// mean that the first attempt has written the value; the watch tells.
func (e *Engine) CompareAndSwap(ctx context.Context, key string, old, value []byte, ttl time.Duration) (bool, error) {
	return e.run(ctx, "swap", swap, key, value, milliseconds(ttl), old != nil, old)
}

// CompareAndDelete implements [fleet.Engine].
func (e *Engine) CompareAndDelete(ctx context.Context, key string, old []byte) error {
	_, err := e.run(ctx, "delete", remove, key, old)
	return err
}

// run runs a script on the three keys that each of them uses, and returns when ctx is cancelled, too: while it reads, the
// client obeys deadlines only.
func (e *Engine) run(ctx context.Context, what string, script *redis.Script, key string, args ...any) (changed bool, err error) {
	keys := []string{e.entry + key, e.index, e.number}
	changed, err = within(ctx, func() (bool, error) {
		n, err := script.Run(ctx, e.client, keys, append([]any{e.channel, key}, args...)...).Int()
		return n == 1, err
	})
	if err != nil {
		return false, fmt.Errorf("redis: %s of %s: %w", what, key, err)
	}
	return changed, nil
}

// within gives what f gives, or ctx's error where it has ended. f then ends in its own time: the client has timeouts.
func within[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// milliseconds rounds up, for Redis takes no 0.
func milliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
