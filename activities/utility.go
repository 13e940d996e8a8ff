package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/classifier"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

const (
	// maxStudied bounds the images of one class and split that are in memory, at
	// 44 KiB each.
	maxStudied = 2000
	// maxOthers bounds the other classes.
	maxOthers = 50
	// maxPairs bounds the pairs, so that the scores are a document of a few MiB.
	maxPairs = 10_000
	// fetched is how many candidates are read before they are made smaller.
	fetched = 256
)

// UtilityTester finds out whether a set helps a classifier to distinguish its
// class from others.
type UtilityTester struct {
	Store   *storage.Store
	Sources func(ctx context.Context, bucket string) (storage.Reader, error)
	Scratch string // folder for temporary files; empty means the system's
	// Progress, if set, is called with the pairs done.
	Progress func(done, total int)
}

// TestUtility trains classifiers with and without the accepted candidates, in
// pairs, on the class's training images and the other classes' images, which it
// reads, groups and holds out as Ingest does. It tests on images that the
// generator never saw. An earlier study of the same content is found, and one
// that was stopped resumes with the next pair; neither changes the scores.
// Classes that can't be tested, for too few images or a source that is not
// there, are no failure: the result says why.
func (c UtilityTester) TestUtility(ctx context.Context, in step.UtilityInput) (step.UtilityResult, error) {
	if err := checkUtility(in); err != nil {
		return step.UtilityResult{}, err
	}
	s := &utilityStudy{UtilityTester: c, in: in}
	out, err := s.run(ctx)
	var not untestable
	if errors.As(err, &not) && ctx.Err() == nil {
		return step.UtilityResult{Why: not.why, Summary: "not compared: " + not.why}, nil
	}
	return out, err
}

// untestable is why a set's utility can't be tested.
type untestable struct{ why string }

func (e untestable) Error() string { return e.why }

func checkUtility(in step.UtilityInput) error {
	p := in.Plan
	switch {
	case in.Class == "":
		return ledger.Permanent(step.ErrBadInput, "class is empty; name the defect class")
	case len(p.Others) < 1 || len(p.Others) > maxOthers:
		return ledger.Permanent(step.ErrBadInput, "plan.others has %d classes; give 1 to %d", len(p.Others), maxOthers)
	case p.Splits < 1 || p.Seeds < 1 || p.Splits*p.Seeds < 2 || p.Splits*p.Seeds > maxPairs:
		return ledger.Permanent(step.ErrBadInput,
			"plan.splits is %d and plan.seeds is %d; both must be above 0, and 2 to %d pairs come of them", p.Splits, p.Seeds, maxPairs)
	case p.PerClass < 1 || p.Steps < 1:
		return ledger.Permanent(step.ErrBadInput, "plan.per_class is %d and plan.steps is %d; both must be above 0", p.PerClass, p.Steps)
	}
	for i, o := range p.Others {
		named := func(e step.ClassSource) bool { return e.Class == o.Class }
		if o.Class == "" || o.Class == in.Class || slices.ContainsFunc(p.Others[:i], named) {
			return ledger.Permanent(step.ErrBadInput, "plan.others[%d].class is %q; every class needs a name of its own", i, o.Class)
		}
	}
	return nil
}

// utilityStudy is one study under way.
type utilityStudy struct {
	UtilityTester
	in      step.UtilityInput
	classes []studied // the set's own first
	notes   []string
}

// studied is a class's data set and its pixels.
type studied struct {
	Class   string   `json:"class"`
	Dataset step.Ref `json:"dataset"`
	Tensors step.Ref `json:"tensors"`
}

func (s *utilityStudy) run(ctx context.Context) (step.UtilityResult, error) {
	if err := s.gather(ctx); err != nil {
		return step.UtilityResult{}, err
	}
	out, found, err := s.memo().Do(ctx, s.Store, false, func() (step.UtilityResult, error) { return s.compute(ctx) })
	out.Cached = found
	return out, err
}

