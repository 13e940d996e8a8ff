package quality

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

// outcome is how one set was judged.
type outcome struct {
	verdict  string
	broken   []string
	measures Measures
	rejected []int // candidates
}

func copiesOf(t *testing.T, real thirds, candidates []uint8) Copies {
	t.Helper()
	copies, err := FindCopies(t.Context(), CopyInput{
		Candidates: FirstChannels(candidates), Training: oneShard(real.training), Holdout: oneShard(real.holdout),
		Luminances: &Luminances{
			Candidates: FirstChannels(candidates), Training: oneShard(real.training), Holdout: oneShard(real.holdout),
		},
		Groups: real.trainingGroups, HoldoutGroups: real.holdoutGroups, RejectQuantile: 0.01, TailQuantile: 0.05, Neighbours: 1,
	})
	require.NoError(t, err)
	return copies
}

// part is what was found of the candidates from..to.
func (c Copies) part(from, to int) Copies {
	c.Nearest, c.ToTraining, c.Transformed = c.Nearest[from:to], c.ToTraining[from:to], c.Transformed[from:to]
	c.Disguised = c.Disguised[from:to]
	return c
}

// judgeSets judges each set as the assess stage does. Copies are looked for in all
// of them at once, which gives the same.
func judgeSets(t *testing.T, real thirds, sets [][]uint8, seed uint64) []outcome {
	t.Helper()
	copies := copiesOf(t, real, slices.Concat(sets...))
	var out []outcome
	from := 0
	for _, set := range sets {
		to := from + countImages(set)
		out = append(out, judgeSet(t, real, set, copies.part(from, to), seed))
		from = to
	}
	return out
}

func judgeSet(t *testing.T, real thirds, candidates []uint8, copies Copies, seed uint64) outcome {
	t.Helper()
	var out outcome
	var accepted []int
	for i := range countImages(candidates) {
		if why, _, _ := copies.Reason(i, func(n int) string { return fmt.Sprint(n) }); why == "" {
			accepted = append(accepted, i)
		} else {
			out.rejected = append(out.rejected, i)
		}
	}
	n := countImages(real.training) + countImages(real.holdout)
	out.measures.Set(spec.MeasureRealImages, float64(n))
	out.measures.Set(spec.MeasureHoldoutImages, float64(countImages(real.holdout)))
	out.measures.Set(spec.MeasureCompared, 1)
	out.measures.Set(spec.MeasureAccepted, float64(len(accepted)))
	out.measures.Set(spec.MeasureRepeated, 0)
	out.measures.AddCopies(copies, 0.05)
	require.NoError(t, out.measures.AddLikeness(t.Context(), LikenessInput{
		Training: real.training, Holdout: real.holdout, Candidates: pick(candidates, accepted),
		TrainingGroups: real.trainingGroups, HoldoutGroups: real.holdoutGroups, TailAt: copies.TailAt, Reals: n, Seed: seed,
	}))
	return decided(out.measures, out.rejected)
}

// decided holds the policy's rules against measures.
func decided(m Measures, rejected []int) outcome {
	out := outcome{measures: m, rejected: rejected}
	var rules []spec.Judged
	out.verdict, rules = Decide(spec.ProductionPolicy(), m)
	for _, r := range rules {
		if r.Outcome != spec.Pass {
			out.broken = append(out.broken, fmt.Sprintf("%s=%.3g", r.Name, r.Value))
		}
	}
	return out
}

// apartFrom is o as if these rules had not been asked for.
func (o outcome) apartFrom(rules ...string) outcome {
	o.broken = slices.DeleteFunc(slices.Clone(o.broken), func(b string) bool {
		return slices.Contains(rules, strings.Split(b, "=")[0])
	})
	if len(o.broken) == 0 {
		o.verdict = spec.Pass
	}
	return o
}

// tally counts what a case's repetitions gave.
type tally struct {
	sets, caught   int // sets that did not pass
	copies, struck int // planted copies, and those rejected one by one
	innocent, hit  int // candidates that are no copies, and those rejected
	broken         map[string]int
}

type study map[string]*tally

func (s study) add(name string, o outcome, planted, n int) {
	if s[name] == nil {
		s[name] = &tally{broken: map[string]int{}}
	}
	t := s[name]
	t.sets++
	if o.verdict != spec.Pass {
		t.caught++
	}
	t.copies += planted
	t.innocent += n - planted
	for _, i := range o.rejected {
		if i < planted {
			t.struck++
		} else {
			t.hit++
		}
	}
	for _, b := range o.broken {
		t.broken[strings.Split(b, "=")[0]]++
	}
}

func (s study) log(t *testing.T, what string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(s)) {
		c := s[name]
		t.Logf("%s | %s | sets not passed %d of %d | copies rejected %d of %d | others rejected %d of %d | %v",
			what, name, c.caught, c.sets, c.struck, c.copies, c.hit, c.innocent, c.broken)
	}
}

const cleared = "real images, nothing planted"

// power is every class's study together.
var power = study{}

func (s study) merge(o study) {
	for name, c := range o {
		if s[name] == nil {
			s[name] = &tally{broken: map[string]int{}}
		}
		t := s[name]
		t.sets, t.caught = t.sets+c.sets, t.caught+c.caught
		t.copies, t.struck = t.copies+c.copies, t.struck+c.struck
		t.innocent, t.hit = t.innocent+c.innocent, t.hit+c.hit
		for rule, n := range c.broken {
			t.broken[rule] += n
		}
	}
}

// table renders the counts as markdown, what must pass first.
func (s study) table() string {
	var b strings.Builder
	b.WriteString("| case | sets | sets that did not pass | planted copies rejected | other images rejected | rules not kept, by sets |\n| --- | --- | --- | --- | --- | --- |\n")
	names := slices.Sorted(maps.Keys(s))
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Or(-cmp.Compare(truth(a == cleared), truth(b == cleared)), -cmp.Compare(truth(s[a].copies > 0), truth(s[b].copies > 0)))
	})
	for _, name := range names {
		c := s[name]
		rules := slices.SortedFunc(maps.Keys(c.broken), func(a, b string) int { return cmp.Or(cmp.Compare(c.broken[b], c.broken[a]), cmp.Compare(a, b)) })
		for i, rule := range rules {
			rules[i] = fmt.Sprintf("%s %d", rule, c.broken[rule])
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s |\n", name, c.sets, rateOf(c.caught, c.sets), rateOf(c.struck, c.copies), rateOf(c.hit, c.innocent),
			cmp.Or(strings.Join(rules, ", "), "-"))
	}
	return b.String()
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// rateOf is a share of n with Wilson's 95% interval.
func rateOf(k, n int) string {
	if n == 0 {
		return "-"
	}
	share := float64(k) / float64(n)
	low, high := shareInterval(share, n)
	return fmt.Sprintf("%d of %d: %.1f%% (%.1f to %.1f)", k, n, 100*share, 100*low, 100*high)
}
