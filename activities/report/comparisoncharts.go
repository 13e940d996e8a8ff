package report

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// charts draw the curves of all runs over epochs, one figure for each value.
func (c Comparison) charts() ([]Chart, error) {
	var out []Chart
	for _, f := range []struct {
		title, y string
		value    func(Point) float64
	}{
		{"Generator's loss", "loss", func(p Point) float64 { return p.LossG }},
		{"Discriminator's loss", "loss, real and generated", func(p Point) float64 { return p.LossReal + p.LossFake }},
		{"D(x), real images", "mean output of D", func(p Point) float64 { return p.DReal }},
		{"D(G(z)), generated images", "mean output of D", func(p Point) float64 { return p.DFake }},
	} {
		ch, ok, err := c.curves(f.title, f.y, f.value)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, ch)
		}
	}
	return out, nil
}

// curves draws one value of every run that has curves.
func (c Comparison) curves(title, yLabel string, value func(Point) float64) (Chart, bool, error) {
	p := newPlot("epoch", yLabel)
	ch := Chart{Title: title, Alt: title + " over epochs, for each run."}
	for i, r := range c.Runs {
		t := r.Data.Training
		if t == nil || len(t.Points) == 0 {
			continue
		}
		h := history{t, nil}
		var xys plotter.XYs
		for _, pt := range t.Points {
			if y := value(pt); !math.IsNaN(y) && !math.IsInf(y, 0) {
				xys = append(xys, plotter.XY{X: h.epochs(float64(pt.Step)), Y: y})
			}
		}
		if len(xys) == 0 {
			continue
		}
		line, err := plotter.NewLine(xys)
		if err != nil {
			return ch, false, fmt.Errorf("draw %s: %w", title, err)
		}
		// Three colours, and three more dashed.
		line.Color, line.Width = []color.Color{ink1, ink2, ink3}[i%3], 1.3
		if i >= 3 {
			line.Dashes = []vg.Length{4, 2}
		}
		p.Add(line)
		ch.Legend = append(ch.Legend, Key{Ink: fmt.Sprint(i%3 + 1), Dash: i >= 3, Label: fmt.Sprintf("%c", 'A'+i)})
	}
	if len(ch.Legend) == 0 {
		return ch, false, nil
	}
	var err error
	ch.SVG, err = inline(p, ch.Alt)
	return ch, true, err
}

// Letter is how a run of a comparison is called in its figures.
func (comparisonView) Letter(i int) string { return fmt.Sprintf("%c", 'A'+i) }
