package report

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
	"gonum.org/v1/plot"

	"github.com/defectforge/defectforge/activities/step"
)

func TestCurvesAreMeansOfAllSteps(t *testing.T) {
	for _, n := range []int{1, maxPoints, maxPoints + 1, 1500, 123457} {
		points, per := ramp(n).Sampled()
		require.LessOrEqual(t, len(points), maxPoints)
		require.Equal(t, n, points[len(points)-1].Step)
		var sum float64
		from := 0
		for _, p := range points {
			sum += p.LossReal * float64(p.Step-from)
			from = p.Step
		}
		require.InDelta(t, float64(n-1)/2, sum/float64(n), 1e-6*float64(n)) // the mean of all steps
		require.Equal(t, (n+maxPoints-1)/maxPoints, per)
	}
	points, per := Curves{}.Sampled()
	require.Empty(t, points)
	require.Zero(t, per)
}

func TestChartsUseThePagesColours(t *testing.T) {
	d, pics := complete(t, 120)
	page, root := render(t, d, pics)
	svgs := tags(root, "svg")
	charts := all(root, func(n *html.Node) bool { return n.Data == "svg" && attr(n, "role") == "img" })
	require.Len(t, charts, 4)
	require.Len(t, svgs, 4+len(d.Decision.Rules)+len(d.Utility.Gains))
	for _, svg := range charts {
		require.NotEmpty(t, attr(svg, "aria-label"))
		require.Equal(t, "img", attr(svg, "role"))
		require.NotEmpty(t, tags(svg, "path"))
	}
	from := strings.Index(page, "<svg")
	require.NotContains(t, page[from:strings.LastIndex(page, "</svg>")], ":#0", "a stand-in colour was left")
	for _, name := range []string{"text", "grid", "mark", "tail", "pick", "1", "2", "3"} {
		require.Contains(t, page, "var(--ink-"+name+")")
		require.Contains(t, page, "--ink-"+name+": #")
	}
}

func TestChartsBearOddNumbers(t *testing.T) {
	for name, set := range map[string]struct {
		d          Distances
		candidates []float64
	}{
		"all equal":     {Distances{RejectAt: 3, TailAt: 3, RealNearest: []float64{3, 3}}, []float64{3}},
		"no candidates": {Distances{RejectAt: 1, TailAt: 2, RealNearest: []float64{1, 2, 3}}, nil},
		"no real":       {Distances{}, []float64{0, 1}},
		"far apart":     {Distances{RejectAt: 1e-9, TailAt: 1e9, RealNearest: []float64{5}}, []float64{7}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := distanceChart(&set.d, set.candidates)
			require.NoError(t, err)
			require.NotContains(t, string(c.SVG), "NaN")
			require.NotContains(t, string(c.SVG), "Inf")
		})
	}
	odd := history{&Training{
		StepsPerEpoch: 1, Steps: 2, Points: []Point{{Step: 1, LossReal: math.NaN(), LossG: math.Inf(1)}, {Step: 2}},
		Choice: &Choice{Evaluations: []step.Evaluation{{Epoch: 1, Step: 1, KID: -0.5}}},
	}, []step.Rollback{{ToEpoch: 0}}}
	for _, draw := range []func() (Chart, error){odd.lossChart, odd.outputChart, odd.kidChart, history{&Training{}, nil}.lossChart} {
		c, err := draw()
		require.NoError(t, err)
		require.NotContains(t, string(c.SVG), "NaN")
		require.NotContains(t, string(c.SVG), "Inf")
	}
}

func TestHistogramHoldsEveryValue(t *testing.T) {
	values := []float64{0, 0.1, 1, 1.999, 2}
	h := histogram(values, 0, 2, 2)
	require.InDelta(t, 40, h.Bins[0].Weight, 1e-9)
	require.InDelta(t, 60, h.Bins[1].Weight, 1e-9)
}

func TestPageStaysSmall(t *testing.T) {
	d, pics := complete(t, 120)
	for i := range pics.Candidates {
		pics.Candidates[i] = picture(t, 160, 160, i) // noise, the worst for PNG
	}
	for sha := range pics.Real {
		pics.Real[sha] = picture(t, 160, 160, len(sha))
	}
	page, root := render(t, d, pics)
	require.Less(t, len(page), 4<<20)
	imgs := tags(root, "img")
	src := attr(imgs[0], "src")
	require.True(t, strings.HasPrefix(src, "data:image/jpeg;base64,"))
	cfg, err := jpeg.DecodeConfig(base64.NewDecoder(base64.StdEncoding, strings.NewReader(strings.TrimPrefix(src, "data:image/jpeg;base64,"))))
	require.NoError(t, err)
	require.Equal(t, 160, cfg.Width)
}

func TestLongListsAreCutOnThePageOnly(t *testing.T) {
	d, pics := complete(t, 12)
	for i := range maxRows + 7 {
		d.Intake.Quarantine = append(d.Intake.Quarantine, Quarantine{fmt.Sprintf("x%d", i), "r"})
	}
	_, root := render(t, d, pics)
	require.Contains(t, text(byID(t, root, "intake")), "And 9 more in the JSON report.")
	raw, err := d.JSON()
	require.NoError(t, err)
	var twin Data
	require.NoError(t, json.Unmarshal(raw, &twin))
	require.Len(t, twin.Intake.Quarantine, maxRows+9)
}

