// Package nats has a fleet share by a bucket of NATS JetStream's key-value store.
//
//	connection, err := nats.Connect("nats://127.0.0.1:4222", nats.UserCredentials("shop.creds"))
//	…
//	engine, err := fleetnats.New(connection)
//	…
//	member, err := fleet.Join(guarded.Breakers(), engine, fleet.WithName("shop"))
//
// It wants a server of version 2.11 or later, for the time to live of single keys. The connection, with its TLS,
// credentials and ways of connecting again, is the caller's; set nats.MaxReconnects(-1), or a server that is away for
// longer than two minutes is given up. The server need not be there when the program starts: see nats.RetryOnFailedConnect.
package nats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/otelbreaker/otelbreaker/fleet"
)

// DefaultBucket is the bucket where [WithBucket] names none.
const DefaultBucket = "circuit-breakers"

const (
	// markerLife is how long the server keeps a note that a key is gone, for watches that are catching up.
	markerLife = time.Minute

	defaultMaxBytes = 64 << 20
)

// Option is a setting of [New].
type Option interface{ apply(config) config }

type option func(config) config

func (o option) apply(c config) config { return o(c) }

type config struct {
	bucket   string
	replicas int
	maxBytes int64
}

// WithBucket names the bucket: letters, digits, '-' and '_'. Default [DefaultBucket].
func WithBucket(name string) Option {
	return option(func(c config) config { c.bucket = name; return c })
}

// WithReplicas has a cluster keep so many copies of a bucket that is made, 1 to 5. Default 1: what is in it is worth
// seconds, and is written again where it was lost.
func WithReplicas(n int) Option {
	return option(func(c config) config { c.replicas = n; return c })
}

// WithMaxBytes bounds a bucket that is made; 1 MiB or more. A fleet of 1,000 replicas takes 16 MiB at most, most often a
// hundredth of it. Default 64 MiB.
func WithMaxBytes(n int64) Option {
	return option(func(c config) config { c.maxBytes = n; return c })
}

// Engine is a [fleet.Engine]. Make it with [New].
type Engine struct {
	config     config
	connection *nats.Conn
	js         jetstream.JetStream

	mu     sync.Mutex
	bucket jetstream.KeyValue // nil: to be looked for
}

var _ fleet.Engine = (*Engine)(nil)

var buckets = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// New makes an engine on a connection. It asks the server for nothing yet: the bucket is looked for with the first use,
// and made, in memory, where there is none. One that is there already must keep single keys for a time (LimitMarkerTTL).
func New(connection *nats.Conn, opts ...Option) (*Engine, error) {
	c := config{bucket: DefaultBucket, replicas: 1, maxBytes: defaultMaxBytes}
	var errs []error
	for i, o := range opts {
		if o == nil {
			errs = append(errs, fmt.Errorf("fleet/nats: option %d is nil", i))
			continue
		}
		c = o.apply(c)
	}
	refuse := func(bad bool, what string, value any, allowed string) {
		if bad {
			errs = append(errs, fmt.Errorf("fleet/nats: %s is %v: allowed is %s", what, value, allowed))
		}
	}
	refuse(connection == nil, "the connection", "nil", "one of nats.Connect")
	refuse(!buckets.MatchString(c.bucket), "WithBucket", fmt.Sprintf("%q", c.bucket), "letters, digits, '-' and '_'")
	refuse(c.replicas < 1 || c.replicas > 5, "WithReplicas", c.replicas, "1 to 5")
	refuse(c.maxBytes < 1<<20, "WithMaxBytes", c.maxBytes, "1048576 (1 MiB) or more")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	js, err := jetstream.New(connection)
	if err != nil {
		return nil, fmt.Errorf("fleet/nats: %w", err)
	}
	return &Engine{config: c, connection: connection, js: js}, nil
}

var (
	errAway = errors.New("fleet/nats: not connected to the server")
	errLost = errors.New("fleet/nats: the connection was lost")
	errOver = errors.New("fleet/nats: the server has ended the watch")
)

