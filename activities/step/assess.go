package step

import "github.com/defectforge/defectforge/model/spec"

// Assess takes the measures and holds the policy's rules against them.
const Assess Step[AssessInput, AssessResult] = "Assess"

type AssessInput struct {
	Ingest  IngestResult  `json:"ingest"`
	Sample  SampleResult  `json:"sample"`
	Check   OverfitResult `json:"check"`
	Tensors Ref           `json:"tensors"`
	Dataset Ref           `json:"dataset"`
	// Rows is how many tensors there are of the images for training and of those held
	// out, where that is not one of each.
	Rows int `json:"rows,omitempty"`
	// Policy decides; its rules name the measures.
	Policy  spec.Policy   `json:"policy"`
	Utility UtilityResult `json:"utility"`
	Seed    uint64        `json:"seed"` // of subsamples, bootstraps and projections
}

type AssessResult struct {
	Verdict string `json:"verdict"`
	// Scope says what was judged, in words, so that nobody reads more into it.
	Scope  string        `json:"scope"`
	Policy string        `json:"policy"` // its name
	Rules  []spec.Judged `json:"rules"`
	// Measures holds every measure that was taken, bounded by a rule or not: a
	// Measures document as JSON.
	Measures Ref `json:"measures"`
}

// Facts are what the result says in a log line.
func (r AssessResult) Facts() []any { return []any{"verdict", r.Verdict, "policy", r.Policy} }
