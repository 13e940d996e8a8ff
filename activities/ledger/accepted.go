package ledger

import (
	"context"
	"slices"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
)

// CheckedCandidate is a candidate with the overfit check's outcome for it.
type CheckedCandidate struct {
	Candidate
	Check CandidateCheck
}

// CheckedSet is a list of candidates with the check of the whole list.
type CheckedSet struct {
	Checkpoint string // SHA-256 of the one that drew the candidates
	Seed       uint64
	Candidates []CheckedCandidate // all of them, in the list's order
	Checks     NeighbourList
}

// ReadChecked reads a list of candidates and its check.
func ReadChecked(ctx context.Context, s *storage.Store, candidates, neighbours step.Ref) (CheckedSet, error) {
	list, err := Candidates.Read(ctx, s, candidates)
	if err != nil {
		return CheckedSet{}, err
	}
	checks, err := Neighbours.Read(ctx, s, neighbours)
	if err != nil {
		return CheckedSet{}, err
	}
	return Join(list, checks)
}

// Join puts candidates and checks together. A list and a check that are not of the
// same images, one by one, are a permanent failure of type step.ErrBadInput: what
// was checked is not what would be used.
func Join(list CandidateList, checks NeighbourList) (CheckedSet, error) {
	set := CheckedSet{Checkpoint: list.Checkpoint, Seed: list.Seed, Checks: checks}
	if len(list.Images) != len(checks.Candidates) {
		return set, Permanent(step.ErrBadInput, "%d candidates of checkpoint %s with %d checks: do not belong together",
			len(list.Images), list.Checkpoint, len(checks.Candidates))
	}
	set.Candidates = make([]CheckedCandidate, len(list.Images))
	for i, c := range list.Images {
		check := checks.Candidates[i]
		if check.Index != c.Index || check.SHA256 != c.Image.SHA256 {
			return set, Permanent(step.ErrBadInput, "candidate %d, %s: its check is of candidate %d, %s",
				c.Index, c.Image.SHA256, check.Index, check.SHA256)
		}
		set.Candidates[i] = CheckedCandidate{c, check}
	}
	return set, nil
}

// Accepted are the candidates that the check accepted, in the list's order.
func (s CheckedSet) Accepted() []CheckedCandidate {
	return slices.DeleteFunc(slices.Clone(s.Candidates), func(c CheckedCandidate) bool { return !c.Check.Accepted })
}