func TestABrokenPictureIsAnError(t *testing.T) {
	d, pics := complete(t, 2)
	pics.Candidates[1] = []byte("no PNG")
	_, err := d.HTML(pics)
	require.ErrorContains(t, err, "candidate 1")
	d, pics = complete(t, 2)
	pics.Real["t0"] = []byte("no PNG")
	_, err = d.HTML(pics)
	require.ErrorContains(t, err, "real image t0")
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1500: "1,500", -3: "-3", 0.0416666: "0.04167", 0.09: "0.09", 12.5: "12.5", 999.96: "1000",
		1234.5: "1234", 1e-7: "1.000e-07", 12345678.5: "1.235e+07",
	} {
		require.Equal(t, want, number(v), "%v", v)
	}
	for v, want := range map[float64]string{0.04: "0.0 s", 9.94: "9.9 s", 59.7: "1 min 0 s", 411.7: "6 min 52 s", 7380: "2 h 3 min"} {
		require.Equal(t, want, duration(v))
	}
}

func TestSettingsKeepTheirOrderAndNames(t *testing.T) {
	type inner struct {
		B uint64    `json:"b"`
		L []float64 `json:"l"`
	}
	got, err := flatten(struct {
		Z string `json:"z"`
		A inner  `json:"a"`
	}{"x", inner{1 << 63, []float64{1, 2}}})
	require.NoError(t, err)
	require.Equal(t, []Setting{
		{"z", json.RawMessage(`"x"`)}, {"a.b", json.RawMessage(`9223372036854775808`)}, {"a.l", json.RawMessage(`[1,2]`)},
	}, got)
}

func TestTrainingNumbersAreTheLastEpochs(t *testing.T) {
	var tr Training
	tr.Follow(ramp(1500), 20)
	require.Equal(t, int64(1500), tr.Steps)
	kept := Training{Steps: 7, LossG: 3}
	kept.Follow(Curves{}, 20)
	require.Equal(t, Training{Steps: 7, LossG: 3, StepsPerEpoch: 20, Points: []Point{}}, kept)
}

// lineAt is the horizontal place of the first line of a chart in the given ink.
func lineAt(t *testing.T, c Chart, ink string) string {
	t.Helper()
	at := regexp.MustCompile(`<path d="M([0-9.]+),[^"]*"\s+style="[^"]*stroke:var\(--ink-` + ink + `\)`).FindStringSubmatch(string(c.SVG))
	require.NotEmpty(t, at, "a line in ink %s", ink)
	return at[1]
}

func TestMarksStandAtTheirEpochs(t *testing.T) {
	at := func(epoch int, steps int64) Chart {
		tr := &Training{StepsPerEpoch: 20, Steps: 1500, Choice: &Choice{Epoch: 40, Step: steps}}
		c, err := history{tr, []step.Rollback{{ToEpoch: epoch}}}.outputChart()
		require.NoError(t, err)
		return c
	}
	same := at(40, 800)
	require.Equal(t, lineAt(t, same, "pick"), lineAt(t, same, "mark"))
	other := at(41, 800)
	require.NotEqual(t, lineAt(t, other, "pick"), lineAt(t, other, "mark"))
}

func TestCandidatesAreRankedByTheirOwnThreshold(t *testing.T) {
	near := func(i int, at float64) Candidate { return Candidate{Index: i, Nearest: []Neighbour{{Distance: at}}} }
	turned := near(3, 30)
	turned.Match = &Neighbour{Distance: 16, Transform: "mirrored"}
	d := Data{
		Samples:  &Samples{Checked: true, Images: []Candidate{{Index: 0}, near(1, 9), near(2, 7), turned}},
		Distance: &Distances{RejectAt: 10, TransformedRejectAt: 20},
	}
	var order []int
	for _, c := range d.shown().rejected {
		order = append(order, c.Index)
	}
	require.Equal(t, []int{2, 3, 1, 0}, order)
}

func TestTicksAreShort(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	labels := func(least, most float64) (out []string) {
		for _, tick := range (shortTicks{}).Ticks(least, most) {
			if tick.Label != "" {
				out = append(out, tick.Label)
			}
		}
		return out
	}
	require.Equal(t, []string{"0", "250", "500", "750"}, labels(0, 750))
	require.Equal(t, []string{"0.0", "2.5", "5.0", "7.5"}, labels(0, 7.9))
	require.Equal(t, []string{"0.0", "0.5", "1.0"}, labels(0, 1))
	for range 20_000 { // whatever the axis, a label says what it said
		least := random.NormFloat64() * math.Pow(10, float64(random.IntN(14)-6))
		most := least + math.Pow(10, float64(random.IntN(14)-6))
		short := shortTicks{}.Ticks(least, most)
		for i, tick := range (plot.DefaultTicks{}).Ticks(least, most) {
			if tick.Label != "" {
				require.Equal(t, parsed(t, tick.Label), parsed(t, short[i].Label), tick.Label)
			}
		}
	}
}

func parsed(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err)
	return v
}
