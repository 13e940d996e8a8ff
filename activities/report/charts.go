package report

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The charts are drawn in colours that stand for the page's own, so that one
// SVG serves light, dark and print. None is black, which the SVG writer elides.
var (
	inkText = color.NRGBA{R: 1, G: 1, B: 1, A: 255}
	inkGrid = color.NRGBA{R: 2, G: 2, B: 2, A: 255}
	inkMark = color.NRGBA{R: 3, G: 3, B: 3, A: 255}
	inkTail = color.NRGBA{R: 4, G: 4, B: 4, A: 255}
	ink1    = color.NRGBA{R: 5, G: 5, B: 5, A: 255}
	ink2    = color.NRGBA{R: 6, G: 6, B: 6, A: 255}
	ink3    = color.NRGBA{R: 7, G: 7, B: 7, A: 255}
	fill1   = color.NRGBA{R: 8, G: 8, B: 8, A: 255} // ink1, translucent
	fill2   = color.NRGBA{R: 9, G: 9, B: 9, A: 255} // ink2, translucent
	inkPick = color.NRGBA{R: 10, G: 10, B: 10, A: 255}
)

// pageColours turns the stand-ins inside style attributes into CSS variables.
var pageColours = strings.NewReplacer(
	":#010101", ":var(--ink-text)", ":#020202", ":var(--ink-grid)",
	":#030303", ":var(--ink-mark)", ":#040404", ":var(--ink-tail)",
	":#050505", ":var(--ink-1)", ":#060606", ":var(--ink-2)", ":#070707", ":var(--ink-3)",
	":#080808", ":var(--ink-1);fill-opacity:.35", ":#090909", ":var(--ink-2);fill-opacity:.35",
	":#0A0A0A", ":var(--ink-pick)",
)

// Chart size in points. It fits a phone's column at scale 1, and so keeps its
// text readable there; wider screens put charts side by side.
const (
	chartWidth  = 340 * vg.Length(1)
	chartHeight = 215 * vg.Length(1)
	chartText   = 11
)

// Chart is one figure of the page.
type Chart struct {
	Title   string
	Caption string
	Alt     string
	SVG     template.HTML
	Legend  []Key
}

// Key is one line of a chart's legend.
type Key struct {
	Ink   string // the CSS variable's suffix: 1, 2, 3, mark, tail, pick
	Dash  bool
	Label string
}

func newPlot(xLabel, yLabel string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Label.Text, p.Y.Label.Text = xLabel, yLabel
	sans := font.Font{Typeface: "Liberation", Variant: "Sans", Size: chartText}
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Tick.Color = inkGrid, inkGrid
		a.Label.TextStyle.Color, a.Tick.Label.Color = inkText, inkText
		a.Label.TextStyle.Font, a.Tick.Label.Font = sans, sans
		a.Tick.Length = 3
		a.Tick.Marker = shortTicks{}
		a.Label.Padding = 3
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	grid.Horizontal.Color = inkGrid
	grid.Horizontal.Width = 0.5
	p.Add(grid)
	return p
}

// shortTicks are the library's, without the zeros behind the point that all
// labels end in: epochs are whole numbers.
type shortTicks struct{}

func (shortTicks) Ticks(least, most float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(least, most)
	digits := 0 // behind the point
	for _, t := range ticks {
		_, fraction, ok := strings.Cut(t.Label, ".")
		if t.Label != "" && (!ok || strings.Contains(fraction, "e")) {
			return ticks
		}
		digits = max(digits, len(strings.TrimRight(fraction, "0")))
	}
	for i := range ticks {
		whole, fraction, _ := strings.Cut(ticks[i].Label, ".")
		if ticks[i].Label = whole; digits > 0 && whole != "" {
			ticks[i].Label += "." + fraction[:min(digits, len(fraction))]
		}
	}
	return ticks
}

// svgHead matches what the writer puts before the drawing: an XML prologue and
// the svg element with a fixed size.
var svgHead = regexp.MustCompile(`(?s)^.*?<svg[^>]*>`)

