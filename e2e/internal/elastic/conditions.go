package elastic

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The conditions of a query's three forms, each as `field == value`, `field != value` or `field exists`, sorted; those
// on the time left out, which the forms put differently.

// Conditions are those of the search.
func (s Search) Conditions() (all []string, err error) {
	for i, clauses := range [][]Clause{s.Query.Bool.Filter, s.Query.Bool.MustNot} {
		for _, c := range clauses {
			switch {
			case c.field() == "@timestamp" && c.Range != nil && i == 0:
			case c.Term != nil:
				all = append(all, fmt.Sprintf("%s %s %s", c.field(), []string{"==", "!="}[i], c.Term[c.field()]))
			case c.Exists.Field != "" && i == 0:
				all = append(all, c.Exists.Field+" exists")
			default:
				return nil, fmt.Errorf("not a condition of a known kind: %+v", c)
			}
		}
	}
	slices.Sort(all)
	return all, nil
}

var kqlCondition = regexp.MustCompile(`^(not )?([\w.]+) : (?:"([^"]+)"|\*)$`)

// KQLConditions are those of a line of KQL.
func KQLConditions(text string) (all []string, err error) {
	for part := range strings.SplitSeq(text, " and ") {
		found := kqlCondition.FindStringSubmatch(part)
		switch {
		case found == nil || found[1] != "" && found[3] == "":
			return nil, fmt.Errorf("not a condition of a known kind: %s", part)
		case found[3] == "":
			all = append(all, found[2]+" exists")
		case found[1] != "":
			all = append(all, found[2]+" != "+found[3])
		default:
			all = append(all, found[2]+" == "+found[3])
		}
	}
	slices.Sort(all)
	return all, nil
}

var (
	esqlCondition = regexp.MustCompile(`^([\w.]+) (?:(==|!=) "([^"]+)"|IS NOT NULL)$`)
	esqlTime      = regexp.MustCompile(`^@timestamp (>=|<=) (NOW\(\)|TO_DATETIME\("TIME"\))( - \d+ (hours|minutes))?$`)
	esqlStep      = regexp.MustCompile(`DATE_TRUNC\(\d+ minutes, (@timestamp)\)`)
	esqlAlias     = regexp.MustCompile(`^(\w+) = (\w+)\((.+)\)$`)
)

// ESQLConditions are those of a query in ES|QL, and the fields that its further commands name. It knows FROM, WHERE,
// STATS, KEEP, SORT and LIMIT, in this order.
func ESQLConditions(text string) (index string, all, fields []string, err error) {
	order := []string{"FROM", "WHERE", "STATS", "KEEP", "SORT", "LIMIT"}
	named := map[string]bool{}
	for command := range strings.SplitSeq(strings.Join(strings.Fields(text), " "), " | ") {
		name, rest, _ := strings.Cut(command, " ")
		at := slices.Index(order, name)
		if at < 0 {
			return "", nil, nil, fmt.Errorf("%s is not known, or not in its place: %s", name, text)
		}
		order = order[at+1:]
		switch name {
		case "FROM":
			index = rest
		case "WHERE":
			for part := range strings.SplitSeq(rest, " AND ") {
				found := esqlCondition.FindStringSubmatch(part)
				switch {
				case esqlTime.MatchString(part):
				case found == nil:
					return "", nil, nil, fmt.Errorf("not a condition of a known kind: %s", part)
				case found[2] == "":
					all = append(all, found[1]+" exists")
				default:
					all = append(all, strings.Join(found[1:], " "))
				}
			}
		case "STATS":
			numbers, by, _ := strings.Cut(esqlStep.ReplaceAllString(rest, "DATE_TRUNC($1)"), " BY ")
			for part := range strings.SplitSeq(numbers+", "+by, ", ") {
				found := esqlAlias.FindStringSubmatch(part)
				switch {
				case found == nil:
					fields = append(fields, part)
				case !slices.Contains([]string{"COUNT", "SUM", "DATE_TRUNC"}, found[2]):
					return "", nil, nil, fmt.Errorf("%s is not known: %s", found[2], part)
				case found[3] != "*":
					fields = append(fields, found[3])
				}
				if found != nil {
					named[found[1]] = true
				}
			}
		case "KEEP", "SORT":
			for part := range strings.SplitSeq(rest, ", ") {
				if field := strings.TrimSuffix(part, " DESC"); !named[field] {
					fields = append(fields, field)
				}
			}
		}
	}
	slices.Sort(all)
	return index, all, fields, nil
}
