package timescale

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// unit is the power of time in what an expression gives: 1 of seconds, -1 of calls a second, 0 of a share or a count.
type unit struct {
	power int
	any   bool // a number that stands for itself, and has the unit of what it is compared with
}

var (
	none    = unit{}
	seconds = unit{power: 1}
	number  = unit{any: true}
)

func (u unit) times(v unit, sign int) unit {
	return unit{power: u.power + sign*v.power, any: u.any && v.any}
}

// Functions by what they make of the unit of the last argument that is no plain number.
var functions = map[string]func(unit) unit{}

func init() {
	keep := func(u unit) unit { return u }
	count := func(unit) unit { return none }
	perSecond := func(u unit) unit { return unit{power: u.power - 1} }
	for names, f := range map[string]func(unit) unit{
		"abs ceil floor round sgn sort sort_desc label_replace label_join clamp clamp_min clamp_max vector scalar delta idelta increase " +
			"avg_over_time min_over_time max_over_time sum_over_time last_over_time first_over_time quantile_over_time stddev_over_time": keep,
		"count_over_time present_over_time absent absent_over_time changes resets": count,
		"rate irate deriv": perSecond,
		"time timestamp histogram_quantile histogram_sum": func(unit) unit { return seconds },
	} {
		for name := range strings.FieldsSeq(names) {
			functions[name] = f
		}
	}
}

// parse parses an expression.
func parse(text string) (parser.Expr, error) {
	return parser.NewParser(parser.Options{}).ParseExpr(text)
}

// expression scales an expression, and leaves the text alone where nothing changes.
func (s *Scale) expression(text string) (string, error) {
	expr, err := parse(text)
	if err != nil {
		return "", err
	}
	before := expr.String()
	if _, err := s.scale(expr); err != nil {
		return "", fmt.Errorf("%w, in: %s", err, before)
	}
	if after := expr.String(); after != before {
		return after, nil
	}
	return text, nil
}

// scale scales expr in place and gives its unit.
func (s *Scale) scale(expr parser.Expr) (u unit, err error) {
	switch e := expr.(type) {
	case *parser.NumberLiteral:
		if e.Duration {
			return seconds, s.adopt(e, seconds)
		}
		return number, nil
	case *parser.StringLiteral:
		return number, nil
	case *parser.ParenExpr:
		return s.scale(e.Expr)
	case *parser.UnaryExpr:
		return s.scale(e.Expr)
	case *parser.VectorSelector:
		return s.selector(e)
	case *parser.MatrixSelector:
		if e.RangeExpr != nil {
			return u, errors.New("a range that is an expression")
		}
		if e.Range, err = s.duration(e.Range, Range); err != nil {
			return u, err
		}
		return s.scale(e.VectorSelector)
	case *parser.SubqueryExpr:
		return s.subquery(e)
	case *parser.AggregateExpr:
		return s.aggregate(e)
	case *parser.Call:
		return s.call(e)
	case *parser.BinaryExpr:
		return s.binary(e)
	}
	return u, fmt.Errorf("%T is not known here", expr)
}

func (s *Scale) selector(e *parser.VectorSelector) (u unit, err error) {
	if e.OriginalOffsetExpr != nil || e.Timestamp != nil {
		return u, errors.New("an @ or an offset that is an expression")
	}
	if e.OriginalOffset, err = s.duration(e.OriginalOffset, Offset); err != nil {
		return u, err
	}
	if u, err = s.unitOf(e.Name); err != nil {
		return u, err
	}
	for i, m := range e.LabelMatchers {
		if m.Name != labels.BucketLabel {
			continue
		}
		value, err := s.boundsOf(m.Value, Bound)
		if err != nil {
			return u, err
		}
		if e.LabelMatchers[i], err = labels.NewMatcher(m.Type, m.Name, value); err != nil {
			return u, err
		}
	}
	return u, nil
}

// unitOf is the unit of a metric: by what is recorded as it, or else by its name.
func (s *Scale) unitOf(metric string) (unit, error) {
	if u, known := s.units[metric]; known {
		return u, nil
	}
	if expr, recorded := s.records[metric]; recorded {
		delete(s.records, metric) // it may not lead to itself
		u, err := (&Scale{By: 1, Bounds: s.Bounds, records: s.records, units: s.units, bounds: map[string]string{}, changes: map[Place]int{}}).scale(expr)
		if err != nil {
			return u, fmt.Errorf("recorded as %s: %w", metric, err)
		}
		s.units[metric] = u
		return u, nil
	}
	base := strings.TrimSuffix(strings.TrimSuffix(metric, "_sum"), "_total")
	switch {
	case metric == "":
		return none, errors.New("a selector without the name of a metric")
	case strings.HasSuffix(base, "_seconds"), strings.HasSuffix(base, "_time"):
		return seconds, nil
	}
	return none, nil
}

