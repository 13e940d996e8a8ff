package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/model/spec"
)

// ComparisonFormat names kind and version of a comparison's JSON.
const ComparisonFormat = "defectforge.comparison/1"

// MaxCompared is the most runs that one page compares: as many as its curves can
// be distinguished.
const MaxCompared = 6

// gridShown is how many pictures of each run the page shows.
const gridShown = 24

// Compared is one run or release of a comparison.
type Compared struct {
	Name     string         `json:"name"` // as it was asked for
	Data     Data           `json:"-"`
	Pictures map[int][]byte `json:"-"` // PNG by candidate index, those that Grid names
}

// Difference is one value of every compared run.
type Difference struct {
	Name   string   `json:"name"`
	Label  string   `json:"label,omitempty"`
	Values []string `json:"values"` // in the order of the runs, "" where one has none
	Same   bool     `json:"same"`
}

// Comparison is what runs have in common and what not. Settings that differ come
// first.
type Comparison struct {
	Format   string       `json:"format"`
	Runs     []Compared   `json:"runs"`
	Facts    []Difference `json:"facts"`
	Settings []Difference `json:"settings"`
	Measures []Difference `json:"measures"`
	Digests  []Difference `json:"digests"`
	Times    []Difference `json:"times"` // seconds of each stage
	// Stages say, of two runs, why the second's were reused or done.
	Stages []StageWhy `json:"stages,omitempty"`
}

// StageWhy is why a stage was reused or done.
type StageWhy struct {
	Stage  string `json:"stage"`
	Reused bool   `json:"reused"`
	Why    string `json:"why"`
}

// DecodeData reads a report's JSON twin.
func DecodeData(raw []byte) (Data, error) {
	var d Data
	if err := json.Unmarshal(raw, &d); err != nil {
		return d, fmt.Errorf("parse report: %w", err)
	}
	if d.Format != Format {
		return d, fmt.Errorf("parse report: format %q, want %q", d.Format, Format)
	}
	return d, nil
}

// Grid are the candidates that a comparison shows: the first accepted ones.
func (d Data) Grid() []Candidate {
	var out []Candidate
	if d.Samples == nil {
		return out
	}
	for _, c := range d.Samples.Images {
		if len(out) < gridShown && (c.Accepted || !d.Samples.Checked) {
			out = append(out, c)
		}
	}
	return out
}

// Compare lists what the runs have, side by side. It takes 2 to MaxCompared.
func Compare(runs []Compared) (Comparison, error) {
	if len(runs) < 2 || len(runs) > MaxCompared {
		return Comparison{}, fmt.Errorf("%d runs: 2 to %d can be compared", len(runs), MaxCompared)
	}
	c := Comparison{Format: ComparisonFormat, Runs: runs}
	c.Facts = c.facts()
	c.Settings = c.rows(func(d Data) (names, values []string) {
		for _, s := range d.Settings {
			names, values = append(names, s.Name), append(values, s.Text())
		}
		return names, values
	})
	slices.SortStableFunc(c.Settings, func(a, b Difference) int { return order(a.Same) - order(b.Same) })
	c.Measures = c.rows(numbers)
	for i, m := range c.Measures {
		c.Measures[i].Label = label(m.Name)
	}
	slices.SortStableFunc(c.Measures, func(a, b Difference) int { return order(a.Label == "") - order(b.Label == "") })
	c.Digests = c.rows(func(d Data) (names, values []string) {
		for _, g := range d.Digests {
			names, values = append(names, g.Name), append(values, g.SHA256)
		}
		return names, values
	})
	c.Times = c.rows(func(d Data) (names, values []string) {
		if d.Run == nil {
			return nil, nil
		}
		for _, t := range d.Run.Times {
			value := duration(t.Seconds)
			if t.Cached {
				value += ", found"
			}
			names, values = append(names, t.Stage), append(values, value)
		}
		return names, values
	})
	return c, nil
}

func order(later bool) int {
	if later {
		return 1
	}
	return 0
}

// numbers are the measures that a report has, the rules' own where no others
// were stored.
func numbers(d Data) (names, values []string) {
	for _, m := range d.Measures {
		names, values = append(names, m.Name), append(values, number(m.Value))
	}
	if d.Decision != nil {
		for _, r := range d.Decision.Rules {
			if !slices.Contains(names, r.Name) && !unmeasured(r.Reason) {
				names, values = append(names, r.Name), append(values, number(r.Value))
			}
		}
	}
	return names, values
}

