package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// maxCampaignRows bounds the table of a campaign's page.
const maxCampaignRows = 5000

var campaignTemplate = template.Must(template.Must(page.Clone()).Funcs(template.FuncMap{
	"state": func(status string) string { return said(statusStates, status) },
	"sign":  func(status string) string { return mark(said(statusStates, status)) },
}).ParseFS(files, "templates/campaign.html"))

// statusStates are the looks of a run's status.
var statusStates = map[string]string{
	step.RunPublished: spec.Pass, step.RunPassed: spec.Pass, step.RunNotApproved: spec.Inconclusive,
	step.RunFailed: spec.Fail, step.RunCancelled: spec.Fail,
}

// campaignView is what the template sees.
type campaignView struct {
	Campaign
	Style          template.CSS
	Script         template.JS
	ScriptHash     string
	Title, Kick    string
	State, Summary string
	Varied         []string
	Columns        []column
	Table          []campaignRow
	Left           int
	Facts          map[string][]fact
	Charts         []Chart
	Causes         []cause
	Values         []Setting
	Statuses       []cause
}

// column is a measure that runs are compared by.
type column struct{ Name, Label, Bound string }

type campaignRow struct {
	Row
	Number   int
	Link     string // to the run's report, "" where it has none
	Settings []string
	Cells    []cell
	Reason   string
}

// cell is a run's value of one measure; Best marks the best of all runs where the
// policy says which side is better.
type cell struct {
	*Number
	Best bool
}

// HTML renders the standalone page. Its links lead to the runs' reports where the
// bucket's layout is kept.
func (c Campaign) HTML() ([]byte, error) {
	v, err := newCampaignView(c)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := campaignTemplate.ExecuteTemplate(&buf, "campaign.html", v); err != nil {
		return nil, fmt.Errorf("render summary: %w", err)
	}
	return buf.Bytes(), nil
}

func newCampaignView(c Campaign) (*campaignView, error) {
	style, err := files.ReadFile("templates/style.css")
	if err != nil {
		return nil, fmt.Errorf("read style: %w", err)
	}
	script, err := files.ReadFile("templates/sort.js")
	if err != nil {
		return nil, fmt.Errorf("read script: %w", err)
	}
	// The script stands in the page as it is in the file, and only this very
	// script may run there.
	sum := sha256.Sum256(script)
	v := &campaignView{
		Campaign: c, Style: template.CSS(style), Script: template.JS(script),
		ScriptHash: "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
		Title:      "Campaign " + c.Name, Kick: "Campaign report", Varied: c.varied(), Facts: map[string][]fact{}, Causes: c.causes(),
	}
	if c.Kind == step.KindSweep {
		v.Title, v.Kick = "Sweep "+c.Name, "Sweep report"
	}
	v.sumUp()
	v.table()
	if v.Values, err = flatten(c.Recipe); err != nil {
		return nil, fmt.Errorf("list settings: %w", err)
	}
	v.Charts, err = c.charts()
	return v, err
}

// sumUp sums the campaign up in words and numbers.
func (v *campaignView) sumUp() {
	n := v.Counts
	v.State = spec.Pass
	switch {
	case n.Failed+n.Cancelled > 0:
		v.State = spec.Fail
	case n.NotApproved > 0:
		v.State = spec.Inconclusive
	}
	var parts []string
	for _, s := range []struct {
		n      int
		status string
		words  string
	}{
		{n.Published, step.RunPublished, "published"}, {n.Passed, step.RunPassed, "passed, not to be published"},
		{n.NotApproved, step.RunNotApproved, "not approved"}, {n.Failed, step.RunFailed, "failed"},
		{n.Cancelled, step.RunCancelled, "cancelled or not begun"},
	} {
		if s.n > 0 {
			parts = append(parts, number(float64(s.n))+" "+s.words)
			v.Statuses = append(v.Statuses, cause{s.status, s.n})
		}
	}
	v.Summary = count(len(v.Rows), "run", "runs") + ": " + strings.Join(parts, ", ") + "."
	if v.Cancelled {
		v.Summary += " The campaign was cancelled."
	}
	v.Facts["sum"], v.Facts["time"] = v.sums()
}

// sums are the campaign's numbers, and where the time went.
func (v *campaignView) sums() (sum, spent []fact) {
	n, images, work := v.Counts, 0, 0.0
	for _, r := range v.Rows {
		images += r.ImagesPublished
		work += r.Seconds
	}
	sum = []fact{
		{"runs", "runs", float64(len(v.Rows))}, {"published", "published", float64(n.Published)},
		{"passed", "passed, not to be published", float64(n.Passed)}, {"not-approved", "not approved", float64(n.NotApproved)},
		{"failed", "failed", float64(n.Failed)}, {"cancelled", "cancelled or not begun", float64(n.Cancelled)},
		{"images", "images published", float64(images)}, {"concurrency", "runs at once, at most", float64(v.Concurrency)},
	}
	return sum, []fact{{"seconds", "seconds from start to end", v.Seconds}, {"work", "seconds of all runs together", work}}
}

func (v *campaignView) table() {
	for _, name := range v.columns() {
		c := column{Name: name, Label: spec.MeasureNamed(name).Label}
		if at, least, ok := v.bound(name); ok {
			c.Bound = "at most " + number(at)
			if least {
				c.Bound = "at least " + number(at)
			}
		}
		v.Columns = append(v.Columns, c)
	}
	best := v.best()
	for i, r := range v.Rows[:min(len(v.Rows), maxCampaignRows)] {
		row := campaignRow{Row: r, Number: i + 1, Reason: strings.Join(r.Reasons, "; ")}
		if r.Report.Key != "" {
			row.Link = "../../../" + relative(r.Report.Key)
		}
		for _, key := range v.Varied {
			row.Settings = append(row.Settings, r.setting(key))
		}
		for _, c := range v.Columns {
			m := r.measure(c.Name)
			row.Cells = append(row.Cells, cell{m, m != nil && best[c.Name] != nil && *best[c.Name] == m.Value})
		}
		v.Table = append(v.Table, row)
	}
	v.Left = len(v.Rows) - len(v.Table)
}

// best is the best value of each measure whose better side the policy names,
// where runs differ in it.
func (v *campaignView) best() map[string]*float64 {
	out := map[string]*float64{}
	for _, c := range v.Columns {
		_, least, ok := v.bound(c.Name)
		if !ok {
			continue
		}
		differ := false
		for _, r := range v.Rows {
			m := r.measure(c.Name)
			if m == nil {
				continue
			}
			b := out[c.Name]
			differ = differ || b != nil && *b != m.Value
			if b == nil || least && m.Value > *b || !least && m.Value < *b {
				out[c.Name] = &m.Value
			}
		}
		if !differ {
			delete(out, c.Name)
		}
	}
	return out
}

// relative is a key as a path of a link: percent signs in it are its own.
func relative(key string) string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// SortKey is a cell's value for sorting: a number as it is, text as it is.
func (r campaignRow) SortKey(value any) string {
	switch v := value.(type) {
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case int:
		return strconv.Itoa(v)
	case string:
		return v
	}
	return ""
}
