package report

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

//go:embed templates
var files embed.FS

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"num":      exact,
	"f1":       func(v float64) template.HTML { return digits(v, "%.3f") },
	"gain":     func(v float64) template.HTML { return digits(v, "%+.3f") },
	"duration": duration,
	"bytes":    func(n int64) string { return humanize.IBytes(uint64(n)) },
	"mark":     mark,
	"arm":      func(name string) string { return spec.ArmNamed(name).Title },
	"alarm":    func(kind string) string { return said(alarms, kind) },
	"label":    label,
	"sentence": sentence,
}).ParseFS(files, "templates/page.html", "templates/sections/*.html"))

// maxRows bounds the rows of a table; the JSON twin has all of them.
const maxRows = 1000

// view is what the template sees: Data, and what is worked out from it.
type view struct {
	Data
	Style                           template.CSS
	Verdict                         string
	Headline                        string
	State                           string // the look of the decision
	But, ButState                   string // what a pass lacks, in words, and its look
	Approving                       string // who decides after the verdict, in words
	Rules                           []ruleRow
	Grid, RealGrid                  []tile
	Accepted, RejectedAll           int
	Rejected, MoreRejected, Closest []pair
	Gains                           []gainRow
	Intake                          *intakeView
	Facts                           map[string][]fact
	Charts                          map[string]Chart
	Tries                           []tryRow
	Times                           []timeRow
	TotalTime                       float64
	Rows                            []Candidate
	RowsLeft                        int
	IsRelease                       bool
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

// gainRow is a gain with its drawing around none.
type gainRow struct {
	step.GainResult
	Texture bool // by the second classifier
	Marker  *marker
}

// tryRow is one try of the training, and the alarm that ended it; nil for the
// one that went through.
type tryRow struct {
	Number int
	Scale  float64 // of the discriminator's rate
	From   int     // epochs done when it began
	Alarm  *step.Alarm
	Back   *int // the epoch gone back to; nil where no try followed
}

type timeRow struct {
	Stage   string
	Seconds float64
	Percent int  // of the longest stage
	Cached  bool // an earlier result was found
}

// HTML renders the standalone page. Equal input gives equal bytes.
func (d Data) HTML(p Pictures) ([]byte, error) {
	v, err := newView(d.worded(), p)
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
		Data: d, Style: template.CSS(style), Approving: d.approvalWords(),
		Facts: map[string][]fact{}, Charts: map[string]Chart{}, IsRelease: d.Variant == VariantRelease,
	}
	v.decide()
	v.takeIn()
	v.tries()
	v.time()
	if err := v.pictures(p); err != nil {
		return nil, err
	}
	return v, v.chart()
}

// Sections are the parts of the page below the decision.
func (v *view) Sections() []section {
	return slices.DeleteFunc(slices.Clone(sections), func(s section) bool { return s.ID == sectionTime && v.Run == nil })
}

// Section renders one of them. A section's file is named by its identifier.
func (v *view) Section(id string) (template.HTML, error) {
	var buf bytes.Buffer
	if err := page.ExecuteTemplate(&buf, id+".html", v); err != nil {
		return "", fmt.Errorf("section %s: %w", id, err)
	}
	return template.HTML(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), nil
}

func (v *view) decide() {
	v.Verdict, v.State, v.Headline = "none", "none", "No verdict"
	if v.Decision == nil {
		return
	}
	v.Rules = rows(v.Decision.Rules)
	v.Verdict = standing(v.Decision.Verdict) // whatever is not known to be a pass is shown as none
	v.Headline = map[string]string{spec.Pass: "Pass", spec.Fail: "Fail", spec.Inconclusive: "Inconclusive"}[v.Verdict]
	v.State = v.Verdict
	switch a := v.Approval; {
	case v.Waits():
		v.State, v.But, v.ButState = spec.Inconclusive, "waits for approval", spec.Inconclusive
	case v.Verdict == spec.Pass && v.Unpublished && !v.IsRelease:
		v.But, v.ButState = "not to be published", spec.Inconclusive
	case v.Verdict == spec.Pass && a != nil && !a.Approved:
		v.State, v.But, v.ButState = spec.Fail, "not approved", spec.Fail
	case v.Verdict == spec.Pass && v.Decision.Warning != "":
		v.But, v.ButState = "copying only", spec.Inconclusive
	}
	if v.Utility == nil {
		return
	}
	for _, g := range v.Utility.Gains {
		v.Gains = append(v.Gains, gainRow{g, false, newMarker(g.Mean, 0, true, &g.Low, &g.High, nil)})
	}
	for _, g := range v.Utility.TextureGains {
		v.Gains = append(v.Gains, gainRow{g, true, newMarker(g.Mean, 0, true, &g.Low, &g.High, nil)})
	}
}

