package redis

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/otelbreaker/otelbreaker/fleet"
)

var (
	errMissed  = errors.New("a change was missed")
	errForeign = errors.New("what was published is no change: another program uses the channel")
)

const (
	page    = 500             // entries that are listed at a time
	backlog = 1_024           // messages that wait while others are listed
	patrol  = 5 * time.Second // how often a watch looks whether it has all
	answers = 5 * time.Second // how long a subscription may take

	// The server counts whole milliseconds: what is told gone is to be gone there as well.
	margin = 5 * time.Millisecond
)

// Watch implements [fleet.Engine].
func (e *Engine) Watch(ctx context.Context, prefix string, f func(fleet.Change)) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("redis: watch of %s: %w", prefix, err)
	}
	watching, lost := context.WithCancelCause(ctx)
	w := &watch{Engine: e, prefix: prefix, tell: f, lives: map[string]*life{}}
	err := w.run(watching, lost)
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, context.Canceled):
		err = context.Cause(watching) // what the reader or the patrol has found
	}
	return fmt.Errorf("redis: watch of %s: %w", prefix, err)
}

type watch struct {
	*Engine
	prefix string
	tell   func(fleet.Change)

	newest uint64            // the number of the last change that was seen
	listed map[string]uint64 // what a listing has told is not told again by messages from before
	lives  map[string]*life
	ends   lives
}

// run subscribes first and lists then, so that no change falls in between.
func (w *watch) run(ctx context.Context, lost context.CancelCauseFunc) error {
	subscription := w.client.Subscribe(ctx, w.channel)
	defer context.AfterFunc(ctx, func() { _ = subscription.Close() })() // ends Receive, which heeds no context
	messages := make(chan message, backlog)
	reader := make(chan struct{})
	defer func() {
		lost(nil)
		_ = subscription.Close()
		<-reader
	}()
	subscribed := make(chan struct{})
	go func() {
		defer close(reader)
		lost(w.read(ctx, subscription, subscribed, messages))
	}()

	select {
	case <-subscribed:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(answers):
		return fmt.Errorf("no answer to a subscription in %v", answers)
	}

	// While it lists, messages wait in the backlog, then in the server, which breaks with subscribers that let too much
	// wait; and that ends the watch.
	newest, err := w.current(ctx)
	if err != nil {
		return err
	}
	w.newest = newest
	if err := w.list(ctx); err != nil {
		return err
	}
	w.tell(fleet.Change{Kind: fleet.Synced})
	return w.follow(ctx, messages, lost)
}