// store gives the bucket. What is written while there is no connection would wait in the client, and arrive when it is no
// longer true, so nothing is.
func (e *Engine) store(ctx context.Context) (jetstream.KeyValue, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !e.connection.IsConnected() {
		return nil, errAway
	}
	if kv := e.known(); kv != nil {
		return kv, nil
	}
	kv, err := e.js.KeyValue(ctx, e.config.bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = e.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: e.config.bucket, Description: "what circuit breakers share (otelbreaker)",
			MaxValueSize: fleet.MaxValueSize + 1024, // with the headers
			MaxBytes:     e.config.maxBytes, Storage: jetstream.MemoryStorage, Replicas: e.config.replicas,
			LimitMarkerTTL: markerLife,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // another replica was faster
			kv, err = e.js.KeyValue(ctx, e.config.bucket)
		}
	}
	if err != nil {
		return nil, err
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, err
	}
	if status.LimitMarkerTTL() <= 0 {
		return nil, fmt.Errorf("fleet/nats: LimitMarkerTTL of the bucket %q is 0: allowed is a positive duration", e.config.bucket)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bucket = kv
	return kv, nil
}

func (e *Engine) known() jetstream.KeyValue {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bucket
}

// noted looks for the bucket anew after an error that may come of its being gone. That the time was up is none: a slow
// server is not to be asked for more.
func (e *Engine) noted(err error) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.bucket = nil
	}
	return fmt.Errorf("fleet/nats: %w", err)
}

// seconds rounds up to what the server takes.
func seconds(ttl time.Duration) time.Duration { return (ttl + time.Second - 1).Truncate(time.Second) }

// publish writes a value as the bucket's client does, which has no way to say how long it is to live.
func (e *Engine) publish(ctx context.Context, key string, value []byte, ttl time.Duration, opts ...jetstream.PublishOpt) error {
	_, err := e.js.PublishMsg(ctx, &nats.Msg{Subject: "$KV." + e.config.bucket + "." + key, Data: value},
		append(opts, jetstream.WithMsgTTL(seconds(ttl)), jetstream.WithExpectStream("KV_"+e.config.bucket))...)
	return err
}

// Put implements [fleet.Engine].
func (e *Engine) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if _, err := e.store(ctx); err != nil {
		return err
	}
	return e.noted(e.publish(ctx, key, value, ttl))
}

// CompareAndSwap implements [fleet.Engine].
func (e *Engine) CompareAndSwap(ctx context.Context, key string, old, value []byte, ttl time.Duration) (bool, error) {
	kv, err := e.store(ctx)
	if err != nil {
		return false, err
	}
	if old == nil {
		_, err = kv.Create(ctx, key, value, jetstream.KeyTTL(seconds(ttl)))
	} else {
		revision, same, findErr := e.find(ctx, kv, key, old)
		if findErr != nil || !same {
			return false, findErr
		}
		err = e.publish(ctx, key, value, ttl, jetstream.WithExpectLastSequencePerSubject(revision))
	}
	if overtaken(err) {
		return false, nil
	}
	return err == nil, e.noted(err)
}

// CompareAndDelete implements [fleet.Engine].
func (e *Engine) CompareAndDelete(ctx context.Context, key string, old []byte) error {
	kv, err := e.store(ctx)
	if err != nil {
		return err
	}
	revision, same, err := e.find(ctx, kv, key, old)
	if err != nil || !same {
		return err
	}
	err = kv.Purge(ctx, key, jetstream.LastRevision(revision), jetstream.PurgeTTL(markerLife))
	if overtaken(err) {
		return nil
	}
	return e.noted(err)
}

// find tells whether a key has that value, and in which revision.
func (e *Engine) find(ctx context.Context, kv jetstream.KeyValue, key string, value []byte) (revision uint64, same bool, err error) {
	entry, err := kv.Get(ctx, key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return 0, false, nil
	case err != nil:
		return 0, false, e.noted(err)
	}
	return entry.Revision(), bytes.Equal(entry.Value(), value), nil
}

// overtaken tells that another one wrote first.
func overtaken(err error) bool {
	var refused *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &refused) &&
		(refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Watch implements [fleet.Engine]. It ends with the connection, though the client would connect again by itself and go on.
func (e *Engine) Watch(ctx context.Context, prefix string, f func(fleet.Change)) error {
	lost := e.connection.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer e.connection.RemoveStatusListener(lost)
	kv, err := e.store(ctx)
	if err != nil {
		return err
	}
	watcher, err := kv.Watch(ctx, prefix+">")
	if err != nil {
		return e.noted(err)
	}
	defer func() { _ = watcher.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-lost:
			return e.noted(errLost)
		case entry, ok := <-watcher.Updates():
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case !ok:
				return e.noted(errOver)
			case entry == nil:
				f(fleet.Change{Kind: fleet.Synced})
			case entry.Operation() == jetstream.KeyValuePut:
				f(fleet.Change{Kind: fleet.Written, Key: entry.Key(), Value: entry.Value()})
			default:
				f(fleet.Change{Kind: fleet.Gone, Key: entry.Key()})
			}
		}
	}
}