func (s *Scale) subquery(e *parser.SubqueryExpr) (u unit, err error) {
	if e.RangeExpr != nil || e.StepExpr != nil || e.OriginalOffsetExpr != nil || e.Timestamp != nil {
		return u, errors.New("a subquery with an @, or with a duration that is an expression")
	}
	if e.Step == 0 {
		// It would be the global interval of evaluation, of which there is no telling here.
		return u, errors.New("a subquery without a step")
	}
	if e.Range, err = s.duration(e.Range, Range); err != nil {
		return u, err
	}
	if e.Step, err = s.duration(e.Step, Step); err != nil {
		return u, err
	}
	if e.OriginalOffset, err = s.duration(e.OriginalOffset, Offset); err != nil {
		return u, err
	}
	return s.scale(e.Expr)
}

func (s *Scale) aggregate(e *parser.AggregateExpr) (u unit, err error) {
	if u, err = s.scale(e.Expr); err != nil {
		return u, err
	}
	switch e.Op {
	case parser.COUNT, parser.GROUP, parser.COUNT_VALUES:
		return none, nil
	case parser.SUM, parser.MIN, parser.MAX, parser.AVG, parser.TOPK, parser.BOTTOMK, parser.QUANTILE, parser.STDDEV:
		return u, nil
	}
	return u, fmt.Errorf("%v is not known here", e.Op)
}

func (s *Scale) call(e *parser.Call) (u unit, err error) {
	f, known := functions[e.Func.Name]
	if !known {
		return u, fmt.Errorf("%s is not known here", e.Func.Name)
	}
	u = number
	var literals []parser.Expr
	for _, arg := range e.Args {
		v, err := s.scale(arg)
		switch {
		case err != nil:
			return v, err
		case v.any:
			literals = append(literals, arg)
		default:
			u = v
		}
	}
	if strings.HasPrefix(e.Func.Name, "clamp") || e.Func.Name == "round" { // their numbers are of the unit of what they clamp
		for _, arg := range literals {
			if err := s.adopt(arg, u); err != nil {
				return u, err
			}
		}
	}
	if e.Func.Name == "vector" {
		return u, nil
	}
	return f(u), nil
}

func (s *Scale) binary(e *parser.BinaryExpr) (u unit, err error) {
	left, err := s.scale(e.LHS)
	if err != nil {
		return u, err
	}
	right, err := s.scale(e.RHS)
	if err != nil {
		return u, err
	}
	switch e.Op {
	case parser.MUL:
		return left.times(right, 1), nil
	case parser.DIV:
		return left.times(right, -1), nil
	case parser.LAND, parser.LUNLESS:
		return left, nil
	case parser.POW, parser.ATAN2:
		if left.power != 0 || right.power != 0 {
			return u, fmt.Errorf("%v of what has time in its unit", e.Op)
		}
		return none, nil
	}
	// All others put like beside like.
	switch {
	case left.any && right.any:
		u = number
	case left.any:
		u, err = right, s.adopt(e.LHS, right)
	case right.any:
		u, err = left, s.adopt(e.RHS, left)
	case left != right:
		err = fmt.Errorf("%v puts a power of time of %d beside one of %d", e.Op, left.power, right.power)
	default:
		u = left
	}
	if e.Op.IsComparisonOperator() && e.ReturnBool {
		u = none
	}
	return u, err
}

// adopt scales a number that turned out to have a unit.
func (s *Scale) adopt(expr parser.Expr, u unit) error {
	switch e := expr.(type) {
	case *parser.NumberLiteral:
		scaled := e.Val * math.Pow(s.By, float64(u.power))
		if scaled != e.Val {
			s.changes[Number]++
		}
		e.Val = scaled
		return nil
	case *parser.ParenExpr:
		return s.adopt(e.Expr, u)
	case *parser.UnaryExpr:
		return s.adopt(e.Expr, u)
	case *parser.Call: // vector(number), scalar(vector(number))
		if len(e.Args) == 1 {
			return s.adopt(e.Args[0], u)
		}
	case *parser.BinaryExpr:
		switch e.Op {
		case parser.ADD, parser.SUB:
			return errors.Join(s.adopt(e.LHS, u), s.adopt(e.RHS, u))
		case parser.MUL, parser.DIV:
			return s.adopt(e.LHS, u)
		}
	}
	return fmt.Errorf("cannot tell the unit of the number %s", expr)
}