// read hands on what is published until the connection breaks. The client would connect again by itself, but by then
// something may have been missed.
func (w *watch) read(ctx context.Context, subscription *redis.PubSub, subscribed chan<- struct{}, to chan<- message) error {
	for {
		received, err := subscription.Receive(ctx)
		if err != nil {
			return err
		}
		switch received := received.(type) {
		case *redis.Subscription:
			if subscribed == nil {
				return errMissed // it has connected anew
			}
			close(subscribed)
			subscribed = nil
		case *redis.Message:
			m, err := parse(received.Payload)
			if err != nil {
				return err
			}
			select {
			case to <- m:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// current is the number of the newest change.
func (w *watch) current(ctx context.Context) (uint64, error) {
	n, err := within(ctx, func() (uint64, error) { return w.client.Get(ctx, w.number).Uint64() })
	if err == redis.Nil { //nolint:errorlint // go-redis returns it bare, and says to compare so
		return 0, nil
	}
	return n, err
}

func (w *watch) list(ctx context.Context) error {
	w.listed = map[string]uint64{}
	type found struct {
		keys []string
		next uint64
	}
	for cursor := uint64(0); ; {
		some, err := within(ctx, func() (found, error) {
			members, next, err := w.client.ZScan(ctx, w.index, cursor, w.prefix+"*", page).Result()
			keys := make([]string, 0, len(members)/2)
			for i := 0; i < len(members); i += 2 { // each with its score
				keys = append(keys, members[i])
			}
			return found{keys, next}, err
		})
		if err != nil {
			return err
		}
		if err := w.listThese(ctx, some.keys); err != nil {
			return err
		}
		if cursor = some.next; cursor == 0 {
			return nil
		}
	}
}

func (w *watch) listThese(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = w.entry + key
	}
	entries, err := within(ctx, func() ([]any, error) { return list.Run(ctx, w.client, names).Slice() })
	if err != nil {
		return err
	}
	if len(entries) != 2*len(keys) {
		return fmt.Errorf("asked for %d entries, and got %d", len(keys), len(entries)/2)
	}
	for i, key := range keys {
		text, _ := entries[2*i].(string)
		left, _ := entries[2*i+1].(int64)
		if text == "" || left <= 0 {
			continue // gone since
		}
		number, value, _ := strings.Cut(text, "|")
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return fmt.Errorf("the entry %s has no number", key)
		}
		if n <= w.listed[key] {
			continue // a scan may show what it has shown
		}
		w.listed[key] = n
		w.written(key, value, left)
	}
	return nil
}

// follow tells changes until one may have been missed.
func (w *watch) follow(ctx context.Context, messages <-chan message, lost context.CancelCauseFunc) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	looks := make(chan uint64)
	patrolled := make(chan struct{})
	go func() { // by itself, for it waits for the server
		defer close(patrolled)
		lost(w.patrol(ctx, looks))
	}()
	defer func() {
		lost(nil)
		<-patrolled
	}()
	due := w.newest // by the next look, all up to this one must have come
	for {
		if len(w.ends) > 0 {
			timer.Reset(time.Until(w.ends[0].end))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case m := <-messages:
			if err := w.take(m); err != nil {
				return err
			}
		case <-timer.C:
			w.expire()
		case newest := <-looks:
			if w.newest < due {
				return errMissed
			}
			due = newest
		}
	}
}

// patrol asks for the newest number now and then: a subscription whose connection is dead would else wait for ever.
func (w *watch) patrol(ctx context.Context, looks chan<- uint64) error {
	ticker := time.NewTicker(patrol)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		newest, err := w.current(ctx)
		if err != nil {
			return err
		}
		select {
		case looks <- newest:
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *watch) take(m message) error {
	if m.number <= w.newest {
		return nil // from before the listing
	}
	if m.before != w.newest {
		return errMissed
	}
	w.newest = m.number
	if !strings.HasPrefix(m.key, w.prefix) {
		return nil
	}
	if listed, is := w.listed[m.key]; is {
		if m.number <= listed {
			return nil
		}
		delete(w.listed, m.key)
	}
	if m.ttl == 0 {
		w.gone(m.key)
		return nil
	}
	w.written(m.key, m.value, m.ttl)
	return nil
}

func (w *watch) written(key, value string, left int64) {
	end := time.Now().Add(time.Duration(left)*time.Millisecond + margin)
	if l, there := w.lives[key]; there {
		l.end = end
		heap.Fix(&w.ends, l.place)
	} else {
		l := &life{key: key, end: end}
		w.lives[key] = l
		heap.Push(&w.ends, l)
	}
	w.tell(fleet.Change{Kind: fleet.Written, Key: key, Value: []byte(value)})
}

func (w *watch) gone(key string) {
	if l, there := w.lives[key]; there {
		heap.Remove(&w.ends, l.place)
		delete(w.lives, key)
	}
	w.tell(fleet.Change{Kind: fleet.Gone, Key: key})
}

func (w *watch) expire() {
	for len(w.ends) > 0 && time.Until(w.ends[0].end) <= 0 {
		w.gone(w.ends[0].key)
	}
}

// message is a change as it was published.
type message struct {
	before, number uint64
	ttl            int64 // ms; 0: gone
	key, value     string
}

func parse(text string) (message, error) {
	parts := strings.SplitN(text, " ", 5)
	if len(parts) < 5 {
		return message{}, errForeign
	}
	m := message{key: parts[3], value: parts[4]}
	var errs [3]error
	m.before, errs[0] = strconv.ParseUint(parts[0], 10, 64)
	m.number, errs[1] = strconv.ParseUint(parts[1], 10, 64)
	m.ttl, errs[2] = strconv.ParseInt(parts[2], 10, 64)
	for _, err := range errs {
		if err != nil || m.ttl < 0 {
			return message{}, errForeign
		}
	}
	return m, nil
}

// life is how long an entry has left, by the watch's own stopwatch.
type life struct {
	key   string
	end   time.Time
	place int
}

// lives is a heap, the shortest first.
type lives []*life

func (l lives) Len() int           { return len(l) }
func (l lives) Less(i, j int) bool { return l[i].end.Before(l[j].end) }

func (l lives) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].place, l[j].place = i, j
}

// Push is for package heap.
func (l *lives) Push(x any) {
	one := x.(*life) //nolint:forcetypeassert // only written gives any
	one.place = len(*l)
	*l = append(*l, one)
}

// Pop is for package heap.
func (l *lives) Pop() any {
	last := len(*l) - 1
	one := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return one
}