func (s *utilityStudy) compute(ctx context.Context) (step.UtilityResult, error) {
	study, generator, err := s.study(ctx)
	if err != nil {
		return step.UtilityResult{}, err
	}
	pairs, err := s.pairs(ctx, study)
	if err != nil {
		return step.UtilityResult{}, err
	}
	return s.conclude(ctx, study, pairs, generator)
}

// inputs name the study by what decides it: content, not where it lies. The
// first number counted versions before Memo did.
func (s *utilityStudy) inputs() any {
	var classes [][]string
	for _, c := range s.classes {
		classes = append(classes, []string{c.Class, c.Dataset.SHA256, c.Tensors.SHA256})
	}
	p := s.in.Plan
	return []any{2, classes, s.in.Candidates.SHA256, s.in.Neighbours.SHA256, p.Splits, p.Seeds, p.PerClass, p.Steps, s.in.Seed}
}

// utilityVersion goes up whenever the same images give other scores.
const utilityVersion = 1

// memo is where the study is remembered.
func (s *utilityStudy) memo() ledger.Memo[step.UtilityResult] {
	return ledger.Memo[step.UtilityResult]{
		Stage: "utility", Version: utilityVersion, Inputs: s.inputs(),
		Refs: func(_ context.Context, _ *storage.Store, r step.UtilityResult) ([]step.Ref, error) {
			return []step.Ref{r.Details}, nil
		},
	}
}

// partMemo is where the pairs of a study under way are remembered, so that a
// killed one resumes with the next pair.
func (s *utilityStudy) partMemo() ledger.Memo[[]classifier.Pair] {
	return ledger.Memo[[]classifier.Pair]{Stage: "utility-part", Version: utilityVersion, Inputs: s.inputs()}
}

// pairs trains every pair but those that an earlier attempt has left.
func (s *utilityStudy) pairs(ctx context.Context, study *classifier.Study) ([]classifier.Pair, error) {
	p := s.in.Plan
	total := p.Splits * p.Seeds
	memo := s.partMemo()
	pairs, _, err := memo.Look(ctx, s.Store)
	if err != nil {
		return nil, err
	}
	for len(pairs) < total {
		s.progress(len(pairs), total)
		at := len(pairs)
		pair, err := study.Pair(ctx, at/p.Seeds, at%p.Seeds)
		if err != nil {
			return nil, fmt.Errorf("pair %d of %d: %w", at+1, total, err)
		}
		pairs = append(pairs, pair)
		if err := memo.Remember(ctx, s.Store, pairs); err != nil {
			return nil, err
		}
	}
	s.progress(total, total)
	return pairs[:total], nil
}

func (s *utilityStudy) progress(done, total int) {
	if s.Progress != nil {
		s.Progress(done, total)
	}
}

// conclude sums up, and stores the scores.
func (s *utilityStudy) conclude(
	ctx context.Context, study *classifier.Study, pairs []classifier.Pair, generator int,
) (step.UtilityResult, error) {
	out := step.UtilityResult{Done: true, Train: study.Train(), Test: study.Test(), Generator: generator, Pairs: len(pairs)}
	for _, c := range s.classes {
		out.Classes = append(out.Classes, c.Class)
	}
	for _, arm := range spec.Arms() {
		net, texture := classifier.Mean(pairs, classifier.Convolution, arm.Name), classifier.Mean(pairs, classifier.Texture, arm.Name)
		out.Arms = append(out.Arms, step.ArmResult{
			Arm: arm.Name, MacroF1: net.MacroF1, ClassF1: net.ClassF1, TextureMacroF1: texture.MacroF1, TextureClassF1: texture.ClassF1,
		})
	}
	for _, g := range [][2]string{
		{spec.ArmGenerated, spec.ArmClassic}, {spec.ArmBoth, spec.ArmClassic}, // these decide
		{spec.ArmGenerated, spec.ArmReal}, {spec.ArmGenerated, spec.ArmOversampled}, {spec.ArmClassic, spec.ArmReal},
	} {
		gain := study.Gain(pairs, classifier.Convolution, g[0], g[1])
		out.Gains = append(out.Gains, gainOf(gain, g[0], g[1]))
	}
	for _, arm := range []string{spec.ArmGenerated, spec.ArmBoth} {
		gain := study.Gain(pairs, classifier.Texture, arm, spec.ArmClassic)
		out.TextureGains = append(out.TextureGains, gainOf(gain, arm, spec.ArmClassic))
	}
	perClass := study.Train() / len(s.classes)
	if generator > perClass {
		out.Notes = append(out.Notes, fmt.Sprintf("the generator has seen %d images of %s and each classifier %d of them: "+
			"a gain may be that of the images it passed on, not of what it made of them; ingest.max_images=%d compares like with like",
			generator, s.in.Class, perClass, perClass))
	}
	out.Notes = append(append(out.Notes, study.Notes...), s.notes...)
	out.Helps, out.Harms, out.Summary = claim(out)
	return out, s.store(ctx, &out, pairs)
}

