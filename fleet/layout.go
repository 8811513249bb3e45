package fleet

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// What the replicas write. Keys and values of another form are from strangers, or of another version, and are left
// alone. There is no time of day in them, only durations, for the clocks of replicas differ.
//
//	v1.<fleet>.replica.<replica>   that it lives, and which of its breakers its own calls have opened
//	v1.<fleet>.breaker.<breaker>   whose turn it is to probe, and what came of it
//
// A breaker is named by a hash of its service and endpoint: of a form that every engine takes, of one length, and telling
// nobody what is called.
const (
	layoutVersion = "v1"
	replicaPart   = "replica."
	breakerPart   = "breaker."

	maxVotes   = 400             // so many fit a value
	maxEntries = 2000            // turns that are taken note of
	longest    = 24 * time.Hour  // a duration that somebody else may name
	slack      = 5 * time.Second // how much longer than it counts an entry stays, to be seen by all
)

// idBytes of a hash name a breaker.
const idBytes = 12

// breakerID names a breaker in keys and votes.
func breakerID(service, endpoint string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s%s", len(service), service, endpoint)
	return hex.EncodeToString(h.Sum(nil)[:idBytes])
}

var (
	breakerIDs = regexp.MustCompile(`^[0-9a-f]{24}$`)
	tokens     = regexp.MustCompile(`^[0-9a-f]{8}$`)
)

// newToken tells one vote, or one turn, from the next.
func newToken() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func (c *config) prefix() string              { return layoutVersion + "." + c.name + "." }
func (c *config) replicaKey() string          { return c.prefix() + replicaPart + c.replica }
func (c *config) breakerKey(id string) string { return c.prefix() + breakerPart + id }

// milliseconds is a duration as it is written.
type milliseconds int64

func millisecondsOf(d time.Duration) milliseconds { return milliseconds(d.Milliseconds()) }

func (m milliseconds) duration() time.Duration { return time.Duration(m) * time.Millisecond }

func (m milliseconds) valid() bool { return m >= 0 && m <= milliseconds(longest.Milliseconds()) }

// beat is the value of a replica's key.
type beat struct {
	Number uint64            `json:"number"` // of this beat, which tells the replica its own again
	Life   milliseconds      `json:"life"`   // it counts as gone after so long without another
	Votes  map[string]string `json:"votes"`  // breakers that its own calls have opened, each with the token of this opening
}

func (b *beat) check() error {
	if !b.Life.valid() || len(b.Votes) > maxVotes {
		return errForm
	}
	for id, token := range b.Votes {
		if !breakerIDs.MatchString(id) || !tokens.MatchString(token) {
			return errForm
		}
	}
	return nil
}

// turn is the value of a breaker's key.
type turn struct {
	State   string       `json:"state"`   // probing, failed or recovered
	Replica string       `json:"replica"` // whose it is
	Token   string       `json:"token"`   // of this turn
	Life    milliseconds `json:"life"`    // probing: of the lease, unless renewed; failed: until the next turn
}

const (
	probing   = "probing"
	failed    = "failed"
	recovered = "recovered"
)

func (t *turn) check() error {
	if t.State != probing && t.State != failed && t.State != recovered ||
		!names.MatchString(t.Replica) || !tokens.MatchString(t.Token) || !t.Life.valid() {
		return errForm
	}
	return nil
}

var errForm = errors.New("fleet: a value is not of the form that this version writes")

// parse takes a value that somebody has written, which may be anything.
func parse[T interface{ check() error }](value []byte, into T) error {
	if len(value) > MaxValueSize {
		return errForm
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return errForm
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errForm
	}
	return into.check()
}

func written(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // of plain strings and numbers
	}
	return text
}

// split takes a key apart.
func (c *config) split(key string) (part, name string) {
	rest, _ := strings.CutPrefix(key, c.prefix())
	for _, part := range []string{replicaPart, breakerPart} {
		if name, ok := strings.CutPrefix(rest, part); ok {
			return part, name
		}
	}
	return "", ""
}
