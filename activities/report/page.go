package report

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/defectforge/defectforge/activities/step"
)

//go:embed templates
var files embed.FS

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"num":      exact,
	"duration": duration,
	"bytes":    func(n int64) string { return humanize.IBytes(uint64(n)) },
	"mark":     mark,
}).ParseFS(files, "templates/page.html"))

// How much of each list the page shows; the JSON twin has all of it.
const (
	maxAccepted = 64   // pictures of accepted candidates
	maxRejected = 24   // pictures of rejected ones
	maxClosest  = 12   // rows of the open list of nearest neighbours
	maxRows     = 1000 // rows of any other table
)

// view is what the template sees: Data, and what is worked out from it.
type view struct {
	Data
	Style      template.CSS
	Verdict    string
	Headline   string
	Intake     *intakeView
	Grid       []tile
	Rejected   []tile
	GridNote   string
	Closest    []Candidate
	Sheet      template.URL
	SheetWidth int
	Training   *Training
	Facts      map[string][]fact
	Charts     map[string]Chart
	Times      []timeRow
	TotalTime  float64
	Rows       []Candidate
	RowsLeft   int
	IsRelease  bool
}

type intakeView struct {
	Quarantine, Duplicates         bool
	QuarantineRows                 []Quarantine
	DuplicateRows                  []Duplicate
	QuarantineLeft, DuplicatesLeft int
}

// fact is a labelled number; ID names its element on the page.
type fact struct {
	ID, Label string
	Value     float64
}

// tile is one picture of the grid.
type tile struct {
	Candidate
	Src      template.URL
	Distance *float64 // to the nearest real image
}

type timeRow struct {
	Stage   string
	Seconds float64
	Percent int // of the longest stage
}

// Shown names the candidates whose pictures the page shows, by index.
func (d Data) Shown() []int {
	accepted, rejected := d.shown()
	out := make([]int, 0, len(accepted)+len(rejected))
	for _, c := range slices.Concat(accepted, rejected) {
		out = append(out, c.Index)
	}
	return out
}

// shown picks accepted candidates by index, and rejected ones by distance,
// the likeliest copies first. Unchecked candidates stand with the accepted.
func (d Data) shown() (accepted, rejected []Candidate) {
	if d.Samples == nil {
		return nil, nil
	}
	for _, c := range d.Samples.Images {
		if c.Accepted || !d.Samples.Checked {
			accepted = append(accepted, c)
		} else {
			rejected = append(rejected, c)
		}
	}
	sortByDistance(rejected)
	return accepted[:min(len(accepted), maxAccepted)], rejected[:min(len(rejected), maxRejected)]
}

func sortByDistance(cs []Candidate) {
	slices.SortStableFunc(cs, func(a, b Candidate) int {
		if len(a.Nearest) == 0 || len(b.Nearest) == 0 {
			return cmp.Compare(len(b.Nearest), len(a.Nearest)) // unknown distances last
		}
		return cmp.Compare(a.Nearest[0].Distance, b.Nearest[0].Distance)
	})
}

// HTML renders the standalone page. Equal input gives equal bytes.
func (d Data) HTML(p Pictures) ([]byte, error) {
	d.Missing = d.missing()
	v, err := newView(d, p)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := page.Execute(&buf, v); err != nil {
		return nil, fmt.Errorf("render report: %w", err)
	}
	return buf.Bytes(), nil
}

func newView(d Data, p Pictures) (*view, error) {
	style, err := files.ReadFile("templates/style.css")
	if err != nil {
		return nil, fmt.Errorf("read style: %w", err)
	}
	v := &view{
		Data: d, Style: template.CSS(style), Training: d.Training,
		Facts: map[string][]fact{}, Charts: map[string]Chart{}, IsRelease: d.Variant == VariantRelease,
	}
	v.decide()
	v.takeIn()
	v.time()
	if err := v.picture(p); err != nil {
		return nil, err
	}
	if err := v.chart(); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *view) decide() {
	v.Verdict, v.Headline = "none", "No verdict"
	if v.Decision == nil {
		return
	}
	switch v.Decision.Verdict {
	case step.Pass:
		v.Verdict, v.Headline = step.Pass, "Pass"
	case step.Fail:
		v.Verdict, v.Headline = step.Fail, "Fail"
	default: // whatever is not known to be a pass is shown as none
		v.Verdict, v.Headline = step.Inconclusive, "Inconclusive"
	}
}

func (v *view) takeIn() {
	in := v.Data.Intake
	if in == nil {
		return
	}
	v.Facts["intake"] = []fact{
		{"intake-found", "objects found", float64(in.Found)},
		{"intake-usable", "usable images", float64(in.Usable)},
		{"intake-quarantined", "quarantined", float64(in.Quarantined)},
		{"intake-duplicates", "exact duplicates", float64(in.Duplicates)},
		{"intake-near-duplicates", "near duplicates", float64(in.NearDuplicates)},
		{"intake-groups", "groups of similar images", float64(in.Groups)},
		{"intake-training", "for training", float64(in.Training)},
		{"intake-holdout", "held out", float64(in.Holdout)},
	}
	q, d := min(len(in.Quarantine), maxRows), min(len(in.DuplicateList), maxRows)
	v.Intake = &intakeView{
		Quarantine: q > 0, QuarantineRows: in.Quarantine[:q], QuarantineLeft: len(in.Quarantine) - q,
		Duplicates: d > 0, DuplicateRows: in.DuplicateList[:d], DuplicatesLeft: len(in.DuplicateList) - d,
	}
}