// inline renders p as an SVG element for the page. Nothing that a user named
// may enter p: it is written as is.
func inline(p *plot.Plot, alt string) (template.HTML, error) {
	canvas := vgsvg.New(chartWidth, chartHeight)
	p.Draw(draw.New(canvas))
	var buf bytes.Buffer
	if _, err := canvas.WriteTo(&buf); err != nil {
		return "", fmt.Errorf("draw chart: %w", err)
	}
	body := svgHead.ReplaceAllString(buf.String(), "")
	head := fmt.Sprintf(`<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`,
		chartWidth.Points(), chartHeight.Points(), template.HTMLEscapeString(alt))
	return template.HTML(head + pageColours.Replace(body)), nil
}

// distanceChart draws the candidates' nearest distances over the real images'
// own, as shares, because the two sets differ in size.
func distanceChart(d *Distances, candidates []float64) (Chart, error) {
	p := newPlot("distance to the nearest real image", "share of the set, %")
	lo, hi := span(d.RealNearest, candidates, []float64{d.RejectAt, d.TailAt})
	const bins = 28
	top := 0.0
	for _, s := range []struct {
		values []float64
		ink    color.Color
		fill   color.Color
	}{{d.RealNearest, ink1, fill1}, {candidates, ink2, fill2}} {
		h := histogram(s.values, lo, hi, bins)
		for _, b := range h.Bins {
			top = max(top, b.Weight)
		}
		h.FillColor, h.LineStyle.Color, h.LineStyle.Width = s.fill, s.ink, 1
		p.Add(h)
	}
	if err := addThresholds(p, d, top*1.05); err != nil {
		return Chart{}, err
	}
	c := Chart{
		Title: "Distance to the nearest real image",
		Caption: "A real image's distance is to the nearest other real image. Candidates left of the red line are nearer to a real image " +
			"than nearly all real images are to each other.",
		Alt: fmt.Sprintf("Histogram of nearest distances of %d candidates and %d real images. "+
			"Rejection below %s, tail test below %s, nearest candidate at %s.",
			len(candidates), len(d.RealNearest), number(d.RejectAt), number(d.TailAt), number(d.Nearest)),
		Legend: []Key{
			{"1", false, "real images, leave-one-out"}, {"2", false, "candidates"},
			{"mark", true, "rejected below " + number(d.RejectAt)},
			{"tail", true, "tail test below " + number(d.TailAt)},
		},
	}
	var err error
	c.SVG, err = inline(p, c.Alt)
	return c, err
}

// addThresholds draws the distances below which candidates are rejected, and
// counted as the tail.
func addThresholds(p *plot.Plot, d *Distances, height float64) error {
	for _, m := range []struct {
		at  float64
		ink color.Color
	}{{d.RejectAt, inkMark}, {d.TailAt, inkTail}} {
		line, err := plotter.NewLine(plotter.XYs{{X: m.at, Y: 0}, {X: m.at, Y: height}})
		if err != nil {
			return fmt.Errorf("draw thresholds: %w", err)
		}
		line.Color, line.Width, line.Dashes = m.ink, 1.8, []vg.Length{4, 3}
		p.Add(line)
	}
	return nil
}

// span is the smallest range over all values, never empty.
func span(sets ...[]float64) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, set := range sets {
		for _, v := range set {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	if hi <= lo {
		return lo - 0.5, lo + 0.5
	}
	return lo, hi
}

// histogram counts values in equal bins over [lo, hi], as percentages.
func histogram(values []float64, lo, hi float64, bins int) *plotter.Histogram {
	h := &plotter.Histogram{Width: (hi - lo) / float64(bins), Bins: make([]plotter.HistogramBin, bins)}
	for i := range h.Bins {
		h.Bins[i].Min = lo + float64(i)*h.Width
		h.Bins[i].Max = lo + float64(i+1)*h.Width
	}
	for _, v := range values {
		i := min(int((v-lo)/h.Width), bins-1)
		h.Bins[i].Weight += 100 / float64(len(values))
	}
	return h
}
