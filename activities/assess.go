package activities

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// Assessor decides about a set of candidates.
type Assessor struct {
	Store   *storage.Store
	Scratch string // folder for temporary files; empty means the system's
}

// Assess takes every measure that the check and the images allow and holds the
// policy's rules against them. Copying is measured over all candidates,
// likeness and variety over those that are accepted. It fails where the store
// does; what can't be measured makes its rules inconclusive.
func (a Assessor) Assess(ctx context.Context, in step.AssessInput) (step.AssessResult, error) {
	policy := in.Policy
	if len(policy.Rules) == 0 { // histories older than policies
		policy = spec.CopyingPolicy()
	}
	measures, err := a.measure(ctx, in)
	if err != nil {
		return step.AssessResult{}, err
	}
	ref, err := ledger.Measures.Put(ctx, a.Store, ledger.MeasureList{Measures: measures})
	if err != nil {
		return step.AssessResult{}, fmt.Errorf("store measures: %w", err)
	}
	verdict, rules := quality.Decide(policy, measures)
	return step.AssessResult{Verdict: verdict, Scope: policy.Scope, Policy: policy.Name, Rules: rules, Measures: ref}, nil
}

func (a Assessor) measure(ctx context.Context, in step.AssessInput) (quality.Measures, error) {
	m := counted(in)
	if in.Check.Neighbours.IsZero() {
		m.Note("copying and likeness: nothing was compared")
		return m, nil
	}
	list, err := ledger.Neighbours.Read(ctx, a.Store, in.Check.Neighbours)
	if err != nil {
		return m, err
	}
	m.AddCopies(copies(list), list.TailQuantile)
	if in.Tensors.IsZero() || in.Dataset.IsZero() || in.Sample.Candidates.IsZero() {
		m.Note("likeness: the images were not given")
		return m, nil
	}
	return m, a.likeness(ctx, in, list, &m)
}

// counted takes the measures that earlier stages counted.
func counted(in step.AssessInput) quality.Measures {
	var m quality.Measures
	reals, candidates := in.Ingest.Training+in.Ingest.Holdout, in.Sample.Count
	m.Set(spec.MeasureRealImages, float64(reals))
	m.Set(spec.MeasureHoldoutImages, float64(in.Ingest.Holdout))
	m.Set(spec.MeasureAccepted, float64(in.Check.Accepted))
	rows := cmp.Or(in.Rows, reals) // that candidates were to be compared with
	compared, repeated := math.NaN(), math.NaN()
	judged := in.Check.Accepted + in.Check.Rejected
	// More than there are means that the numbers do not belong together.
	if candidates > 0 && reals > 0 && judged <= candidates && in.Check.Real <= rows && in.Check.Accepted >= 0 && in.Check.Rejected >= 0 {
		compared = min(float64(judged)/float64(candidates), float64(in.Check.Real)/float64(rows))
		repeated = float64(in.Check.Repeated+in.Check.Blank) / float64(candidates)
	}
	m.Set(spec.MeasureCompared, compared)
	m.Set(spec.MeasureRepeated, repeated)
	gained(&m, in.Utility)
	return m
}

// gained takes the gain that the utility study has shown: the better of the
// generated arms' lower bounds.
func gained(m *quality.Measures, u step.UtilityResult) {
	const name = spec.MeasureUtilityGain
	gains := slices.DeleteFunc(deciding(u), tied)
	switch {
	case u.Why != "":
		m.Miss(name, u.Why)
		m.Note("comparison of classifiers: %s", u.Why)
	case !u.Done:
		m.Miss(name, "the run knew no other classes; `run --compare CLASS=SRC` names them")
	case len(gains) == 0:
		m.Miss(name, allTied)
	default:
		m.Set(name, slices.MaxFunc(gains, func(a, b step.GainResult) int { return cmp.Compare(a.Low, b.Low) }).Low)
	}
}

