package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// smeared is noise averaged along the rows or the columns: no two overlap.
func smeared(seed uint64, index int, rows bool) *image.Gray {
	const reach = 9
	noise := make([]float32, (spec.Size+reach)*(spec.Size+reach))
	kernel.NewStream(seed, "smeared", uint64(index)).Normal(noise)
	img := image.NewGray(image.Rect(0, 0, spec.Size, spec.Size))
	for i := range img.Pix {
		y, x, sum := i/spec.Size, i%spec.Size, float32(0)
		for d := range reach {
			if rows {
				sum += noise[y*(spec.Size+reach)+x+d]
			} else {
				sum += noise[(y+d)*(spec.Size+reach)+x]
			}
		}
		img.Pix[i] = uint8(max(0, min(255, 128+15*sum)))
	}
	return img
}

// colours are img's pixels, channel by channel.
func colours(img *image.Gray) []uint8 { return slices.Repeat(img.Pix, spec.Channels) }

// comparing shelves two classes of n images each, candidates of the first of
// which one is rejected, and a comparison of 2 splits with 2 seeds.
func comparing(t *testing.T, n int) (shelf, step.UtilityInput) {
	t.Helper()
	s := newShelf(t)
	for i := range n {
		for class, rows := range map[string]bool{"rows": true, "columns": false} {
			var b bytes.Buffer
			require.NoError(t, png.Encode(&b, smeared(3, i, rows)))
			s.put(fmt.Sprintf("%s/%02d.png", class, i), b.Bytes())
		}
	}
	in := step.UtilityInput{
		Class: "rows", Ingest: s.input().Ingest, Seed: 5,
		Plan: step.UtilityPlan{
			Others: []step.ClassSource{{Class: "columns", Source: step.Source{Bucket: "b", Prefix: "columns/"}}},
			Splits: 2, Seeds: 2, PerClass: 8, Steps: 3,
		},
	}
	s.own(&in)
	var made [][]uint8
	checks := ledger.NeighbourList{}
	for i := range 9 {
		made = append(made, colours(smeared(4, i, true)))
	}
	in.Candidates = candidates(t, s.store, made...)
	list, err := ledger.Candidates.Read(t.Context(), s.store, in.Candidates)
	require.NoError(t, err)
	for _, c := range list.Images {
		checks.Candidates = append(checks.Candidates, ledger.CandidateCheck{Index: c.Index, SHA256: c.Image.SHA256, Accepted: c.Index > 0})
	}
	s.check(&in, checks)
	return s, in
}

// own ingests the judged class as the input says.
func (s shelf) own(in *step.UtilityInput) {
	s.t.Helper()
	from := step.Source{Bucket: "b", Prefix: "rows/"}
	set, _ := s.ingest(step.IngestInput{Class: in.Class, Source: from, Ingest: in.Ingest})
	made, err := s.preprocessor().Preprocess(s.t.Context(), step.PreprocessInput{Dataset: set.Dataset, Source: from})
	require.NoError(s.t, err)
	in.Dataset, in.Tensors = set.Dataset, made.Tensors
}

func (s shelf) check(in *step.UtilityInput, list ledger.NeighbourList) {
	s.t.Helper()
	raw, err := ledger.Neighbours.Encode(list)
	require.NoError(s.t, err)
	obj, err := s.store.PutArtifact(s.t.Context(), raw, ".json")
	require.NoError(s.t, err)
	in.Neighbours = step.Ref(obj)
}

func (s shelf) tester() UtilityTester {
	return UtilityTester{Store: s.store, Sources: s.open, Scratch: s.t.TempDir()}
}

