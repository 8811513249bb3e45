package health

import (
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/otelbreaker/otelbreaker/breaker"
)

// filter says which breakers are wanted. Without a name of a kind, all of that kind are.
type filter struct {
	Services []string
	States   []string
}

var states = []string{breaker.Closed.String(), breaker.HalfOpen.String(), breaker.Open.String()}

func filterOf(query string) (filter, error) {
	given, err := url.ParseQuery(query)
	if err != nil {
		return filter{}, fmt.Errorf("the query cannot be read: allowed is service=NAME and state=%s, escaped as in any URL",
			strings.Join(states, "|"))
	}
	var f filter
	for _, service := range given["service"] {
		f.Services = append(f.Services, validUTF8(service))
	}
	for _, state := range given["state"] {
		if !slices.Contains(states, state) {
			return filter{}, fmt.Errorf("state is %q: allowed is %s", shortened(state), strings.Join(states, ", "))
		}
		f.States = append(f.States, state)
	}
	return f, nil
}

func shortened(text string) string {
	const most = 40
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

func (f filter) takes(service string, state breaker.State) bool {
	return (len(f.Services) == 0 || slices.Contains(f.Services, service)) &&
		(len(f.States) == 0 || slices.Contains(f.States, state.String()))
}

// prefersHTML tells that a request wants HTML more than it wants JSON.
func prefersHTML(accept []string) bool {
	header := strings.Join(accept, ",")
	const most = 4096 // of a browser's 100 or so
	return len(header) <= most && quality(header, "text", "html") > quality(header, "application", "json")
}

// quality is how much a request wants a media type, from 0 to 1: by the most precise range that has it.
func quality(accept, kind, subtype string) float64 {
	precise, q := 0, 0.0
	for part := range strings.SplitSeq(accept, ",") {
		media, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		is := map[string]int{"*/*": 1, kind + "/*": 2, kind + "/" + subtype: 3}[media]
		if is <= precise {
			continue
		}
		precise, q = is, 1
		if weight, given := parameters["q"]; given {
			q, err = strconv.ParseFloat(weight, 64)
			if err != nil || !(q >= 0 && q <= 1) {
				q = 0
			}
		}
	}
	return q
}
