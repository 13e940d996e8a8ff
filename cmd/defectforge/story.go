package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/workflows"
)

// change is a recipe value that differs between two runs.
type change struct {
	Key   string          `json:"key"`
	From  json.RawMessage `json:"from"`
	To    json.RawMessage `json:"to"`
	Stage string          `json:"stage"` // the first one that it changes
}

func (c change) String() string {
	return fmt.Sprintf("%s %s -> %s", c.Key, quoteless(c.From), quoteless(c.To))
}

func quoteless(raw json.RawMessage) string {
	if text := strings.Trim(string(raw), `"`); text != "" {
		return text
	}
	return "none"
}

// Stages that a recipe value may change beside those that are rerun.
const (
	stageAssess = string(step.Assess)
	stageReport = string(step.Report)
)

// stageOf is the first stage whose result depends on a recipe's value.
func stageOf(key string, r spec.Recipe) string {
	section, _, _ := strings.Cut(key, ".")
	switch {
	case section == "ingest":
		return string(step.Ingest)
	case key == "sample.statistics_batches" && r.Ingest.SelectionShare > 0:
		return string(step.Train) // the checkpoint is chosen by samples
	case section == "sample":
		return string(step.Sample)
	case section == "overfit":
		return string(step.CheckOverfit)
	case section == "policy":
		return stageAssess
	case section == "name":
		return stageReport
	}
	return string(step.Train) // seed, model, train, monitor
}

// changes lists the recipe values that differ.
func changes(a, b spec.Recipe) ([]change, error) {
	before, err := report.New("", a)
	if err != nil {
		return nil, err
	}
	after, err := report.New("", b)
	if err != nil {
		return nil, err
	}
	var out []change
	for i, s := range before.Settings {
		if to := after.Settings[i].Value; !bytes.Equal(s.Value, to) {
			out = append(out, change{Key: s.Name, From: s.Value, To: to, Stage: stageOf(s.Name, b)})
		}
	}
	return out, nil
}

// stageStory is what became of a stage in a rerun, and why.
type stageStory struct {
	Stage   string  `json:"stage"`
	Reused  bool    `json:"reused"`
	Why     string  `json:"why"`
	Seconds float64 `json:"seconds"`
}

// storyOrder are the stages that a story tells of.
var storyOrder = append(step.RerunStages(), string(step.Utility), stageAssess, stageReport)

// story tells for each stage of a run why its result was reused or made, seen
// from an earlier run.
func story(before, after step.Outcome) ([]stageStory, error) {
	changed, err := changes(before.Recipe, after.Recipe)
	if err != nil {
		return nil, err
	}
	var out []stageStory
	for _, stage := range storyOrder {
		at := slices.IndexFunc(after.Times, func(t step.StageTime) bool { return t.Stage == stage })
		if at < 0 {
			continue // not done in this run
		}
		t := after.Times[at]
		s := stageStory{Stage: stage, Reused: t.Cached, Seconds: t.Seconds}
		var values []string
		for _, c := range changed {
			if c.Stage == stage {
				values = append(values, c.String())
			}
		}
		if stage == stageAssess && spec.Digest(before.Policy) != spec.Digest(after.Policy) {
			values = append(values, fmt.Sprintf("policy %s -> %s", before.Policy.Name, after.Policy.Name))
		}
		s.Why = why(stage, t.Cached, values, before, after)
		out = append(out, s)
	}
	return out, nil
}

// why says in words what a stage's result depends on, and what of it is new.
func why(stage string, reused bool, values []string, before, after step.Outcome) string {
	inputs := newInputs(stage, before, after)
	switch {
	case len(values) > 0 && reused:
		return strings.Join(values, ", ") + ", and a run with that was there already"
	case len(values) > 0:
		return strings.Join(append(values, inputs...), ", ")
	case len(inputs) > 0 && reused:
		return strings.Join(inputs, ", ") + ", and a run with that was there already"
	case len(inputs) > 0:
		return strings.Join(inputs, ", ")
	case reused:
		return "the same " + dependsOn[stage]
	case stage == string(step.Ingest):
		return "the source is always looked at; it holds the same data set"
	case stage == stageAssess || stage == stageReport:
		return "is always done, from the same " + dependsOn[stage]
	case after.Rerun != nil && after.Rerun.From != "" && slices.Index(storyOrder, after.Rerun.From) <= slices.Index(storyOrder, stage):
		return "--from " + rerunName(after.Rerun.From) + ", from the same " + dependsOn[stage]
	}
	return "the same " + dependsOn[stage] + ", but no result of it was kept"
}

// dependsOn are what a stage's result depends on, in words.
var dependsOn = map[string]string{
	string(step.Preprocess):   "data set",
	string(step.Train):        "tensors and training settings",
	string(step.Sample):       "checkpoint and sampling settings",
	string(step.CheckOverfit): "candidates, real images and settings",
	string(step.Utility):      "set and other classes",
	stageAssess:               "candidates and policy",
	stageReport:               "results",
}

// newInputs names what a stage got that differs from what it got before.
func newInputs(stage string, before, after step.Outcome) []string {
	differ := func(what string, a, b step.Ref) []string {
		if a.SHA256 == b.SHA256 {
			return nil
		}
		return []string{what}
	}
	switch stage {
	case string(step.Ingest):
		if before.Ingest.Dataset.SHA256 != after.Ingest.Dataset.SHA256 {
			return []string{fmt.Sprintf("another data set: %d usable images, before %d", after.Ingest.Usable, before.Ingest.Usable)}
		}
	case string(step.Preprocess):
		return differ("another data set", before.Ingest.Dataset, after.Ingest.Dataset)
	case string(step.Train):
		return differ("other tensors", before.Preprocess.Tensors, after.Preprocess.Tensors)
	case string(step.Sample):
		return differ("another checkpoint", before.Train.Checkpoint, after.Train.Checkpoint)
	case string(step.CheckOverfit), string(step.Utility), stageAssess:
		return differ("other candidates", before.Sample.Candidates, after.Sample.Candidates)
	}
	return nil
}

// tellStory prints a story for people.
func (p *program) tellStory(stages []stageStory) {
	for _, s := range stages {
		p.say("%-16s %-7s %s", stageName(s.Stage), either(s.Reused, "reused", "redone"), s.Why)
	}
}

// rerunName is the stage as --from names it.
func rerunName(stage string) string {
	if stage == string(step.CheckOverfit) {
		return "check"
	}
	return strings.ToLower(stage)
}

// tellTimes prints where a run's time went.
func (p *program) tellTimes(times []step.StageTime) {
	total := 0.0
	for _, t := range times {
		total += t.Seconds
	}
	if total == 0 {
		return
	}
	p.say("where the time went:")
	for _, t := range times {
		note := ""
		switch {
		case t.Cached:
			note = "  found, not done again"
		case t.Stage == workflows.StageAwaitApproval:
			note = "  waiting for a person"
		}
		p.say("  %-16s %8s %4.0f%%%s", stageName(t.Stage), timeWords(t.Seconds), 100*t.Seconds/total, note)
	}
	p.say("  %-16s %8s", "together", timeWords(total))
}