func TestUtility(t *testing.T) {
	s, in := comparing(t, 30)
	c := s.tester()
	var told []string
	c.Progress = func(done, total int) { told = append(told, fmt.Sprintf("%d of %d", done, total)) }
	out, err := c.TestUtility(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, []string{"0 of 4", "1 of 4", "2 of 4", "3 of 4", "4 of 4"}, told)
	require.True(t, out.Done, out.Why)
	require.Equal(t, []string{"rows", "columns"}, out.Classes)
	require.Equal(t, [4]int{16, 12, 4, 24}, [4]int{out.Train, out.Test, out.Pairs, out.Generator})
	var arms []string
	for _, a := range out.Arms {
		arms = append(arms, a.Arm)
		require.True(t, a.MacroF1 >= 0 && a.MacroF1 <= 1)
	}
	require.Equal(t, []string{spec.ArmReal, spec.ArmOversampled, spec.ArmClassic, spec.ArmGenerated, spec.ArmBoth}, arms)
	for _, arm := range []string{spec.ArmGenerated, spec.ArmBoth} {
		g, ok := out.Gain(arm, spec.ArmClassic)
		require.True(t, ok)
		require.True(t, g.Low <= g.Mean && g.Mean <= g.High)
	}
	require.Len(t, out.TextureGains, 2)
	require.Greater(t, out.Arms[0].TextureMacroF1, 0.9, "rows and columns differ in texture")
	require.NotEmpty(t, out.Summary)
	require.Contains(t, strings.Join(out.Notes, "\n"), "the generator has seen 24 images of rows and each classifier 8 of them")

	raw, err := s.store.Read(t.Context(), storage.Object(out.Details), 1<<20)
	require.NoError(t, err)
	scores, err := scoresFormat.Decode(raw)
	require.NoError(t, err)
	require.Len(t, scores.Pairs, 4)
	require.Len(t, scores.Pairs[3].Scores, 10)
	require.InDelta(t, out.Arms[4].MacroF1, mean(scores, 8), 1e-12)
	require.InDelta(t, out.Arms[4].TextureMacroF1, mean(scores, 9), 1e-12)
	require.Equal(t, in.Dataset, scores.Classes[0].Dataset)

	t.Run("is found again", func(t *testing.T) {
		told = nil
		again, err := c.TestUtility(t.Context(), in)
		require.NoError(t, err)
		require.True(t, again.Cached)
		again.Cached = false
		require.Equal(t, out, again)
		require.Empty(t, told, "nothing was trained")
		moved := in
		moved.Plan.Others = slices.Clone(in.Plan.Others)
		moved.Plan.Others[0].Source.Bucket = "elsewhere"
		again, err = c.TestUtility(t.Context(), moved)
		require.NoError(t, err)
		require.True(t, again.Cached)
		again.Cached = false
		require.Equal(t, out, again, "the same images in another place are the same comparison")
	})
	t.Run("on any number of threads", func(t *testing.T) {
		defer kernel.SetThreads(0)
		kernel.SetThreads(3)
		fresh, in := comparing(t, 30)
		again, err := fresh.tester().TestUtility(t.Context(), in)
		require.NoError(t, err)
		require.Equal(t, out, again)
	})
	t.Run("depends on what is compared", func(t *testing.T) {
		for name, change := range map[string]func(*step.UtilityInput){
			"seed":       func(in *step.UtilityInput) { in.Seed++ },
			"steps":      func(in *step.UtilityInput) { in.Plan.Steps++ },
			"neighbours": func(in *step.UtilityInput) { s.check(in, accepting(t, s, in, 5)) },
		} {
			told = nil
			other := in
			change(&other)
			got, err := c.TestUtility(t.Context(), other)
			require.NoError(t, err, name)
			require.NotEqual(t, out.Details, got.Details, name)
			require.Len(t, told, 5, name)
		}
	})
	t.Run("like with like", func(t *testing.T) {
		few := in
		few.Ingest.MaxImages = 8
		s.own(&few)
		got, err := c.TestUtility(t.Context(), few)
		require.NoError(t, err)
		require.Equal(t, 8, got.Generator)
		require.Equal(t, out.Train, got.Train, "the other class keeps its images")
		require.NotContains(t, strings.Join(got.Notes, "\n"), "the generator has seen")
	})
}

