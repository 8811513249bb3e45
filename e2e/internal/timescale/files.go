package timescale

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// Settings of the two configurations that are durations. One that is not named here and holds a duration is an error,
// so that none is missed.
var (
	settings = []string{
		"scrape_interval", "scrape_timeout", "evaluation_interval", "rule_query_offset", "refresh_interval", "out_of_order_time_window",
		"resolve_timeout", "group_wait", "group_interval", "repeat_interval",
	}
	ruleSettings = []string{"interval", "query_offset", "for", "keep_firing_for"}
)

// Rewrite scales a file, which is told by its content: rules, or one of the configurations. It is made to be a
// [stack.Site]'s. Files of any other kind stay as they are.
func (s *Scale) Rewrite(name string, content []byte) ([]byte, error) {
	document, err := parseFile(name, content)
	if document == nil {
		return content, err
	}
	root := document.Content[0]
	before := s.total()
	switch {
	case field(root, "tests") != nil: // of rules
	case field(root, "groups") != nil:
		err = s.rules(root)
	case field(root, "scrape_configs") != nil, field(root, "route") != nil:
		err = s.configuration(root)
	}
	if err != nil {
		return nil, fmt.Errorf("timescale: %s: %w", name, err)
	}
	if s.total() == before {
		return content, nil
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	if err := errors.Join(encoder.Encode(document), encoder.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// parseFile is nil for a file that is no YAML, and for YAML that is no mapping.
func parseFile(name string, content []byte) (*yaml.Node, error) {
	if ext := path.Ext(name); ext != ".yml" && ext != ".yaml" {
		return nil, nil
	}
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		return nil, fmt.Errorf("timescale: %s: %w", name, err)
	}
	if document.Kind != yaml.DocumentNode || document.Content[0].Kind != yaml.MappingNode {
		return nil, nil
	}
	return &document, nil
}

func (s *Scale) total() (n int) {
	for _, changes := range s.changes {
		n += changes
	}
	return n
}

// field is the value of a key of a mapping, or nil.
func field(mapping *yaml.Node, key string) *yaml.Node {
	if mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// rulesOf are the rules of a file.
func rulesOf(root *yaml.Node) (rules []*yaml.Node) {
	groups := field(root, "groups")
	if groups == nil {
		return nil
	}
	for _, group := range groups.Content {
		if of := field(group, "rules"); of != nil {
			rules = append(rules, of.Content...)
		}
	}
	return rules
}

func (s *Scale) readRecords(name string, content []byte) error {
	document, err := parseFile(name, content)
	if document == nil {
		return err
	}
	for _, rule := range rulesOf(document.Content[0]) {
		record, expr := field(rule, "record"), field(rule, "expr")
		if record == nil || expr == nil {
			continue
		}
		parsed, err := parse(expr.Value)
		if err != nil {
			return fmt.Errorf("timescale: %s: %s: %w", name, record.Value, err)
		}
		s.records[record.Value] = parsed
	}
	return nil
}

func (s *Scale) rules(root *yaml.Node) error {
	var errs []error
	for _, group := range field(root, "groups").Content {
		errs = append(errs, s.setAll(group, ruleSettings))
	}
	for _, rule := range rulesOf(root) {
		name := field(rule, "alert")
		if name == nil {
			name = field(rule, "record")
		}
		errs = append(errs, s.setAll(rule, ruleSettings))
		if err := s.set(field(rule, "expr"), s.expression); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name.Value, err))
		}
		annotations := field(rule, "annotations")
		if annotations == nil {
			continue
		}
		for i := 1; i < len(annotations.Content); i += 2 {
			// An alias is of an annotation that stands elsewhere, and is scaled there.
			if annotations.Content[i].Kind == yaml.ScalarNode {
				if err := s.set(annotations.Content[i], s.template); err != nil {
					errs = append(errs, fmt.Errorf("%s: %s: %w", name.Value, annotations.Content[i-1].Value, err))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// setAll scales the settings that a mapping has of those named.
func (s *Scale) setAll(mapping *yaml.Node, names []string) error {
	var errs []error
	for _, name := range names {
		if value := field(mapping, name); value != nil {
			errs = append(errs, s.set(value, func(text string) (string, error) { return s.text(text, RuleSetting) }))
		}
	}
	return errors.Join(errs...)
}

func (s *Scale) set(value *yaml.Node, scaled func(string) (string, error)) error {
	if value == nil {
		return errors.New("a rule without an expression")
	}
	text, err := scaled(value.Value)
	if err != nil {
		return err
	}
	if text != value.Value {
		value.Value, value.Style, value.Tag = text, 0, "!!str"
	}
	return nil
}

// configuration scales every duration at and below node.
func (s *Scale) configuration(node *yaml.Node) error {
	var errs []error
	if node.Kind == yaml.MappingNode {
		for i := 0; i < len(node.Content); i += 2 {
			key, value := node.Content[i].Value, node.Content[i+1]
			if value.Kind != yaml.ScalarNode {
				continue
			}
			if slices.Contains(settings, key) {
				errs = append(errs, s.set(value, func(text string) (string, error) { return s.text(text, Setting) }))
			} else if d, err := model.ParseDuration(value.Value); err == nil && d != 0 {
				errs = append(errs, fmt.Errorf("%s: %s looks like a duration, and is not known here", key, value.Value))
			}
		}
	}
	for _, child := range node.Content {
		errs = append(errs, s.configuration(child))
	}
	return errors.Join(errs...)
}
