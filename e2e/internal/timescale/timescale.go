// Package timescale makes time run faster for Prometheus and Alertmanager: of their configurations and rules it makes
// the ones that hold where everything happens 1/By times as fast. A rule that waits for 15 minutes then waits for 22.5
// seconds, at By = 1/40, and can be tested on the real programs.
//
// What is scaled:
//
//   - of a rule file, the interval of a group, query_offset, for and keep_firing_for;
//   - of an expression, by Prometheus' own parser, each range, subquery, step and offset, each duration that stands as a
//     number, and each number that is compared with, added to or subtracted from something that has a time in its
//     unit. What has one, the unit of each part of the expression tells: a metric named …_seconds is a time, its rate
//     is none, the rate of calls is one by time. So of open_seconds > 300 the threshold shrinks, that of the calls a
//     second grows, and those of shares and of counts stay;
//   - each bound of a bucket (le), which becomes the nearest that the histogram has;
//   - in annotations the ranges, offsets and bounds of the queries in their templates, but no number: words and
//     thresholds there stay as they are;
//   - of the two configurations, each setting that is a duration.
//
// What cannot be scaled is an error, and not left as it is: an expression whose units do not fit together, a function or
// a setting that is not known here.
package timescale

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// maxMiss is how far from where it belongs a bucket's bound may be, as a ratio.
const maxMiss = 1.5

// Scale scales the files of one deployment.
type Scale struct {
	By     float64   // what a duration is multiplied by
	Bounds []float64 // of the histograms, in seconds

	records map[string]parser.Expr // recording rules, of all files
	units   map[string]unit        // theirs, as far as they are known
	bounds  map[string]string      // bounds that were scaled
	changes map[Place]int
}

// Place is what kind of thing was changed.
type Place string

// The kinds of places.
const (
	Setting     Place = "setting"    // of a configuration
	RuleSetting Place = "rule"       // interval, for, keep_firing_for
	Range       Place = "range"      // of a selector or a subquery
	Step        Place = "step"       // of a subquery
	Offset      Place = "offset"     //
	Number      Place = "number"     // with time in its unit
	Bound       Place = "bound"      // of a bucket
	Annotation  Place = "annotation" // a duration or a bound in a template
)