// gainOf is the gain of one arm over another.
func gainOf(g classifier.Gain, arm, over string) step.GainResult {
	return step.GainResult{Arm: arm, Over: over, Mean: g.Mean, Low: g.Low, High: g.High}
}

// utilityScores are the scores of every training.
type utilityScores struct {
	ledger.Header
	Classes []studied         `json:"classes"`
	Plan    classifier.Plan   `json:"plan"`
	Notes   []string          `json:"notes"`
	Pairs   []classifier.Pair `json:"pairs"`
}

var scoresFormat = ledger.Format[utilityScores]{Name: "defectforge.utility/1"}

func (s *utilityStudy) store(ctx context.Context, out *step.UtilityResult, pairs []classifier.Pair) error {
	p := s.in.Plan
	ref, err := scoresFormat.Put(ctx, s.Store, utilityScores{
		Classes: s.classes, Notes: append([]string{}, out.Notes...), Pairs: pairs,
		Plan: classifier.Plan{Splits: p.Splits, Seeds: p.Seeds, PerClass: p.PerClass, Steps: p.Steps, Seed: s.in.Seed},
	})
	out.Details = ref
	return ledger.Wrap("store scores", err)
}

// deciding are the gains that a claim rests on.
func deciding(u step.UtilityResult) (out []step.GainResult) {
	for _, arm := range []string{spec.ArmGenerated, spec.ArmBoth} {
		if g, ok := u.Gain(arm, spec.ArmClassic); ok {
			out = append(out, g)
		}
	}
	return out
}

// tied: every training of the two arms scored alike, so that their interval has
// no width and says nothing.
func tied(g step.GainResult) bool { return g.Low == g.High }

// claim says in words what the study has shown.
func claim(u step.UtilityResult) (helps, harms bool, summary string) {
	gains := slices.DeleteFunc(deciding(u), tied)
	if len(gains) == 0 {
		return false, false, allTied
	}
	best := slices.MaxFunc(gains, func(a, b step.GainResult) int { return cmp.Compare(a.Low, b.Low) })
	helps = best.Low > 0
	harms = len(gains) == 2 && !slices.ContainsFunc(gains, func(g step.GainResult) bool { return g.High >= 0 })
	verdict := "no gain is shown"
	switch {
	case helps:
		verdict = "the set helps"
	case harms:
		verdict = "the set harms"
	}
	return helps, harms, fmt.Sprintf("%s: with %s a small classifier's macro-F1 is %+.3f against classic augmentation "+
		"(95%% between %+.3f and %+.3f, %d trainings of each arm)",
		verdict, spec.ArmNamed(best.Arm).Adds, best.Mean, best.Low, best.High, u.Pairs)
}

// allTied is the summary where no interval says anything.
const allTied = "nothing is shown: every training scored alike, so that the classes are too easy, " +
	"or the test images too few, to tell the arms apart"
