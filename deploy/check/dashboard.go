package main

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// board is the part of a dashboard that speaks of metrics.
type board struct {
	Panels     []panel
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
		}
	}
}

type panel struct {
	ID      int
	Title   string
	Type    string
	GridPos struct{ X, Y, W, H int }
	Panels  []panel
	Targets []struct{ Expr, LegendFormat string }
}

var (
	legendLabel = regexp.MustCompile(`\{\{\s*([A-Za-z_]+)\s*\}\}`)
	labelValues = regexp.MustCompile(`^label_values\(([A-Za-z_]+), ([A-Za-z_]+)\)$`)
)

// dashboard checks a Grafana dashboard: its form by Grafana's own schema, its
// queries, legends and variables by the list of metrics, and that no panels lie
// on each other.
func (c *checker) dashboard(file string, raw []byte) {
	plugins.RegisterDefaultPlugins()
	// The library's error may be an empty list.
	if err := new(dashboard.Dashboard).UnmarshalJSONStrict(raw); err != nil && err.Error() != "" {
		c.problem(file, "%w", err)
	}
	var b board
	if err := json.Unmarshal(raw, &b); err != nil {
		c.problem(file, "%w", err)
		return
	}
	for _, v := range b.Templating.List {
		query, _ := v.Query.(string)
		if v.Type != "query" {
			continue
		}
		m := labelValues.FindStringSubmatch(query)
		if m == nil {
			c.problem(file, "variable %s: write label_values(METRIC, LABEL)", v.Name)
			continue
		}
		if known, ok := c.known[m[1]]; !ok {
			c.problem(file, "variable %s: no worker exports %s", v.Name, m[1])
		} else if _, ok := known.labels[m[2]]; !ok {
			c.problem(file, "variable %s: %s has no label %s", v.Name, m[1], m[2])
		}
	}
	ids := map[int]string{}
	var places []panel
	for _, p := range b.Panels {
		for _, p := range append([]panel{p}, p.Panels...) {
			c.panel(fmt.Sprintf("%s: panel %q", file, p.Title), p, ids, places)
			places = append(places, p)
		}
	}
}

func (c *checker) panel(where string, p panel, ids map[int]string, others []panel) {
	if p.Title == "" || ids[p.ID] != "" {
		c.problem(where, "needs a title and an id of its own, not %d", p.ID)
	}
	ids[p.ID] = p.Title
	at := p.GridPos
	if at.W < 1 || at.H < 1 || at.X < 0 || at.X+at.W > 24 {
		c.problem(where, "does not lie within the 24 columns")
	}
	for _, o := range others {
		if b := o.GridPos; at.X < b.X+b.W && b.X < at.X+at.W && at.Y < b.Y+b.H && b.Y < at.Y+at.H {
			c.problem(where, "lies on %q", o.Title)
		}
	}
	if p.Type != "row" && len(p.Targets) == 0 {
		c.problem(where, "shows nothing")
	}
	for _, t := range p.Targets {
		labels, ok := c.query(where, t.Expr)
		for _, m := range legendLabel.FindAllStringSubmatch(t.LegendFormat, -1) {
			if ok && !labels[m[1]] {
				c.problem(where, "the legend names the label %s, which the result lacks", m[1])
			}
		}
	}
}