// mean is the mean macro-F1 of one place in the pairs' scores.
func mean(s utilityScores, at int) (sum float64) {
	for _, p := range s.Pairs {
		sum += p.Scores[at].MacroF1 / float64(len(s.Pairs))
	}
	return sum
}

// accepting is a check that accepts the candidates from the nth on.
func accepting(t testing.TB, s shelf, in *step.UtilityInput, n int) ledger.NeighbourList {
	t.Helper()
	list, err := ledger.Neighbours.Read(t.Context(), s.store, in.Neighbours)
	require.NoError(t, err)
	for i := range list.Candidates {
		list.Candidates[i].Accepted = i >= n
	}
	return list
}

func TestCompareGoesOnWhereItWasStopped(t *testing.T) {
	s, in := comparing(t, 30)
	c := s.tester()
	ctx, cancel := context.WithCancel(t.Context())
	c.Progress = func(done, _ int) {
		if done == 2 {
			cancel()
		}
	}
	_, err := c.TestUtility(ctx, in)
	require.ErrorIs(t, err, context.Canceled)
	first := -1
	c.Progress = func(done, _ int) {
		if first < 0 {
			first = done
		}
	}
	out, err := c.TestUtility(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, 2, first)
	fresh, again := comparing(t, 30)
	whole, err := fresh.tester().TestUtility(t.Context(), again)
	require.NoError(t, err)
	require.Equal(t, whole, out)
}

// A comparison that can't be made is no failure of the run, and no pass either.
func TestCompareSaysWhyItCannot(t *testing.T) {
	for name, tt := range map[string]struct {
		images int
		change func(s shelf, in *step.UtilityInput)
		why    string
	}{
		"no such folder": {30, func(_ shelf, in *step.UtilityInput) { in.Plan.Others[0].Source.Prefix = "none/" }, "class columns: no images: nothing found below s3://b/none/"},
		"few held out":   {12, nil, "class rows has 2 held out, at least 5 are needed"},
		"none held out": {30, func(s shelf, in *step.UtilityInput) {
			in.Ingest.HoldoutShare = 0
			s.own(in)
		}, "class rows has 0 held out"},
		"few of the other": {30, func(s shelf, in *step.UtilityInput) {
			s.put("one/a.png", metalPNG(s.t, 1))
			in.Plan.Others[0].Source.Prefix = "one/"
		}, "class columns has"},
		"the same images": {30, func(_ shelf, in *step.UtilityInput) { in.Plan.Others[0].Source.Prefix = "rows/" }, "is an image of class rows as well"},
		"none accepted":   {30, func(s shelf, in *step.UtilityInput) { s.check(in, accepting(s.t, s, in, 9)) }, "no candidate was accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			s, in := comparing(t, tt.images)
			if tt.change != nil {
				tt.change(s, &in)
			}
			out, err := s.tester().TestUtility(t.Context(), in)
			require.NoError(t, err)
			require.False(t, out.Done)
			require.Contains(t, out.Why, tt.why)
			require.Equal(t, "not compared: "+out.Why, out.Summary)
			m := counted(step.AssessInput{Utility: out})
			verdict, rules := quality.Decide(spec.UsefulPolicy(), m)
			require.NotEqual(t, spec.Pass, verdict)
			last := rules[len(rules)-1]
			require.Equal(t, spec.Inconclusive, last.Outcome)
			require.Contains(t, last.Reason, tt.why)
		})
	}
}

