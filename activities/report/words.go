package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// alarms say in words what a monitor found.
var alarms = map[string]string{
	step.AlarmDiverged:    "diverged: NaN or infinite",
	step.AlarmOverpowered: "the discriminator won, and the generator learnt nothing",
	step.AlarmCollapsed:   "generated images hardly differed",
	step.AlarmMemorising:  "the discriminator knew every training image",
}

// said is the name in words, or itself where there are none.
func said(words map[string]string, name string) string {
	if w, ok := words[name]; ok {
		return w
	}
	return name
}

// warning is what a pass under d's policy does not mean; empty where the policy
// judges likeness to real images.
func (d Data) warning() string {
	judged := slices.ContainsFunc(d.Decision.Rules, func(r spec.Judged) bool { return spec.MeasureNamed(r.Name).Likeness })
	if judged && (d.Policy == nil || d.Policy.Name != spec.CopyingPolicy().Name) {
		return ""
	}
	return "No production set. Only copying was judged, not whether the images look real, show every kind of the defect, or help a classifier."
}

// next says what happens now, and why.
func (d Data) next() string {
	switch {
	case d.Decision == nil && d.Alarm != nil:
		return fmt.Sprintf("Not published: training failed after %s. %s", count(len(d.Rollbacks)+1, "try", "tries"), sentence(d.Alarm.Reason))
	case d.Decision == nil:
		return "Not published: no verdict was reached."
	case d.Decision.Verdict == spec.Pass:
		return d.nextOfPass()
	case d.Decision.Verdict == spec.Fail:
		return "Not published: " + d.broken(spec.Fail, "is not kept", "are not kept")
	}
	return "Not published: " + d.broken(spec.Inconclusive, "could not be judged", "could not be judged") +
		" A check that could not be made is never a pass."
}

func (d Data) nextOfPass() string {
	const kept = "Every rule is kept. "
	person := d.Policy != nil && d.Policy.Approval == spec.ApprovePerson
	a := d.Approval
	switch {
	case d.Variant == VariantRelease && person:
		return "Published: every rule is kept, and a person approved the set."
	case d.Variant == VariantRelease:
		return "Published: every rule is kept, and the policy asks nobody beyond that."
	case d.Unpublished:
		return "Not published: every rule is kept, but the run was made to be compared, not published."
	case a != nil && !a.Approved && a.By == step.ByDeadline:
		return "Not published: every rule is kept, but nobody decided " + d.inTime("before") + ", which means no."
	case a != nil && !a.Approved:
		return "Not published: every rule is kept, but " + d.decider() + " rejected the set."
	case a != nil && a.By == step.ByPerson:
		return kept + "Published: " + d.decider() + " approved the set."
	case person && a == nil:
		return kept + "The set waits for a person's approval. If nobody approves it " + d.inTime("by") + ", it is not published."
	}
	return kept + "The set is published; the policy asks nobody beyond that."
}

// broken counts the rules with the given outcome, and names them.
func (d Data) broken(outcome, one, many string) string {
	var names []string
	for _, r := range d.Decision.Rules {
		if standing(r.Outcome) == outcome {
			names = append(names, lower(spec.MeasureNamed(r.Name).Label))
		}
	}
	verb := many
	if len(names) == 1 {
		verb = one
	}
	return fmt.Sprintf("%d of %s %s: %s.", len(names), count(len(d.Decision.Rules), "rule", "rules"), verb, strings.Join(names, "; "))
}

// approvalWords is the line of the page on who decides after the verdict.
func (d Data) approvalWords() string {
	auto := d.Policy == nil || d.Policy.Approval != spec.ApprovePerson
	a := d.Approval
	switch {
	case d.Decision == nil || d.Decision.Verdict != spec.Pass:
		return "None is due: only a set that keeps every rule can be approved."
	case d.Unpublished && d.Variant != VariantRelease:
		return "None is due: the run was made to be compared, not published."
	case d.Variant == VariantRelease && !auto:
		return "By a person, after every rule was kept. Who and why are recorded with the release."
	case a == nil && auto, a != nil && a.Approved && a.By == step.ByPolicy, d.Variant == VariantRelease:
		return "By policy: what keeps every rule is published without asking anybody."
	case a == nil:
		return "Waits for a person " + d.inTime("until") + "; after that the answer is no."
	case a.By == step.ByDeadline:
		return "No: nobody decided " + d.inTime("before") + "." + when(a.At)
	}
	verb := "Rejected by "
	if a.Approved {
		verb = "Approved by "
	}
	why := " No reason was given."
	if a.Why != "" {
		why = " Reason: “" + a.Why + "”"
	}
	return verb + d.decider() + "." + when(a.At) + why
}

// decider names who approved or rejected.
func (d Data) decider() string {
	if d.Approval.Who != "" {
		return d.Approval.Who
	}
	return "a " + d.Approval.By
}

// inTime says until when a person may decide, how long that is where the moment is
// not known. The word stands before the moment.
func (d Data) inTime(word string) string {
	if d.Deadline != nil {
		return word + " " + moment(*d.Deadline)
	}
	if d.Policy == nil || d.Policy.DeadlineHours <= 0 {
		return "in time"
	}
	return "within " + hours(d.Policy.DeadlineHours) + " of the verdict"
}

func hours(h float64) string {
	if h == 1 {
		return "1 hour"
	}
	if h < 1 {
		return duration(3600 * h)
	}
	return number(h) + " hours"
}

func when(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return " " + moment(at) + "."
}

func moment(at time.Time) string { return at.UTC().Format("2 January 2006, 15:04 UTC") }

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(float64(n)) + " " + many
}

// sentence writes s with a capital, unless its first word is a name with more
// than letters, and with a full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	first, _, _ := strings.Cut(s, " ")
	if strings.Trim(strings.TrimRight(first, ",:;."), "abcdefghijklmnopqrstuvwxyz") == "" {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}

// lower writes s as the middle of a sentence begins.
func lower(s string) string {
	if len(s) < 2 || s[1] < 'a' || s[1] > 'z' { // an abbreviation stays
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// standing is the outcome, where what is not known counts as inconclusive.
func standing(outcome string) string {
	if outcome == spec.Pass || outcome == spec.Fail {
		return outcome
	}
	return spec.Inconclusive
}