func (v *view) time() {
	if v.Run == nil {
		return
	}
	longest := 0.0
	for _, t := range v.Run.Times {
		longest = max(longest, t.Seconds)
		v.TotalTime += t.Seconds
	}
	for _, t := range v.Run.Times {
		percent := 0
		if longest > 0 {
			percent = int(100 * t.Seconds / longest)
		}
		v.Times = append(v.Times, timeRow{t.Stage, t.Seconds, percent})
	}
}

func (v *view) picture(p Pictures) error {
	if v.Samples != nil {
		accepted, rejected := v.shown()
		urls, err := gridURLs(p.Candidates, v.Shown())
		if err != nil {
			return err
		}
		v.Grid, v.Rejected = tiles(accepted, urls), tiles(rejected, urls)
		v.GridNote = gridNote(v.Samples, len(accepted), len(rejected))
		rows := min(len(v.Samples.Images), maxRows)
		v.Rows, v.RowsLeft = v.Samples.Images[:rows], len(v.Samples.Images)-rows
		if v.Samples.Checked {
			v.Closest = slices.Clone(v.Samples.Images)
			sortByDistance(v.Closest)
			v.Closest = v.Closest[:min(len(v.Closest), maxClosest)]
		}
	}
	if len(p.Sheet) == 0 {
		return nil
	}
	var err error
	v.Sheet, v.SheetWidth, _, err = sheetURL(p.Sheet)
	return err
}

func tiles(cs []Candidate, urls map[int]template.URL) []tile {
	out := make([]tile, len(cs))
	for i, c := range cs {
		out[i] = tile{Candidate: c, Src: urls[c.Index]}
		if len(c.Nearest) > 0 {
			out[i].Distance = &c.Nearest[0].Distance
		}
	}
	return out
}

func gridNote(s *Samples, accepted, rejected int) string {
	if !s.Checked {
		return fmt.Sprintf("%d of %d candidates, not checked against the real images.", accepted, len(s.Images))
	}
	total := 0
	for _, c := range s.Images {
		if c.Accepted {
			total++
		}
	}
	note := fmt.Sprintf("%d of %d accepted candidates, in the order they were drawn.", accepted, total)
	if rejected > 0 {
		note += fmt.Sprintf(" Below them %d of %d rejected ones, nearest to a real image first.", rejected, len(s.Images)-total)
	}
	return note
}

func (v *view) chart() error {
	if d := v.Distance; d != nil {
		v.Facts["distance"] = []fact{
			{"distance-accepted", "accepted", float64(d.Accepted)},
			{"distance-rejected", "rejected", float64(d.Rejected)},
			{"distance-repeated", "of these equal to another", float64(d.Repeated)},
			{"distance-blank", "of these blank", float64(d.Blank)},
			{"distance-real", "real images compared with", float64(d.Real)},
			{"distance-nearest", "smallest distance", d.Nearest},
			{"distance-reject-at", "rejected below", d.RejectAt},
			{"distance-tail-at", "tail test below", d.TailAt},
			{"distance-tail-share", "share below the tail test", d.TailShare},
		}
		var nearest []float64
		if v.Samples != nil {
			for _, c := range v.Samples.Images {
				if len(c.Nearest) > 0 {
					nearest = append(nearest, c.Nearest[0].Distance)
				}
			}
		}
		if len(nearest)+len(d.RealNearest) > 0 {
			c, err := distanceChart(d, nearest)
			if err != nil {
				return err
			}
			v.Charts["distance"] = c
		}
	}
	return v.chartTraining()
}

func (v *view) chartTraining() error {
	t := v.Training
	if t == nil {
		return nil
	}
	v.Facts["training"] = []fact{
		{"training-epochs", "epochs", float64(t.Epochs)},
		{"training-steps", "steps", float64(t.Steps)},
		{"training-loss-real", "D's loss on real images", t.LossReal},
		{"training-loss-fake", "D's loss on generated images", t.LossFake},
		{"training-loss-g", "G's loss", t.LossG},
		{"training-d-real", "D(x)", t.DReal},
		{"training-d-fake", "D(G(z))", t.DFake},
	}
	if v.Run != nil && v.Run.ImagesPerSecond > 0 {
		v.Facts["training"] = append(v.Facts["training"],
			fact{"training-images-per-second", "images/s in the last leg", v.Run.ImagesPerSecond})
	}
	if len(t.Points) == 0 {
		return nil
	}
	var err error
	if v.Charts["loss"], err = lossChart(t); err != nil {
		return err
	}
	v.Charts["output"], err = outputChart(t)
	return err
}

// ChartNames lists the training charts in the order of the page.
func (v *view) ChartNames() []string { return []string{"loss", "output"} }

// Text is the value as the page shows it: a string without its quotes.
func (s Setting) Text() string {
	var text string
	if json.Unmarshal(s.Value, &text) == nil {
		return text
	}
	return string(s.Value)
}

// exact writes a number for people, with its full value beside it for programs.
func exact(value any) (template.HTML, error) {
	var f float64
	switch n := value.(type) {
	case float64:
		f = n
	case *float64:
		f = *n
	case int:
		f = float64(n)
	case int64:
		f = float64(n)
	default:
		return "", fmt.Errorf("no number: %T", value)
	}
	return template.HTML(fmt.Sprintf(`<data value="%v">%s</data>`, f, number(f))), nil
}

// mark is the sign that stands before an outcome, so that it does not rest on
// colour alone.
func mark(outcome string) string {
	switch strings.ToLower(outcome) {
	case step.Pass:
		return "✓"
	case step.Fail:
		return "✕"
	}
	return "?"
}
