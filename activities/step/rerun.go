package step

// Rerun says which run another one repeats with changes.
type Rerun struct {
	Of Run `json:"of"`
	// From, if set, is the first stage that is done again even where its result
	// would be found: one of RerunStages.
	From string `json:"from,omitempty"`
}

// RerunStages are the stages that a rerun may begin with, in their order.
func RerunStages() []string {
	return []string{string(Ingest), string(Preprocess), string(Train), string(Sample), string(CheckOverfit)}
}

// Found is embedded in the results of stages that look for an earlier result.
type Found struct {
	// Cached: an earlier result was found, and nothing was done.
	Cached bool `json:"cached,omitempty"`
}

// WasFound reports whether an earlier result was found.
func (f Found) WasFound() bool { return f.Cached }

// WasFound reports whether the tensors of an unchanged data set were found.
func (r PreprocessResult) WasFound() bool { return r.Cached }
