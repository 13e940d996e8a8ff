package step

import "github.com/defectforge/defectforge/model/spec"

// Sample draws the candidates.
const Sample Step[SampleInput, SampleResult] = "Sample"

type SampleInput struct {
	Checkpoint Ref         `json:"checkpoint"`
	Recipe     spec.Recipe `json:"recipe"`
	// Refresh: the stage is done even where an earlier result would be found.
	Refresh bool `json:"refresh,omitempty"`
}

type SampleResult struct {
	Found
	// Candidates lists the images, in order: a CandidateList as JSON.
	Candidates Ref `json:"candidates"`
	Count      int `json:"count"`
}

// Facts are what the result says in a log line.
func (r SampleResult) Facts() []any { return []any{"candidates", r.Count} }
