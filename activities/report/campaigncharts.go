package report

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/defectforge/defectforge/model/spec"
)

// maxCharts bounds the figures of a campaign's page.
const maxCharts = 8

// axis is what a chart's runs stand along: the values of a setting, or their
// ranks by the measure itself.
type axis struct {
	key    string // "" for ranks
	log    bool
	values map[int]float64 // by row
}

// axes are those of a sweep's numeric settings with more than one value; one of
// ranks where there are none.
func (c Campaign) axes() []axis {
	var out []axis
	for _, key := range c.varied() {
		a := axis{key: key, values: map[int]float64{}}
		lo, hi := math.Inf(1), math.Inf(-1)
		for i, r := range c.Rows {
			v, err := strconv.ParseFloat(r.setting(key), 64)
			if err != nil {
				a.values = nil
				break
			}
			a.values[i] = v
			lo, hi = min(lo, v), max(hi, v)
		}
		if a.values != nil && hi > lo && key != "seed" {
			a.log = lo > 0 && hi/lo > 20
			out = append(out, a)
		}
	}
	if out == nil {
		out = append(out, axis{})
	}
	return out
}

// charts draw every compared measure along every axis.
func (c Campaign) charts() ([]Chart, error) {
	var out []Chart
	for _, a := range c.axes() {
		for _, measure := range c.columns() {
			if len(out) == maxCharts {
				return out, nil
			}
			chart, ok, err := c.measureChart(measure, a)
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, chart)
			}
		}
	}
	return out, nil
}

// measureChart draws one dot for each run. Measures that do not differ are not
// worth a figure.
func (c Campaign) measureChart(measure string, a axis) (Chart, bool, error) {
	dots := c.dots(measure, a)
	if len(dots) < 2 || dots[0].y == dots[len(dots)-1].y {
		return Chart{}, false, nil
	}
	label := spec.MeasureNamed(measure).Label
	ch := Chart{
		Title: label, Alt: fmt.Sprintf("%s of %d runs, from %s to %s.", label, len(dots), number(dots[0].y), number(dots[len(dots)-1].y)),
		Legend: []Key{{"1", false, "keeps its rule, or has none"}, {"2", false, "does not"}},
	}
	xLabel := "runs, by this measure"
	if a.key != "" {
		ch.Title += " by " + a.key
		xLabel = a.key
		if a.log {
			xLabel = "log10 of " + a.key
		}
	}
	p := newPlot(xLabel, "")
	good, bad := byOutcome(dots, a)
	for _, set := range []struct {
		xys plotter.XYs
		ink color.Color
	}{{good, ink1}, {bad, ink2}} {
		if err := addDots(p, set.xys, set.ink); err != nil {
			return ch, false, err
		}
	}
	if err := c.drawBound(p, measure, &ch); err != nil {
		return ch, false, err
	}
	svg, err := inline(p, ch.Alt)
	ch.SVG = svg
	return ch, true, err
}

// dot is one run's measure.
type dot struct {
	x, y   float64
	passed bool // keeps its rule, or has none
}

// dots are the runs that have a measure, the smallest first.
func (c Campaign) dots(measure string, a axis) []dot {
	var dots []dot
	for i, r := range c.Rows {
		m := r.measure(measure)
		if m == nil || math.IsNaN(m.Value) || math.IsInf(m.Value, 0) {
			continue
		}
		x := a.values[i]
		if a.log {
			x = math.Log10(x)
		}
		dots = append(dots, dot{x, m.Value, m.Outcome != spec.Fail && m.Outcome != spec.Inconclusive})
	}
	slices.SortStableFunc(dots, func(p, q dot) int { return int(math.Copysign(1, p.y-q.y)) })
	return dots
}

// byOutcome are the points of the runs that keep their rule and of those that do
// not. Without an axis they stand side by side.
func byOutcome(dots []dot, a axis) (good, bad plotter.XYs) {
	for i, d := range dots {
		if a.key == "" {
			d.x = float64(i + 1)
		}
		if d.passed {
			good = append(good, plotter.XY{X: d.x, Y: d.y})
		} else {
			bad = append(bad, plotter.XY{X: d.x, Y: d.y})
		}
	}
	return good, bad
}

func addDots(p *plot.Plot, xys plotter.XYs, ink color.Color) error {
	if len(xys) == 0 {
		return nil
	}
	dots, err := plotter.NewScatter(xys)
	if err != nil {
		return fmt.Errorf("draw runs: %w", err)
	}
	dots.GlyphStyle = draw.GlyphStyle{Color: ink, Radius: 2.5, Shape: draw.CircleGlyph{}}
	p.Add(dots)
	return nil
}

// drawBound draws the policy's bound of the measure over the chart's width.
func (c Campaign) drawBound(p *plot.Plot, measure string, ch *Chart) error {
	at, least, ok := c.bound(measure)
	if !ok {
		return nil
	}
	line, err := plotter.NewLine(plotter.XYs{{X: p.X.Min, Y: at}, {X: p.X.Max, Y: at}})
	if err != nil {
		return fmt.Errorf("draw bound: %w", err)
	}
	line.Color, line.Width, line.Dashes = inkMark, 1.5, []vg.Length{4, 3}
	p.Add(line)
	words := "at most "
	if least {
		words = "at least "
	}
	ch.Legend = append(ch.Legend, Key{"mark", true, words + number(at)})
	return nil
}
