package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/model/spec"
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
			out = append(out, change{Key: s.Name, From: s.Value, To: to, Stage: step.StageOf(s.Name, b)})
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

// story says of each stage of a run why its result was reused or made, seen
// from an earlier run.
func story(before, after step.Outcome) ([]stageStory, error) {
	changed, err := changes(before.Recipe, after.Recipe)
	if err != nil {
		return nil, err
	}
	var out []stageStory
	for _, stage := range step.Stages() {
		at := slices.IndexFunc(after.Times, func(t step.StageTime) bool { return t.Stage == stage.Name })
		if at < 0 || stage.Same == "" {
			continue // not done in this run, or part of another
		}
		t := after.Times[at]
		var differs []string
		for _, c := range changed {
			if c.Stage == stage.Name {
				differs = append(differs, c.String())
			}
		}
		if stage.New != nil {
			differs = append(differs, stage.New(before, after)...)
		}
		out = append(out, stageStory{
			Stage: stage.Name, Reused: t.Cached, Why: why(stage, t.Cached, differs, after.Rerun), Seconds: t.Seconds,
		})
	}
	return out, nil
}

// why says in words what of a stage's inputs is new or, where nothing is, what it
// rests on and why it was done all the same.
func why(stage step.Stage, reused bool, differs []string, rerun *step.Rerun) string {
	switch {
	case len(differs) > 0 && reused:
		return strings.Join(differs, ", ") + ", and a run with that was there already"
	case len(differs) > 0:
		return strings.Join(differs, ", ")
	case reused || !stage.Remembered:
		return stage.Same
	case rerun != nil && rerun.From != "" && !step.Before(stage.Name, rerun.From):
		return "--from " + rerunName(rerun.From) + ", from " + stage.Same
	}
	return stage.Same + ", but no result of it was kept"
}

// sayStory prints a story for people.
func sayStory(a *app, stages []stageStory) {
	for _, s := range stages {
		a.console.Say("%-16s %-7s %s", step.Title(s.Stage), console.Either(s.Reused, "reused", "redone"), s.Why)
	}
}

// rerunName is the stage as --from names it.
func rerunName(stage string) string {
	s, _ := step.StageNamed(stage)
	return s.Word
}
