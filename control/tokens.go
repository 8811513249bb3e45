package control

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxTokenLength = 512
	maxNameLength  = 64
	maxTokenFile   = 64 << 10
	tokenFileAge   = time.Second
	unnamed        = "operator" // whose token stands alone in a file
)

// token is one that is good. Of the token itself only the hash is kept: it is of one length, as a comparison in
// constant time needs, and a dump of the memory shows no token.
type token struct {
	name string
	hash [sha256.Size]byte
}

// newToken says what is wrong, without the token.
func newToken(name, text string) (token, error) {
	var errs []error
	if n := utf8.RuneCountInString(name); n < 1 || n > maxNameLength || !printable(name) {
		errs = append(errs, fmt.Errorf("the name is %q: allowed is 1 to %d printable characters", shortened(name), maxNameLength))
	}
	if n := len(text); n < MinTokenLength || n > maxTokenLength {
		errs = append(errs, fmt.Errorf("the token of %q has %d characters: allowed is %d to %d", shortened(name), n,
			MinTokenLength, maxTokenLength))
	}
	if strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=") != "" {
		errs = append(errs, fmt.Errorf("the token of %q has a character that is not allowed: allowed are letters, digits and -._~+/=",
			shortened(name)))
	}
	return token{name, sha256.Sum256([]byte(text))}, errors.Join(errs...)
}

func printable(text string) bool {
	for _, r := range text {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// tokens are all that are good.
type tokens struct {
	fixed []token
	files []*tokenFile
}

// check is for the making of a handler.
func (t *tokens) check() error {
	all := t.all()
	if len(all) == 0 {
		return errors.New("control: there is no token: allowed is one or more, by WithToken or WithTokenFile")
	}
	owners := make(map[[sha256.Size]byte]string)
	for _, one := range all {
		if other, taken := owners[one.hash]; taken && other != one.name {
			return fmt.Errorf("control: %q and %q have the same token: who used it could not be told", other, one.name)
		}
		owners[one.hash] = one.name
	}
	return nil
}

func (t *tokens) all() []token {
	all := t.fixed
	for _, f := range t.files {
		all = append(all[:len(all):len(all)], f.tokens()...)
	}
	return all
}

// owner gives the name that goes with what the Authorization headers hold. It takes as long for a wrong token as for a
// good one.
func (t *tokens) owner(authorization []string) (name string, known bool) {
	if len(authorization) != 1 {
		return "", false
	}
	scheme, text, _ := strings.Cut(authorization[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || len(text) > maxTokenLength {
		return "", false
	}
	given := sha256.Sum256([]byte(text))
	for _, one := range t.all() {
		if subtle.ConstantTimeCompare(given[:], one.hash[:]) == 1 {
			name, known = one.name, true
		}
	}
	return name, known
}

// tokenFile is read again from time to time.
type tokenFile struct {
	path string

	mu     sync.Mutex
	asked  time.Time
	newest []token
	failed string // what was wrong the last time, so that it is logged once
}

func (f *tokenFile) tokens() []token {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if !f.asked.IsZero() && now.Sub(f.asked) < tokenFileAge {
		return f.newest
	}
	f.asked = now
	var err error
	f.newest, err = f.read()
	failed := ""
	if err != nil {
		failed = err.Error()
	}
	if failed != "" && failed != f.failed {
		slog.Default().Error("control: no token of the file is good", "error", failed)
	}
	f.failed = failed
	return f.newest
}

// read gives all tokens, or none and what is wrong.
func (f *tokenFile) read() ([]token, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxTokenFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxTokenFile {
		return nil, fmt.Errorf("%s is longer than %d bytes", f.path, maxTokenFile)
	}
	var all []token
	number := 0
	for line := range bytes.Lines(text) {
		number++
		words := strings.Fields(string(line))
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
			continue
		case len(words) == 1:
			words = []string{unnamed, words[0]}
		case len(words) > 2:
			return nil, fmt.Errorf("%s, line %d: allowed is a name and a token, or a token alone", f.path, number)
		}
		t, err := newToken(words[0], words[1])
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", f.path, number, err)
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no token", f.path)
	}
	return all, nil
}
