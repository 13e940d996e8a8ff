package step

import "github.com/defectforge/defectforge/model/spec"

// Utility compares classifiers trained with and without the set. Only runs that
// know other classes ask for it.
const Utility Step[UtilityInput, UtilityResult] = "Utility"

// ClassSource is another class's real images.
type ClassSource struct {
	Class  string `json:"class"`
	Source Source `json:"source"`
}

// UtilityPlan asks whether the set helps a classifier to distinguish its class from others.
type UtilityPlan struct {
	Others []ClassSource `json:"others"`
	Splits int           `json:"splits"` // test splits
	Seeds  int           `json:"seeds"`  // paired trainings of each split
	// PerClass is the number of real training images of each class: at most as
	// many as the generator saw.
	PerClass int `json:"per_class"`
	Steps    int `json:"steps"` // optimiser steps, the same for every arm
}

type UtilityInput struct {
	Class      string      `json:"class"`
	Dataset    Ref         `json:"dataset"`
	Tensors    Ref         `json:"tensors"`
	Candidates Ref         `json:"candidates"`
	Neighbours Ref         `json:"neighbours"`
	Ingest     spec.Ingest `json:"ingest"` // limits for the other classes' images
	Plan       UtilityPlan `json:"plan"`
	Seed       uint64      `json:"seed"`
}

// UtilityResult is zero where the run knew no other classes.
type UtilityResult struct {
	Found
	Done    bool         `json:"done"`
	Details Ref          `json:"details"` // every training's scores, as JSON
	Arms    []ArmResult  `json:"arms"`
	Gains   []GainResult `json:"gains"`
	// TextureGains are those of a second classifier, logistic regression over
	// textures, for a second opinion: no claim rests on them.
	TextureGains []GainResult `json:"texture_gains,omitempty"`
	Pairs        int          `json:"pairs,omitempty"` // trainings of each arm
	Test         int          `json:"test"`            // test images of a split, all classes together
	Train        int          `json:"train"`           // real training images, all classes together
	// Helps: the gain over spec.ArmClassic of spec.ArmGenerated or spec.ArmBoth has
	// its whole interval above 0. Harms: both gains have theirs below.
	Helps   bool   `json:"helps"`
	Harms   bool   `json:"harms,omitempty"`
	Summary string `json:"summary"`
	// Why says why nothing was compared though the run knew other classes; Done is
	// false then.
	Why string `json:"why,omitempty"`
	// Notes say what was not done as planned, and what the numbers do not show.
	Notes []string `json:"notes,omitempty"`
	// Classes that were distinguished, the set's own first.
	Classes []string `json:"classes,omitempty"`
	// Generator is the number of images that the generator was trained on.
	Generator int `json:"generator,omitempty"`
}

// Gain is the result's gain of one arm over another, false where there is none.
func (u UtilityResult) Gain(arm, over string) (GainResult, bool) {
	for _, g := range u.Gains {
		if g.Arm == arm && g.Over == over {
			return g, true
		}
	}
	return GainResult{}, false
}

// ArmResult is an arm's mean macro-F1 over all trainings, in [0,1], and the F1
// of the class in question.
type ArmResult struct {
	Arm     string  `json:"arm"`
	MacroF1 float64 `json:"macro_f1"`
	ClassF1 float64 `json:"class_f1"`
	// The same by logistic regression over textures.
	TextureMacroF1 float64 `json:"texture_macro_f1,omitempty"`
	TextureClassF1 float64 `json:"texture_class_f1,omitempty"`
}

// GainResult is a mean paired difference of macro-F1, with its 95% interval
// after Nadeau and Bengio.
type GainResult struct {
	Arm  string  `json:"arm"`
	Over string  `json:"over"`
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Facts are what the result says in a log line.
func (u UtilityResult) Facts() []any { return []any{"helps", u.Helps, "summary", u.Summary} }