// rows collects the named values of every run, in the order in which they come.
func (c Comparison) rows(of func(Data) (names, values []string)) []Difference {
	out := []Difference{}
	at := map[string]int{}
	for i, r := range c.Runs {
		names, values := of(r.Data)
		for j, name := range names {
			k, known := at[name]
			if !known {
				k = len(out)
				at[name] = k
				out = append(out, Difference{Name: name, Values: make([]string, len(c.Runs))})
			}
			out[k].Values[i] = values[j]
		}
	}
	for i := range out {
		out[i].Same = len(slices.Compact(slices.Clone(out[i].Values))) == 1
	}
	return out
}

func (c Comparison) facts() []Difference {
	return c.rows(func(d Data) (names, values []string) {
		add := func(name, value string) { names, values = append(names, name), append(values, value) }
		add("Class", d.Class)
		verdict := "none"
		if d.Decision != nil {
			verdict = d.Decision.Verdict
		}
		add("Verdict", verdict)
		if d.Policy != nil {
			add("Policy", d.Policy.Name)
		}
		if in := d.Intake; in != nil {
			add("Images", fmt.Sprintf("%s usable of %s, %s for training, %s held out",
				number(float64(in.Usable)), number(float64(in.Found)), number(float64(in.Training)), number(float64(in.Holdout))))
		}
		if t := d.Training; t != nil {
			words := fmt.Sprintf("%s epochs, %s steps", number(float64(t.Epochs)), number(float64(t.Steps)))
			if t.Choice != nil {
				words += fmt.Sprintf(", checkpoint of epoch %d", t.Choice.Epoch)
			}
			add("Training", words)
		}
		if d.Distance != nil {
			add("Candidates", fmt.Sprintf("%s accepted, %s rejected", number(float64(d.Distance.Accepted)), number(float64(d.Distance.Rejected))))
		}
		if d.Run != nil {
			add("Run", d.Run.WorkflowID+" / "+d.Run.RunID)
		}
		return names, values
	})
}

// comparisonView is what the template sees.
type comparisonView struct {
	Comparison
	Style  template.CSS
	Title  string
	Charts []Chart
	Grids  []comparedGrid
	Differ int // settings that differ
}

type comparedGrid struct {
	Name, Verdict string
	Shown, All    int
	Tiles         []tile
}

var comparisonTemplate = template.Must(template.Must(page.Clone()).
	Funcs(template.FuncMap{"dict": dict}).ParseFS(files, "templates/comparison.html"))

// dict makes a map of names and values, for templates that take several.
func dict(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %T is no name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// HTML renders the standalone page.
func (c Comparison) HTML() ([]byte, error) {
	style, err := files.ReadFile("templates/style.css")
	if err != nil {
		return nil, fmt.Errorf("read style: %w", err)
	}
	var names []string
	v := comparisonView{Comparison: c, Style: template.CSS(style)}
	for _, s := range c.Settings {
		if !s.Same {
			v.Differ++
		}
	}
	for _, r := range c.Runs {
		names = append(names, r.Name)
		g, err := r.grid()
		if err != nil {
			return nil, fmt.Errorf("pictures of %s: %w", r.Name, err)
		}
		v.Grids = append(v.Grids, g)
	}
	v.Title = strings.Join(names, ", ")
	if v.Charts, err = c.charts(); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := comparisonTemplate.ExecuteTemplate(&buf, "comparison.html", v); err != nil {
		return nil, fmt.Errorf("render comparison: %w", err)
	}
	return buf.Bytes(), nil
}

// grid is a run's pictures, as JPEG: there may be many runs.
func (r Compared) grid() (comparedGrid, error) {
	g := comparedGrid{Name: r.Name, Verdict: spec.Inconclusive}
	if r.Data.Decision != nil {
		g.Verdict = standing(r.Data.Decision.Verdict)
	}
	shown := r.Data.Grid()
	if r.Data.Samples != nil {
		g.All = len(r.Data.Samples.Images)
	}
	for _, cand := range shown {
		raw, ok := r.Pictures[cand.Index]
		if !ok {
			continue
		}
		src, err := address(raw, false)
		if err != nil {
			return g, errors.Join(fmt.Errorf("candidate %d", cand.Index), err)
		}
		g.Tiles = append(g.Tiles, tile{
			Src: src, Alt: fmt.Sprintf("Candidate %d of %s", cand.Index, r.Name), Caption: fmt.Sprintf("#%d", cand.Index),
		})
	}
	g.Shown = len(g.Tiles)
	return g, nil
}
