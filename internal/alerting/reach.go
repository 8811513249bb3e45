package alerting

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// reach finds out how far back expressions look, by the ranges, subqueries and offsets in them.
type reach struct {
	parser  parser.Parser
	records map[string]string        // what is recorded: the expressions by name
	of      map[string]time.Duration // by metric, the farthest that any expression has looked
}

// look gives how far back an expression looks. What it reads and a rule records is followed, but not into what it stands
// in (within).
func (r *reach) look(text string, within ...string) (farthest time.Duration, err error) {
	expr, err := r.parser.ParseExpr(text)
	if err != nil {
		return 0, err
	}
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		selector, is := node.(*parser.VectorSelector)
		if !is || err != nil {
			return err
		}
		back := max(0, selector.OriginalOffset)
		for _, around := range path {
			switch a := around.(type) {
			case *parser.MatrixSelector:
				back += a.Range
			case *parser.SubqueryExpr:
				back += a.Range + max(0, a.OriginalOffset)
			}
		}
		r.of[selector.Name] = max(r.of[selector.Name], back)
		if recorded, is := r.records[selector.Name]; is && !slices.Contains(within, selector.Name) {
			var further time.Duration
			further, err = r.look(recorded, append(within, selector.Name)...)
			back += further
		}
		farthest = max(farthest, back)
		return err
	})
	return farthest, err
}
