package report

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/defectforge/defectforge/activities/step"
)

// history is a training as its charts draw it, over epochs.
type history struct {
	*Training
	rollbacks []step.Rollback
}

// epochs is the place of a step on the charts' axis: epochs, or steps where the
// length of an epoch is not known.
func (h history) epochs(step float64) float64 {
	if h.StepsPerEpoch > 0 {
		return step / float64(h.StepsPerEpoch)
	}
	return step
}

func (h history) plot(yLabel string) *plot.Plot {
	label := "epoch"
	if h.StepsPerEpoch <= 0 {
		label = "step"
	}
	p := newPlot(label, yLabel)
	p.X.Min, p.X.Max = 0, h.epochs(float64(h.Steps))
	return p
}

// curve draws one value of the points; what is no finite number is left out.
func (h history) curve(p *plot.Plot, y func(Point) float64, ink color.Color) error {
	xys := make(plotter.XYs, 0, len(h.Points))
	for _, pt := range h.Points {
		xys = append(xys, plotter.XY{X: h.epochs(float64(pt.Step)), Y: y(pt)})
	}
	return addLine(p, xys, ink)
}

func addLine(p *plot.Plot, xys plotter.XYs, ink color.Color) error {
	finite := make(plotter.XYs, 0, len(xys))
	for _, xy := range xys {
		if !math.IsNaN(xy.Y) && !math.IsInf(xy.Y, 0) {
			finite = append(finite, xy)
		}
	}
	if len(finite) == 0 {
		return nil
	}
	line, err := plotter.NewLine(finite)
	if err != nil {
		return fmt.Errorf("draw line: %w", err)
	}
	line.Color, line.Width = ink, 1.4
	p.Add(line)
	return nil
}

// marks draws where training went on after a rollback, and the chosen
// checkpoint, over the whole height; it comes after the curves, whose range it
// keeps. It returns what the legend and the text for a reader say of them.
func (h history) marks(p *plot.Plot) (keys []Key, words string, err error) {
	draw := func(at float64, ink color.Color, dash []vg.Length) error {
		line, err := plotter.NewLine(plotter.XYs{{X: at, Y: p.Y.Min}, {X: at, Y: p.Y.Max}})
		if err != nil {
			return fmt.Errorf("draw mark: %w", err)
		}
		line.Color, line.Width, line.Dashes = ink, 1.3, dash
		p.Add(line)
		return nil
	}
	if p.Y.Max <= p.Y.Min {
		p.Y.Max = p.Y.Min + 1
	}
	for _, r := range h.rollbacks {
		if h.StepsPerEpoch <= 0 {
			continue
		}
		if err := draw(float64(r.ToEpoch), inkMark, []vg.Length{4, 3}); err != nil {
			return nil, "", err
		}
		words += fmt.Sprintf(" Rolled back to epoch %d.", r.ToEpoch)
	}
	if words != "" {
		keys = append(keys, Key{"mark", true, "rolled back to here"})
	}
	if c := h.Choice; c != nil {
		if err := draw(h.epochs(float64(c.Step)), inkPick, nil); err != nil {
			return nil, "", err
		}
		keys = append(keys, Key{"pick", false, fmt.Sprintf("chosen checkpoint, epoch %d", c.Epoch)})
		words += fmt.Sprintf(" The checkpoint of epoch %d was chosen.", c.Epoch)
	}
	return keys, words, nil
}

// line is one curve of a chart.
type line struct {
	label string
	y     func(Point) float64
	ink   color.Color
}

// chart draws curves over the training's points, and the marks.
func (h history) chart(p *plot.Plot, c Chart, lines []line) (Chart, error) {
	for i, l := range lines {
		if err := h.curve(p, l.y, l.ink); err != nil {
			return c, err
		}
		c.Legend = append(c.Legend, Key{fmt.Sprint(i + 1), false, l.label})
	}
	keys, words, err := h.marks(p)
	if err != nil {
		return c, err
	}
	c.Legend, c.Alt = append(c.Legend, keys...), c.Alt+words
	c.SVG, err = inline(p, c.Alt)
	return c, err
}

func (h history) lossChart() (Chart, error) {
	p := h.plot("loss")
	p.Y.Min = 0
	return h.chart(p, Chart{
		Title: "Losses", Caption: meansOver(h.PointSteps),
		Alt: fmt.Sprintf("Losses over %d steps. Means of the last epoch: discriminator on real images %s, on generated images %s, generator %s.",
			h.Steps, number(h.LossReal), number(h.LossFake), number(h.LossG)),
	}, []line{
		{"D on real images", func(p Point) float64 { return p.LossReal }, ink1},
		{"D on generated images", func(p Point) float64 { return p.LossFake }, ink2},
		{"G", func(p Point) float64 { return p.LossG }, ink3},
	})
}

func (h history) outputChart() (Chart, error) {
	p := h.plot("mean output of D")
	p.Y.Min, p.Y.Max = 0, 1
	return h.chart(p, Chart{
		Title:   "Discriminator's outputs",
		Caption: meansOver(h.PointSteps) + " 1 stands for real, 0 for generated; far apart means that D tells them apart easily.",
		Alt: fmt.Sprintf("Outputs of the discriminator over %d steps. Means of the last epoch: %s on real images, %s on generated ones.",
			h.Steps, number(h.DReal), number(h.DFake)),
	}, []line{
		{"D(x), real images", func(p Point) float64 { return p.DReal }, ink1},
		{"D(G(z)), generated images", func(p Point) float64 { return p.DFake }, ink2},
	})
}

// kidChart draws the comparisons with the selection split.
func (h history) kidChart() (Chart, error) {
	p := h.plot("KID, first evaluation = 1")
	c := Chart{
		Title:   "Distance to the selection images",
		Caption: "Kernel distance (KID) of generated images to real ones that were neither trained on nor held out; lower is better.",
		Alt:     fmt.Sprintf("KID of %d checkpoints.", len(h.Choice.Evaluations)),
		Legend:  []Key{{"1", false, "KID"}},
	}
	p.Y.Min = 0
	var xys plotter.XYs
	for _, e := range h.Choice.Evaluations {
		xys = append(xys, plotter.XY{X: h.epochs(float64(e.Step)), Y: e.KID})
	}
	if err := addLine(p, xys, ink1); err != nil {
		return c, err
	}
	keys, words, err := h.marks(p)
	if err != nil {
		return c, err
	}
	dots, err := plotter.NewScatter(xys)
	if err != nil {
		return c, fmt.Errorf("draw evaluations: %w", err)
	}
	dots.GlyphStyleFunc = func(i int) draw.GlyphStyle {
		if h.Choice.Evaluations[i].Step == h.Choice.Step {
			return draw.GlyphStyle{Color: inkPick, Radius: 4.5, Shape: draw.CircleGlyph{}}
		}
		return draw.GlyphStyle{Color: ink1, Radius: 2, Shape: draw.CircleGlyph{}}
	}
	p.Add(dots)
	c.Legend, c.Alt = append(c.Legend, keys...), c.Alt+words
	c.SVG, err = inline(p, c.Alt)
	return c, err
}

func meansOver(steps int) string {
	if steps <= 1 {
		return "Every step is drawn."
	}
	return fmt.Sprintf("Each point is the mean over %s steps.", number(float64(steps)))
}