func TestCompareRefusesAndPassesOn(t *testing.T) {
	s, in := comparing(t, 30)
	for text, change := range map[string]func(*step.UtilityInput){
		"class is empty":                     func(in *step.UtilityInput) { in.Class = "" },
		"plan.others has 0 classes":          func(in *step.UtilityInput) { in.Plan.Others = nil },
		`plan.others[0].class is "rows"`:     func(in *step.UtilityInput) { in.Class, in.Plan.Others[0].Class = "rows", "rows" },
		"plan.splits is 1 and plan.seeds is": func(in *step.UtilityInput) { in.Plan.Splits, in.Plan.Seeds = 1, 1 },
		"plan.per_class is 0":                func(in *step.UtilityInput) { in.Plan.PerClass = 0 },
		"tensors of data set":                func(in *step.UtilityInput) { in.Dataset = dataSet(t, s, "columns") },
	} {
		bad := in
		bad.Plan.Others = slices.Clone(in.Plan.Others)
		change(&bad)
		_, err := s.tester().TestUtility(t.Context(), bad)
		requirePermanent(t, err, step.ErrBadInput, text)
	}
	// A store that is down for a moment is no reason.
	c := s.tester()
	c.Sources = func(context.Context, string) (storage.Reader, error) { return nil, errors.New("connection refused") }
	_, err := c.TestUtility(t.Context(), in)
	require.ErrorContains(t, err, "class columns: open source bucket")
}

// dataSet is the manifest of another class.
func dataSet(t *testing.T, s shelf, class string) step.Ref {
	t.Helper()
	for i := range 9 {
		s.put(fmt.Sprintf("other-%s/%d.png", class, i), metalPNG(t, i))
	}
	out, _ := s.ingest(step.IngestInput{Class: class, Source: step.Source{Bucket: "b", Prefix: "other-" + class + "/"}, Ingest: s.input().Ingest})
	return out.Dataset
}

func TestClaim(t *testing.T) {
	gain := func(arm string, low, mean, high float64) step.GainResult {
		return step.GainResult{Arm: arm, Over: spec.ArmClassic, Low: low, Mean: mean, High: high}
	}
	for name, tt := range map[string]struct {
		gains        []step.GainResult
		helps, harms bool
		says         string
	}{
		"helps":    {[]step.GainResult{gain(spec.ArmGenerated, -0.1, 0, 0.1), gain(spec.ArmBoth, 0.01, 0.02, 0.03)}, true, false, "the set helps: with generated images, mirrored and turned, a small classifier's macro-F1 is +0.020"},
		"harms":    {[]step.GainResult{gain(spec.ArmGenerated, -0.3, -0.2, -0.1), gain(spec.ArmBoth, -0.2, -0.1, -0.01)}, false, true, "the set harms"},
		"not both": {[]step.GainResult{gain(spec.ArmGenerated, -0.3, -0.2, -0.1), gain(spec.ArmBoth, -0.2, -0.1, 0)}, false, false, "no gain is shown"},
		"at zero":  {[]step.GainResult{gain(spec.ArmGenerated, 0, 0.1, 0.2), gain(spec.ArmBoth, -0.1, 0, 0.1)}, false, false, "no gain is shown"},
		"tied":     {[]step.GainResult{gain(spec.ArmGenerated, 0, 0, 0), gain(spec.ArmBoth, 0, 0, 0)}, false, false, "nothing is shown"},
		"one tied": {[]step.GainResult{gain(spec.ArmGenerated, 0.1, 0.1, 0.1), gain(spec.ArmBoth, -0.1, 0, 0.1)}, false, false, "no gain is shown"},
	} {
		u := step.UtilityResult{Done: true, Gains: tt.gains}
		helps, harms, summary := claim(u)
		require.Equal(t, [2]bool{tt.helps, tt.harms}, [2]bool{helps, harms}, name)
		require.Contains(t, summary, tt.says, name)
		u.Helps = helps
		_, rules := quality.Decide(spec.UsefulPolicy(), counted(step.AssessInput{Utility: u}))
		require.Equal(t, tt.helps, rules[len(rules)-1].Outcome == spec.Pass, name)
	}
	_, rules := quality.Decide(spec.UsefulPolicy(), counted(step.AssessInput{}))
	require.Equal(t, spec.Inconclusive, rules[len(rules)-1].Outcome, "no other classes")
	require.Contains(t, rules[len(rules)-1].Reason, "--compare")
}
