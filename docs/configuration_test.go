package docs_test

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

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

// The worked examples are read as a program reads them, and make breakers.
func TestTheWorkedExamplesAreGood(t *testing.T) {
	examples := regexp.MustCompile("(?s)<!-- config: (\\w+) -->\n```json\n(.*?)```").FindAllStringSubmatch(read(t, "configuration.md"), -1)
	if len(examples) < 5 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, example := range examples {
		var c breaker.Config
		if err := json.Unmarshal([]byte(example[2]), &c); err != nil {
			t.Errorf("%s: %v", example[1], err)
		}
		if _, err := breaker.New(c); err != nil {
			t.Errorf("%s: %v", example[1], err)
		}
	}
}
