package main

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// query parses a PromQL expression, checks that all metrics, labels and values
// in it exist, and returns the labels of its result.
func (c *checker) query(where, text string) (map[string]bool, bool) {
	c.queries++
	text = grafanaRange.ReplaceAllString(text, someRange.String())
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		c.problem(where, "%w in %s", err, text)
		return nil, false
	}
	before := len(c.problems)
	out := c.labelsOf(where, expr)
	return out, len(c.problems) == before
}

// labelsOf are the labels that the value of an expression can have.
func (c *checker) labelsOf(where string, expr parser.Expr) map[string]bool {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return c.selector(where, e)
	case *parser.MatrixSelector:
		return c.labelsOf(where, e.VectorSelector)
	case *parser.SubqueryExpr:
		return c.labelsOf(where, e.Expr)
	case *parser.ParenExpr:
		return c.labelsOf(where, e.Expr)
	case *parser.UnaryExpr:
		return c.labelsOf(where, e.Expr)
	case *parser.StepInvariantExpr:
		return c.labelsOf(where, e.Expr)
	case *parser.AggregateExpr:
		return c.aggregate(where, e)
	case *parser.BinaryExpr:
		return c.binary(where, e)
	case *parser.Call:
		return c.call(where, e)
	}
	return map[string]bool{} // numbers and strings
}

func (c *checker) selector(where string, e *parser.VectorSelector) map[string]bool {
	m, ok := c.known[e.Name]
	if !ok {
		c.problem(where, "no worker exports %s", e.Name)
		return map[string]bool{}
	}
	out := map[string]bool{}
	for l := range m.labels {
		out[l] = true
	}
	for _, match := range e.LabelMatchers {
		if match.Name == model.MetricNameLabel {
			continue
		}
		values, ok := m.labels[match.Name]
		if !ok {
			c.problem(where, "%s has no label %s", e.Name, match.Name)
		}
		c.values(where, e.Name, match, values)
	}
	return out
}

// values checks that a matcher speaks of values that exist, each alternative of
// a regular expression by itself.
func (c *checker) values(where, name string, m *labels.Matcher, known []string) {
	if len(known) == 0 || strings.Contains(m.Value, "$") {
		return // any value, or one that the dashboard's reader chooses
	}
	wanted := []string{m.Value}
	if m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp {
		wanted = strings.Split(m.Value, "|")
	}
	for _, w := range wanted {
		if !slices.Contains(known, w) {
			c.problem(where, "%s: the label %s is never %q, but one of %v", name, m.Name, w, known)
		}
	}
}

func (c *checker) aggregate(where string, e *parser.AggregateExpr) map[string]bool {
	inner := c.labelsOf(where, e.Expr)
	out := map[string]bool{}
	if e.Without {
		for l := range inner {
			out[l] = !slices.Contains(e.Grouping, l)
		}
	}
	for _, l := range e.Grouping {
		if !inner[l] {
			c.problem(where, "%s groups by %s, which is not there", e.Op, l)
		}
		if !e.Without {
			out[l] = true
		}
	}
	return out
}

func (c *checker) binary(where string, e *parser.BinaryExpr) map[string]bool {
	left, right := c.labelsOf(where, e.LHS), c.labelsOf(where, e.RHS)
	if e.VectorMatching == nil || e.LHS.Type() == parser.ValueTypeScalar || e.RHS.Type() == parser.ValueTypeScalar {
		if e.LHS.Type() == parser.ValueTypeScalar {
			return right
		}
		return left
	}
	v := e.VectorMatching
	for _, l := range v.MatchingLabels {
		if !left[l] || !right[l] {
			c.problem(where, "%s matches by %s, which one side lacks", e.Op, l)
		}
	}
	if !v.On && len(v.MatchingLabels) == 0 && e.Op.IsOperator() && !sameLabels(left, right) {
		c.problem(where, "the sides of %s have different labels, so that nothing matches", e.Op)
	}
	if e.Op.IsSetOperator() || v.Card == parser.CardManyToOne {
		return left
	}
	if v.Card == parser.CardOneToMany {
		return right
	}
	out := map[string]bool{}
	for l := range left {
		out[l] = left[l] && slices.Contains(v.MatchingLabels, l) == v.On
	}
	return out
}

func sameLabels(a, b map[string]bool) bool {
	for l := range a {
		if a[l] != b[l] {
			return false
		}
	}
	for l := range b {
		if a[l] != b[l] {
			return false
		}
	}
	return true
}

func (c *checker) call(where string, e *parser.Call) map[string]bool {
	out := map[string]bool{}
	for _, arg := range e.Args {
		for l, has := range c.labelsOf(where, arg) {
			out[l] = out[l] || has
		}
	}
	switch e.Func.Name {
	case "histogram_quantile":
		if !out["le"] {
			c.problem(where, "histogram_quantile of series without le")
		}
		out["le"] = false
	case "absent", "vector", "scalar", "time":
		return map[string]bool{}
	}
	return out
}
