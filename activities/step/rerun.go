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
	var names []string
	for _, s := range table {
		if s.From {
			names = append(names, s.Name)
		}
	}
	return names
}

// Refreshes reports whether the rerun has a stage done even where its result
// would be found. Stages that no rerun begins with take an earlier result;
// parts follow their whole.
func (r *Rerun) Refreshes(name string) bool {
	if r == nil || r.From == "" {
		return false
	}
	s, ok := StageNamed(name)
	if ok && s.Of != "" {
		s, ok = StageNamed(s.Of)
	}
	return ok && s.From && !Before(s.Name, r.From)
}

// Found is embedded in the results of stages that look for an earlier result.
type Found struct {
	// Cached: an earlier result was found, and nothing was done.
	Cached bool `json:"cached,omitempty"`
}

// WasFound reports whether an earlier result was found.
func (f Found) WasFound() bool { return f.Cached }