// Textures reports whether there is a second classifier's opinion.
func (v *view) Textures() bool { return v.Utility != nil && len(v.Utility.TextureGains) > 0 }

// Waits reports whether a person is asked to decide now.
func (v *view) Waits() bool {
	return v.Verdict == spec.Pass && !v.IsRelease && v.Approval == nil && !v.Unpublished &&
		v.Policy != nil && v.Policy.Approval == spec.ApprovePerson
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
		{"intake-selection", "to choose the checkpoint with", float64(in.Selection)},
	}
	if in.Coloured != nil {
		v.Facts["intake"] = append(v.Facts["intake"], fact{"intake-coloured", "with a colour; the others are grey", float64(*in.Coloured)})
	}
	if in.CutAway > 0 {
		v.Facts["intake"] = append(v.Facts["intake"], fact{"intake-cut-away", "share of the area cut away by the centre crop", in.CutAway})
	}
	if in.Levels > 0 {
		v.Facts["intake"] = append(v.Facts["intake"], fact{"intake-levels", "sample of 16-bit images that became white", float64(in.Levels)})
	}
	if in.MorePages > 0 {
		v.Facts["intake"] = append(v.Facts["intake"], fact{"intake-more-pages", "further pages or frames, not used", float64(in.MorePages)})
	}
	if in.Transparent > 0 {
		v.Facts["intake"] = append(v.Facts["intake"],
			fact{"intake-transparent", "wholly transparent, their colours used", float64(in.Transparent)})
	}
	if in.LeftOut > 0 {
		v.Facts["intake"] = append(v.Facts["intake"], fact{"intake-left-out", "left out, by ingest.max_images", float64(in.LeftOut)})
	}
	q, d := min(len(in.Quarantine), maxRows), min(len(in.DuplicateList), maxRows)
	v.Intake = &intakeView{
		Quarantine: q > 0, QuarantineRows: in.Quarantine[:q], QuarantineLeft: len(in.Quarantine) - q,
		Duplicates: d > 0, DuplicateRows: in.DuplicateList[:d], DuplicatesLeft: len(in.DuplicateList) - d,
	}
}

// tries lists the training's tries: one for each rollback, and the last one.
func (v *view) tries() {
	if v.Training == nil && v.Alarm == nil {
		return
	}
	scale, from := 1.0, 0
	for i := range v.Rollbacks {
		r := &v.Rollbacks[i]
		v.Tries = append(v.Tries, tryRow{Number: i + 1, Scale: scale, From: from, Alarm: &r.Alarm, Back: &r.ToEpoch})
		scale, from = r.DiscriminatorScale, r.ToEpoch
	}
	v.Tries = append(v.Tries, tryRow{Number: len(v.Rollbacks) + 1, Scale: scale, From: from, Alarm: v.Alarm})
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
		v.Times = append(v.Times, timeRow{t.Stage, t.Seconds, percent, t.Cached})
	}
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
			{"distance-transformed-reject-at", "rejected below, mirrored, turned and shifted", d.TransformedRejectAt},
			{"distance-tail-at", "tail test below", d.TailAt},
			{"distance-tail-share", "share below the tail test", d.TailShare},
			{"distance-transformed", "the same, mirrored, turned and shifted", d.Transformed},
		}
		if d.DisguisedRejectAt > 0 {
			v.Facts["distance"] = append(v.Facts["distance"],
				fact{"distance-disguised-reject-at", "rejected below, in disguise", d.DisguisedRejectAt})
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
	h := history{t, v.Rollbacks}
	var err error
	if t.Choice != nil && len(t.Choice.Evaluations) > 0 {
		if v.Charts["kid"], err = h.kidChart(); err != nil {
			return err
		}
	}
	if len(t.Points) == 0 {
		return nil
	}
	if v.Charts["loss"], err = h.lossChart(); err != nil {
		return err
	}
	v.Charts["output"], err = h.outputChart()
	return err
}

// ChartNames lists the training charts in the order of the page.
func (v *view) ChartNames() []string { return []string{"kid", "loss", "output"} }

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

// digits writes a number in a given format, with its full value beside it.
func digits(v float64, format string) template.HTML {
	return template.HTML(fmt.Sprintf(`<data value="%v">`+format+`</data>`, v, v))
}

// mark is the sign that stands before an outcome, so that it does not rest on
// colour alone.
func mark(outcome string) string {
	switch strings.ToLower(outcome) {
	case spec.Pass:
		return "✓"
	case spec.Fail:
		return "✕"
	}
	return "?"
}