// New reads the recording rules of files, which are named as by [stack.Site.Rewrite]; other files are of no interest.
func New(by float64, bounds []float64, files map[string][]byte) (*Scale, error) {
	if !(by > 0 && by <= 1) {
		return nil, fmt.Errorf("timescale: By is %v: allowed is more than 0, up to 1", by)
	}
	s := &Scale{
		By: by, Bounds: bounds,
		records: make(map[string]parser.Expr), units: make(map[string]unit),
		bounds: make(map[string]string), changes: make(map[Place]int),
	}
	for name, content := range files {
		if err := s.readRecords(name, content); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Changes is how many places were changed so far.
func (s *Scale) Changes() map[Place]int { return maps.Clone(s.changes) }

// String tells how many places were changed, and the bounds.
func (s *Scale) String() string {
	var text strings.Builder
	total := 0
	for _, place := range slices.Sorted(maps.Keys(s.changes)) {
		total += s.changes[place]
		fmt.Fprintf(&text, ", %d %s", s.changes[place], place)
	}
	var bounds []string
	for _, from := range slices.SortedFunc(maps.Keys(s.bounds), byNumber) {
		bounds = append(bounds, from+" to "+s.bounds[from])
	}
	return fmt.Sprintf("%d places changed (%s); bounds of buckets: %s",
		total, strings.TrimPrefix(text.String(), ", "), strings.Join(bounds, ", "))
}

func byNumber(a, b string) int {
	x, _ := strconv.ParseFloat(a, 64)
	y, _ := strconv.ParseFloat(b, 64)
	return int(math.Copysign(1, x-y))
}

// duration scales a duration, to the millisecond, which is the finest that Prometheus knows.
func (s *Scale) duration(d time.Duration, place Place) (time.Duration, error) {
	scaled := time.Duration(math.Round(float64(d)*s.By/float64(time.Millisecond))) * time.Millisecond
	if scaled == 0 && d != 0 {
		return 0, fmt.Errorf("%v is less than a millisecond when scaled by %v", d, s.By)
	}
	if scaled != d {
		s.changes[place]++
	}
	return scaled, nil
}

// text scales a duration as Prometheus writes it.
func (s *Scale) text(written string, place Place) (string, error) {
	d, err := model.ParseDuration(written)
	if err != nil {
		return "", err
	}
	scaled, err := s.duration(time.Duration(d), place)
	if err != nil || scaled == time.Duration(d) {
		return written, err
	}
	return model.Duration(scaled).String(), nil
}

// bound gives the bound that the histogram has nearest to where le belongs.
func (s *Scale) bound(le string, place Place) (string, error) {
	value, err := strconv.ParseFloat(le, 64)
	if err != nil {
		return "", fmt.Errorf("the bound %q of a bucket is no number", le)
	}
	if math.IsInf(value, 1) {
		return le, nil
	}
	if len(s.Bounds) == 0 {
		return "", errors.New("there are no bounds of buckets to choose from")
	}
	miss := func(bound float64) float64 { return math.Abs(math.Log(bound / (value * s.By))) }
	nearest := slices.MinFunc(s.Bounds, func(a, b float64) int { return int(math.Copysign(1, miss(a)-miss(b))) })
	if miss(nearest) > math.Log(maxMiss) {
		return "", fmt.Errorf("no bucket for le=%q: scaled it is %.3g, and the nearest bound is %v", le, value*s.By, nearest)
	}
	to := strconv.FormatFloat(nearest, 'f', -1, 64)
	if s.By == 1 {
		to = le
	}
	for other, taken := range s.bounds {
		if taken == to && other != le {
			return "", fmt.Errorf("le=%q and le=%q would both become %s: choose another scale", other, le, to)
		}
	}
	s.bounds[le] = to
	if to != le {
		s.changes[place]++
	}
	return to, nil
}

// boundsOf scales a matcher's value: a bound, or with regular expressions several.
func (s *Scale) boundsOf(value string, place Place) (string, error) {
	parts := strings.Split(value, "|")
	for i, part := range parts {
		var err error
		if parts[i], err = s.bound(strings.ReplaceAll(part, `\.`, "."), place); err != nil {
			return "", err
		}
		if strings.Contains(part, `\.`) {
			parts[i] = strings.ReplaceAll(parts[i], ".", `\.`)
		}
	}
	return strings.Join(parts, "|"), nil
}

// Of a query in a template: a range or subquery, an offset, and a bound. Queries are put together by printf, so that
// there is no whole one to parse; a verb such as %[1]s is no range.
var (
	inTemplate = regexp.MustCompile(`\[\s*[0-9][0-9a-z]*[a-z]\s*(:\s*[0-9a-z]*\s*)?\]|\boffset\s+[0-9][0-9a-z]*[a-z]\b|\ble=~?(\\?["'])[^"'\\]+(\\?["'])`)
	aDuration  = regexp.MustCompile(`[0-9][0-9a-z]*[a-z]`)
	aBound     = regexp.MustCompile(`(["'])([^"'\\]+)`)
)

// template scales the queries of an annotation's template.
func (s *Scale) template(annotation string) (string, error) {
	var errs []error
	done := func(text string, err error) string {
		errs = append(errs, err)
		return text
	}
	scaled := inTemplate.ReplaceAllStringFunc(annotation, func(found string) string {
		if strings.HasPrefix(found, "le=") {
			return aBound.ReplaceAllStringFunc(found, func(quoted string) string {
				return quoted[:1] + done(s.boundsOf(quoted[1:], Annotation))
			})
		}
		return aDuration.ReplaceAllStringFunc(found, func(d string) string { return done(s.text(d, Annotation)) })
	})
	return scaled, errors.Join(errs...)
}
