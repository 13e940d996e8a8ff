package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
)

// CampaignFormat names kind and version of a campaign's summary.
const CampaignFormat = "defectforge.campaign/1"

// Campaign is everything that a campaign's summary says.
type Campaign struct {
	Format      string         `json:"format"`
	Run         step.Run       `json:"run"`
	Name        string         `json:"name"`
	Kind        string         `json:"kind"` // step.KindClasses or step.KindSweep
	Source      step.Source    `json:"source"`
	Recipe      spec.Recipe    `json:"recipe"` // of the runs without settings of their own
	Policy      spec.Policy    `json:"policy"`
	Plan        step.Ref       `json:"plan"`
	Loose       int            `json:"loose"` // objects beside the classes
	Concurrency int            `json:"concurrency"`
	Unpublished bool           `json:"unpublished"`
	Started     string         `json:"started"` // RFC 3339
	Seconds     float64        `json:"seconds"`
	Cancelled   bool           `json:"cancelled"`
	Counts      step.RunCounts `json:"counts"`
	Rows        []Row          `json:"rows"` // in the order of the plan
}

// Row is one run of a campaign.
type Row struct {
	step.RunOutcome
	Source   step.Source      `json:"source"`
	Settings []step.Setting   `json:"settings,omitempty"` // what a sweep varies
	Recipe   string           `json:"recipe_sha256"`
	Dataset  string           `json:"dataset_sha256,omitempty"`
	Measures []Number         `json:"measures,omitempty"`
	Training *RowTraining     `json:"training,omitempty"`
	Times    []step.StageTime `json:"times,omitempty"`
}

// Number is a measure's value, and its outcome where a rule bounds it.
type Number struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Outcome string  `json:"outcome,omitempty"`
}

// RowTraining is how a run's training ended; losses are means over the last epoch.
type RowTraining struct {
	Epochs   int     `json:"epochs"`
	Chosen   int     `json:"chosen_epoch,omitempty"` // of the checkpoint, where one was chosen
	LossReal float64 `json:"loss_real"`
	LossFake float64 `json:"loss_fake"`
	LossG    float64 `json:"loss_g"`
	DReal    float64 `json:"d_real"`
	DFake    float64 `json:"d_fake"`
}

// NewCampaign returns the summary of a campaign without any rows.
func NewCampaign(in step.SummariseInput) Campaign {
	return Campaign{
		Format: CampaignFormat, Run: in.Campaign, Name: in.Name, Kind: in.Kind, Source: in.Source, Recipe: in.Recipe, Policy: in.Policy,
		Plan: in.Plan, Loose: in.Loose, Concurrency: in.Concurrency, Unpublished: in.Unpublished,
		Started: in.Started.UTC().Format("2006-01-02T15:04:05Z"), Seconds: in.Seconds, Cancelled: in.Cancelled, Rows: []Row{},
	}
}

// Add appends a run and counts it.
func (c *Campaign) Add(r Row) {
	c.Rows = append(c.Rows, r)
	c.Counts.Add(r.Status)
}

// JSON is the page's twin.
func (c Campaign) JSON() ([]byte, error) {
	raw, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode summary: %w", err)
	}
	return append(raw, '\n'), nil
}

// DecodeCampaign reads a summary.
func DecodeCampaign(raw []byte) (Campaign, error) {
	var c Campaign
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("parse summary: %w", err)
	}
	if c.Format != CampaignFormat {
		return c, fmt.Errorf("parse summary: format %q, want %q", c.Format, CampaignFormat)
	}
	return c, nil
}

// Follow fills in what a run's outcome and measures say.
func (r *Row) Follow(o step.Outcome, m quality.Measures) {
	r.Dataset, r.Times = o.Ingest.Dataset.SHA256, o.Times
	outcomes := map[string]string{}
	for _, rule := range o.Assess.Rules {
		if standing(rule.Outcome) == spec.Inconclusive && unmeasured(rule.Reason) {
			continue
		}
		outcomes[rule.Name] = standing(rule.Outcome)
		r.Measures = append(r.Measures, Number{rule.Name, rule.Value, standing(rule.Outcome)})
	}
	for name, measure := range m.Taken {
		if label(name) != "" && outcomes[name] == "" {
			r.Measures = append(r.Measures, Number{Name: name, Value: measure.Value})
		}
	}
	slices.SortFunc(r.Measures, func(a, b Number) int { return cmp.Compare(a.Name, b.Name) })
	if t := o.Train; t.Epoch > 0 {
		r.Training = &RowTraining{Epochs: t.Epoch, LossReal: t.LossReal, LossFake: t.LossFake, LossG: t.LossG, DReal: t.DReal, DFake: t.DFake}
		if o.Choice != nil {
			r.Training.Epochs, r.Training.Chosen = o.Choice.LastEpoch, o.Choice.Epoch
		}
	}
}

// measure is the row's value of a measure; nil where it has none.
func (r Row) measure(name string) *Number {
	for i := range r.Measures {
		if r.Measures[i].Name == name {
			return &r.Measures[i]
		}
	}
	return nil
}

// setting is the value that a sweep gave the row for a key.
func (r Row) setting(key string) string {
	for _, s := range r.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// varied are the keys that a sweep varies, in its order.
func (c Campaign) varied() []string {
	var keys []string
	for _, r := range c.Rows {
		for _, s := range r.Settings {
			if !slices.Contains(keys, s.Key) {
				keys = append(keys, s.Key)
			}
		}
	}
	return keys
}

// columns are the measures that the page compares runs by: those that the policy
// bounds and, in a sweep, all others too.
func (c Campaign) columns() []string {
	var names []string
	found := map[string]bool{}
	for _, r := range c.Rows {
		for _, m := range r.Measures {
			found[m.Name] = true
		}
	}
	for _, rule := range c.Policy.Rules {
		if found[rule.Measure] && !slices.Contains(names, rule.Measure) {
			names = append(names, rule.Measure)
		}
	}
	if c.Kind == step.KindSweep {
		var others []string
		for name := range found {
			if !slices.Contains(names, name) {
				others = append(others, name)
			}
		}
		slices.Sort(others)
		names = append(names, others...)
	}
	return names
}

// bound is the policy's bound of a measure: on which side, and at what.
func (c Campaign) bound(measure string) (at float64, least, ok bool) {
	for _, r := range c.Policy.Rules {
		switch {
		case r.Measure != measure:
		case r.Max != nil:
			return *r.Max, false, true
		case r.Min != nil:
			return *r.Min, true, true
		}
	}
	return 0, false, false
}

// causes counts why sets failed or were not approved: a rule's name, or the kind
// of failure.
func (c Campaign) causes() []cause {
	counted := map[string]int{}
	for _, r := range c.Rows {
		switch r.Status {
		case step.RunFailed:
			counted["failed: "+cmp.Or(r.FailureType, "unknown")]++
		case step.RunNotApproved:
			for _, m := range r.Measures {
				if m.Outcome == spec.Fail || m.Outcome == spec.Inconclusive {
					counted[m.Outcome+": "+lower(spec.MeasureNamed(m.Name).Label)]++
				}
			}
		}
	}
	out := make([]cause, 0, len(counted))
	for what, n := range counted {
		out = append(out, cause{what, n})
	}
	slices.SortFunc(out, func(a, b cause) int { return cmp.Or(cmp.Compare(b.Runs, a.Runs), cmp.Compare(a.What, b.What)) })
	return out
}

type cause struct {
	What string
	Runs int
}
