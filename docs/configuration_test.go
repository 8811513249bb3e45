package docs_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otelbreaker/otelbreaker/breaker"
)

func TestTheConfigurationIsToldInFull(t *testing.T) {
	text := read(t, "configuration.md")
	fields := reflect.TypeFor[breaker.Config]()
	for i := range fields.NumField() {
		if name := fields.Field(i).Name; !strings.Contains(text, "\n| `"+name+"` | ") {
			t.Errorf("the table has no %s", name)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ").FindAllStringSubmatch(text, -1) {
		if _, found := fields.FieldByName(m[1]); !found {
			t.Errorf("Config has no %s", m[1])
		}
	}
}

// workedExamples are read as a program reads them, and make breakers.
func workedExamples(t *testing.T) map[string]*breaker.Breaker {
	t.Helper()
	made := map[string]*breaker.Breaker{}
	text := read(t, "configuration.md")
	for _, example := range regexp.MustCompile("(?s)<!-- config: (\\w+) -->\n```json\n(.*?)```").FindAllStringSubmatch(text, -1) {
		var c breaker.Config
		if err := json.Unmarshal([]byte(example[2]), &c); err != nil {
			t.Fatalf("%s: %v", example[1], err)
		}
		b, err := breaker.New(c)
		if err != nil {
			t.Fatalf("%s: %v", example[1], err)
		}
		made[example[1]] = b
	}
	if want := strings.Count(text, "```json"); len(made) != want {
		t.Fatalf("%d examples of %d", len(made), want)
	}
	return made
}

// call makes calls at a steady rate until the breaker opens, or for so long, and tells how long that took.
func call(b *breaker.Breaker, every, most time.Duration, fails func(i int) bool) time.Duration {
	began := time.Now()
	for i := 0; time.Since(began) < most && b.State() == breaker.Closed; i++ {
		_ = b.Do(context.Background(), func(context.Context) error {
			time.Sleep(every)
			if fails(i) {
				return errors.New("down")
			}
			return nil
		})
	}
	return time.Since(began)
}

// What configuration.md says of its examples, in figures, is what they do.
func TestTheWorkedExamplesDoWhatIsSaid(t *testing.T) {
	const every = 5 * time.Millisecond // 200 a second
	well := func(int) bool { return false }
	down := func(int) bool { return true }
	opens := func(t *testing.T, name string, from, to time.Duration, every, healthy time.Duration, fails func(int) bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := workedExamples(t)[name]
			call(b, every, healthy, well)
			if took := call(b, every, time.Hour, fails); b.State() != breaker.Open || took < from || took > to {
				t.Errorf("%s: %v after %v", name, b.State(), took)
			}
		})
	}
	opens(t, "internal", 5*every, 5*every, every, time.Minute, down)
	opens(t, "internal", 7500*time.Millisecond, 9*time.Second, every, time.Minute, func(i int) bool { return i%5 < 3 })
	opens(t, "provider", 12*time.Second, 15*time.Second, time.Second, time.Minute, down) // 40 % of 30 calls
	opens(t, "database", 10*every, 10*every, every, time.Minute, down)
	opens(t, "cache", 3*every, 3*every, every, time.Minute, down)
	opens(t, "batch", 30*time.Second, 30*time.Second, 2*time.Second, 10*time.Minute, down) // 15 of 50 calls
	synctest.Test(t, func(t *testing.T) {
		b := workedExamples(t)["provider"]
		call(b, time.Second, time.Hour, down)
		for _, delay := range []time.Duration{15, 30, 60, 120, 240, 300, 300} {
			most := delay * time.Second
			if got := b.Snapshot().RetryAfter; got > most || got < most*8/10 {
				t.Errorf("a delay of %v where %v is the most", got, most)
			}
			time.Sleep(most)
			_ = b.Do(t.Context(), func(context.Context) error { return errors.New("down") })
		}
	})
}
