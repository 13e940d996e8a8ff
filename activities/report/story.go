package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// Change is a recipe value that differs between two runs.
type Change struct {
	Key   string          `json:"key"`
	From  json.RawMessage `json:"from"`
	To    json.RawMessage `json:"to"`
	Stage string          `json:"stage"` // the first one that it changes
}

// String is the change in words.
func (c Change) String() string {
	return fmt.Sprintf("%s %s -> %s", c.Key, quoteless(c.From), quoteless(c.To))
}

func quoteless(raw json.RawMessage) string {
	if text := strings.Trim(string(raw), `"`); text != "" && text != string(absent) {
		return text
	}
	return "none"
}

// Changes lists the recipe values that differ, in the order of the later recipe's
// fields. A value that one of both leaves out, as its field's default, is null there.
func Changes(before, after spec.Recipe) ([]Change, error) {
	from, err := flatten(before)
	if err != nil {
		return nil, fmt.Errorf("list settings: %w", err)
	}
	to, err := flatten(after)
	if err != nil {
		return nil, fmt.Errorf("list settings: %w", err)
	}
	var out []Change
	add := func(name string, was, is json.RawMessage) {
		if !bytes.Equal(was, is) {
			out = append(out, Change{Key: name, From: was, To: is, Stage: step.StageOf(name, after)})
		}
	}
	for _, s := range to {
		add(s.Name, settingOf(from, s.Name), s.Value)
	}
	for _, s := range from {
		if !slices.ContainsFunc(to, func(t Setting) bool { return t.Name == s.Name }) {
			add(s.Name, s.Value, absent)
		}
	}
	return out, nil
}

// absent stands for a value that a recipe leaves out.
var absent = json.RawMessage("null")

func settingOf(settings []Setting, name string) json.RawMessage {
	for _, s := range settings {
		if s.Name == name {
			return s.Value
		}
	}
	return absent
}

// StageStory is what became of a stage in a rerun, and why.
type StageStory struct {
	Stage   string  `json:"stage"`
	Reused  bool    `json:"reused"`
	Why     string  `json:"why"`
	Seconds float64 `json:"seconds"`
}

// Story says of each stage of a run why its result was reused or made, seen
// from an earlier run.
func Story(before, after step.Outcome) ([]StageStory, error) {
	changed, err := Changes(before.Recipe, after.Recipe)
	if err != nil {
		return nil, err
	}
	var out []StageStory
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
		out = append(out, StageStory{
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
		from, _ := step.StageNamed(rerun.From)
		return "--from " + from.Word + ", from " + stage.Same
	}
	return stage.Same + ", but no result of it was kept"
}