// copies is what the measures of copying need of the list.
func copies(l ledger.NeighbourList) quality.Copies {
	c := quality.Copies{
		TailAt: l.TailAt, TransformedTailAt: l.TransformedTailAt, DisguisedRejectAt: l.DisguisedRejectAt,
		Holdout: l.HoldoutNearest, HoldoutGroups: l.HoldoutGroups, Notes: l.Notes,
	}
	for _, check := range l.Candidates {
		c.ToTraining = append(c.ToTraining, check.Training)
		t := quality.Transformed{Index: -1, Distance: math.NaN()}
		if check.Transformed != nil {
			t = quality.Transformed{Distance: check.Transformed.Distance}
		}
		c.Transformed = append(c.Transformed, t)
		if l.DisguisedRejectAt > 0 {
			d := quality.Disguised{Index: -1, Distance: math.Inf(1)}
			if check.Disguised != nil {
				d.Distance = check.Disguised.Distance
			}
			c.Disguised = append(c.Disguised, d)
		}
	}
	return c
}

// likeness reads the accepted candidates and the real images, samples of them
// where there are many, and compares them as sets.
func (a Assessor) likeness(ctx context.Context, in step.AssessInput, list ledger.NeighbourList, m *quality.Measures) error {
	dir, cleanUp, err := scratch(a.Scratch)
	if err != nil {
		return err
	}
	defer cleanUp()
	l := quality.LikenessInput{TailAt: list.TailAt, Seed: in.Seed}
	if l.Training, l.TrainingGroups, err = a.reals(ctx, in, dir, ledger.SplitTraining, m); err != nil {
		return err
	}
	if l.Holdout, l.HoldoutGroups, err = a.reals(ctx, in, dir, ledger.SplitHoldout, m); err != nil {
		return err
	}
	if l.Candidates, err = a.accepted(ctx, in, list, m); err != nil {
		return err
	}
	return m.AddLikeness(ctx, l)
}

// sample draws the numbers of the images that are compared as a set.
func sample(n int, seed uint64, what string, m *quality.Measures) []int {
	at := quality.Subsample(n, quality.MaxLikened, seed, "assess "+what)
	if len(at) < n {
		m.Note("likeness and variety: of %d %s images, %d drawn by chance", n, what, len(at))
	}
	return at
}

// reals reads a split's images and their groups.
func (a Assessor) reals(ctx context.Context, in step.AssessInput, dir, split string, m *quality.Measures) ([]uint8, []string, error) {
	dataset, err := ledger.Datasets.Read(ctx, a.Store, in.Dataset)
	if err != nil {
		return nil, nil, err
	}
	index, err := ledger.Tensors.Read(ctx, a.Store, in.Tensors)
	if err != nil {
		return nil, nil, err
	}
	names, err := index.RowsOf(dataset, split)
	if err != nil {
		return nil, nil, err
	}
	im, err := ledger.OpenImages(ctx, a.Store, index, dir, split)
	if err != nil {
		return nil, nil, err
	}
	defer im.Close()
	at := sample(im.Len(), in.Seed, split, m)
	pixels, kept := make([]uint8, len(at)*spec.ImageLen), make([]ledger.DatasetImage, len(at))
	for k, i := range at {
		kept[k] = names[i]
		if err := im.Row(pixels[k*spec.ImageLen:], i); err != nil {
			return nil, nil, err
		}
	}
	return pixels, ledger.Groups(kept), nil
}

// accepted reads the candidates that the check accepted.
func (a Assessor) accepted(ctx context.Context, in step.AssessInput, list ledger.NeighbourList, m *quality.Measures) ([]uint8, error) {
	candidates, err := ledger.Candidates.Read(ctx, a.Store, in.Sample.Candidates)
	if err != nil {
		return nil, err
	}
	set, err := ledger.Join(candidates, list)
	if err != nil {
		return nil, err
	}
	kept := set.Accepted()
	var drawn []ledger.Candidate
	for _, i := range sample(len(kept), in.Seed, "accepted", m) {
		drawn = append(drawn, kept[i].Candidate)
	}
	return fetchCandidates(ctx, a.Store, drawn)
}
