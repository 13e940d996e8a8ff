package activities

import (
	"context"
	"fmt"
	"math"

	"github.com/defectforge/defectforge/activities/step"
)

const (
	// minReal is the number of real images below which the distances between
	// them say too little about what a copy is.
	minReal = 100
	// maxAlike is the largest share of candidates that may be blank or the
	// same as another: beyond it the generator has collapsed.
	maxAlike     = 0.1
	maxTailShare = 0.09
)

// scope says what the decision is about, and what it is not.
const scope = "This decision judges copying only: whether candidates are nearer to real images than real images " +
	"are to each other, by pixels of the first channel, and whether candidates repeat each other exactly. It does not judge whether " +
	"the images look real, cover the defect's variety, or help a classifier."

// Assess decides about a set of candidates by fixed rules. It passes only what
// every rule passes; a rule whose numbers are missing is inconclusive.
func Assess(_ context.Context, in step.AssessInput) (step.AssessResult, error) {
	rules := []step.Rule{
		enoughReal(in), heldOut(in), allCompared(in), notCopying(in), notAlike(in), enoughAccepted(in),
	}
	return step.AssessResult{Verdict: verdict(rules), Scope: scope, Rules: rules}, nil
}

// verdict is fail where a rule fails, else inconclusive where one is not clear.
func verdict(rules []step.Rule) string {
	all := step.Pass
	for _, r := range rules {
		switch r.Outcome {
		case step.Fail:
			return step.Fail
		case step.Pass:
		default:
			all = step.Inconclusive
		}
	}
	return all
}

// rule builds a rule's line. Values that are no numbers make it inconclusive
// and are shown as 0.
func rule(name string, value, threshold float64, outcome, reason string) step.Rule {
	for _, v := range []*float64{&value, &threshold} {
		if math.IsNaN(*v) || math.IsInf(*v, 0) {
			*v, outcome, reason = 0, step.Inconclusive, "not measured: "+reason
		}
	}
	return step.Rule{Name: name, Value: value, Threshold: threshold, Outcome: outcome, Reason: reason}
}

// pick is yes where ok, else no.
func pick(ok bool, no string) string {
	if ok {
		return step.Pass
	}
	return no
}

func enoughReal(in step.AssessInput) step.Rule {
	n := in.Ingest.Training + in.Ingest.Holdout
	return rule("enough real images", float64(n), minReal, pick(n >= minReal, step.Inconclusive),
		fmt.Sprintf("%d real images; fewer than %d don't tell copies from chance", n, minReal))
}

func heldOut(in step.AssessInput) step.Rule {
	n := in.Ingest.Holdout
	return rule("hold-out", float64(n), 1, pick(n >= 1 && in.Ingest.Training >= 1, step.Inconclusive),
		fmt.Sprintf("%d images were held out of training, %d trained on", n, in.Ingest.Training))
}

func allCompared(in step.AssessInput) step.Rule {
	judged, real := in.Check.Accepted+in.Check.Rejected, in.Ingest.Training+in.Ingest.Holdout
	ok := in.Sample.Count > 0 && judged == in.Sample.Count && real > 0 && in.Check.Real == real &&
		in.Check.Accepted >= 0 && in.Check.Rejected >= 0
	return rule("all compared", float64(judged), float64(in.Sample.Count), pick(ok, step.Inconclusive),
		fmt.Sprintf("%d of %d candidates were compared with %d of %d real images", judged, in.Sample.Count, in.Check.Real, real))
}

func notCopying(in step.AssessInput) step.Rule {
	c, name := in.Check, "not copying"
	if !(c.TailAt > 0) || !(c.RejectAt > 0) || !(maxTailShare >= 0) || !(c.TailShare >= 0) || !(c.Nearest >= 0) {
		return rule(name, c.TailShare, maxTailShare, step.Inconclusive,
			fmt.Sprintf("the distances between real images give no threshold (reject at %g, tail at %g)", c.RejectAt, c.TailAt))
	}
	return rule(name, c.TailShare, maxTailShare, pick(c.TailShare <= maxTailShare, step.Fail),
		fmt.Sprintf("%.1f%% of the candidates are nearer than %.3g to a real image, as %.1f%% of the real images are to each other; at most %.1f%% may be",
			100*c.TailShare, c.TailAt, 100*0.05, 100*maxTailShare))
}

func notAlike(in step.AssessInput) step.Rule {
	share := float64(in.Check.Repeated+in.Check.Blank) / float64(in.Sample.Count)
	return rule("not alike", share, maxAlike, pick(share <= maxAlike, step.Fail),
		fmt.Sprintf("%d candidates repeat another one exactly, %d are blank; at most %.0f%% may be", in.Check.Repeated, in.Check.Blank, 100*maxAlike))
}

func enoughAccepted(in step.AssessInput) step.Rule {
	least := 8
	return rule("enough accepted", float64(in.Check.Accepted), float64(least), pick(in.Check.Accepted >= least, step.Fail),
		fmt.Sprintf("%d candidates accepted, %d rejected; a release takes at least %d", in.Check.Accepted, in.Check.Rejected, least))
}
