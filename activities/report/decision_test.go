package report

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
)

// judged is a complete run's Data whose rules have the given outcomes.
func judged(t *testing.T, verdict string, outcomes ...string) (Data, Pictures) {
	t.Helper()
	d, pics := complete(t, 12)
	d.Decision.Verdict = verdict
	for i, o := range outcomes {
		d.Decision.Rules[i].Outcome = o
	}
	return d, pics
}

func TestWhatToDoNextIsSaid(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC)
	person := &Policy{Name: "strict", Approval: spec.ApprovePerson, DeadlineHours: 48}
	for name, c := range map[string]struct {
		change    func(*Data)
		next      string
		approving string
	}{
		"pass": {func(*Data) {}, "Every rule is kept. The set is published; the policy asks nobody beyond that.",
			"By policy: what keeps every rule"},
		"approved by policy": {func(d *Data) { d.Approval = &step.Approval{Approved: true, By: step.ByPolicy, At: at} },
			"The set is published; the policy asks nobody", "By policy"},
		"waiting": {func(d *Data) { d.Policy = person },
			"waits for a person's approval. If nobody approves it within 48 hours of the verdict, it is not published.",
			"Waits for a person within 48 hours"},
		"waiting until": {func(d *Data) { d.Policy, d.Deadline = person, &at },
			"If nobody approves it by 4 March 2026, 05:06 UTC, it is not published.",
			"Waits for a person until 4 March 2026, 05:06 UTC; after that the answer is no."},
		"too late for a moment": {func(d *Data) {
			d.Policy, d.Deadline, d.Approval = person, &at, &step.Approval{By: step.ByDeadline, At: at}
		}, "Not published: every rule is kept, but nobody decided before 4 March 2026, 05:06 UTC",
			"No: nobody decided before 4 March 2026, 05:06 UTC."},
		"approved": {func(d *Data) {
			d.Policy, d.Approval = person, &step.Approval{Approved: true, By: step.ByPerson, Who: "Ada", Why: "looks right", At: at}
		}, "Published: Ada approved the set.", "Approved by Ada. 4 March 2026, 05:06 UTC. Reason: “looks right”"},
		"rejected": {func(d *Data) { d.Policy, d.Approval = person, &step.Approval{By: step.ByPerson, Who: "Ada", At: at} },
			"Not published: every rule is kept, but Ada rejected the set.", "Rejected by Ada. 4 March 2026, 05:06 UTC. No reason was given."},
		"too late": {func(d *Data) { d.Policy, d.Approval = person, &step.Approval{By: step.ByDeadline, At: at} },
			"Not published: every rule is kept, but nobody decided within 48 hours of the verdict, which means no.",
			"No: nobody decided within 48 hours"},
		"fail": {func(d *Data) {
			d.Decision.Verdict, d.Decision.Rules[1].Outcome, d.Decision.Rules[2].Outcome = spec.Fail, spec.Fail, "odd"
		}, "Not published: 1 of 3 rules is not kept: candidates unusually near to a training image.", "None is due"},
		"inconclusive": {func(d *Data) {
			d.Decision.Verdict, d.Decision.Rules[1].Outcome, d.Decision.Rules[2].Outcome = spec.Inconclusive, spec.Inconclusive, "odd"
		}, "Not published: 2 of 3 rules could not be judged: candidates unusually near to a training image; coverage of the real images. " +
			"A check that could not be made is never a pass.", "None is due"},
		"no verdict": {func(d *Data) { d.Decision = nil }, "Not published: no verdict was reached.", "None is due"},
		"training failed": {func(d *Data) {
			d.Decision, d.Training, d.Alarm = nil, nil, &step.Alarm{Kind: step.AlarmDiverged, Epoch: 3, Reason: "a loss was NaN"}
		}, "Not published: training failed after 2 tries. A loss was NaN.", "None is due"},
		"release": {func(d *Data) { *d = d.ForRelease() }, "Published: every rule is kept, and the policy asks nobody", "By policy"},
		"release by person": {func(d *Data) { d.Policy, d.Deadline = person, &at; *d = d.ForRelease() },
			"Published: every rule is kept, and a person approved", "By a person"},
	} {
		t.Run(name, func(t *testing.T) {
			d, pics := complete(t, 12)
			c.change(&d)
			_, root := render(t, d, pics)
			require.Contains(t, text(byID(t, root, "decision")), c.next)
			require.Contains(t, text(byID(t, root, "approval")), c.approving)
			state := attr(byID(t, root, "decision"), "class")
			require.Equal(t, !strings.Contains(c.next, "Not published") && !strings.HasPrefix(name, "waiting"),
				state == spec.Pass, "looks like a pass")
			raw, err := d.JSON()
			require.NoError(t, err)
			var twin Data
			require.NoError(t, json.Unmarshal(raw, &twin))
			require.Contains(t, twin.Next, c.next)
			require.Equal(t, strings.HasPrefix(name, "waiting"), strings.Contains(text(root), "defectforge runs approve "+runID(d)))
		})
	}
}

func runID(d Data) string {
	if d.Run == nil {
		return ""
	}
	return d.Run.WorkflowID
}

func TestRulesThatDoNotPassComeFirst(t *testing.T) {
	d, pics := judged(t, spec.Fail, spec.Pass, spec.Inconclusive, spec.Fail)
	_, root := render(t, d, pics)
	var order []string
	for _, row := range tags(byID(t, root, "decision"), "tr")[1:] {
		order = append(order, attr(row, "class"))
	}
	require.Equal(t, []string{spec.Fail, spec.Inconclusive, spec.Pass}, order)
}

func TestARuleThatWasNotMeasuredShowsNoNumber(t *testing.T) {
	d, pics := judged(t, spec.Inconclusive, spec.Pass, spec.Inconclusive)
	d.Decision.Rules[1].Reason, d.Decision.Rules[1].Value = "not measured: no hold-out", 0
	_, root := render(t, d, pics)
	row := tags(byID(t, root, "decision"), "tr")[1]
	require.Contains(t, text(row), "not measured")
	require.NotContains(t, values(t, row), 0.0)
	require.Empty(t, tags(row, "svg"))
}

func TestCopyingIsNoProductionSet(t *testing.T) {
	d, pics := complete(t, 12)
	_, root := render(t, d, pics)
	require.NotContains(t, text(root), "No production set")
	d.Policy.Name = "copying"
	_, root = render(t, d, pics)
	require.Contains(t, text(byID(t, root, "decision")), "No production set")
	require.Contains(t, text(tags(root, "title")[0]), "Pass, copying only")
	// A policy of one's own that judges no more is warned of as well.
	d.Policy.Name, d.Decision.Rules = "mine", d.Decision.Rules[:2]
	_, root = render(t, d, pics)
	require.Contains(t, text(byID(t, root, "decision")), "No production set")
	_, root = render(t, d.ForRelease(), pics)
	require.Contains(t, text(byID(t, root, "decision")), "No production set")
}

func TestUtilitySaysWhatItFound(t *testing.T) {
	d, pics := complete(t, 12)
	_, root := render(t, d, pics)
	section := byID(t, root, "utility")
	require.Contains(t, text(section), "✓ Yes.")
	require.Contains(t, text(section), "classic augmentation and generated images, over classic augmentation")
	require.Equal(t, []float64{0.02, 0.005, 0.035}, values(t, tags(tags(section, "table")[1], "tr")[1]))

	d.Utility.Helps, d.Utility.Gains[0].Low = false, -0.01
	_, root = render(t, d, pics)
	require.Contains(t, text(byID(t, root, "utility")), "✕ Not shown.")
	require.NotContains(t, text(byID(t, root, "utility")), "Yes")

	require.NotContains(t, text(section), "texture")
	d.Utility.TextureGains = []step.GainResult{{Arm: spec.ArmBoth, Over: spec.ArmClassic, Mean: 0.01, Low: -0.01, High: 0.03}}
	d.Utility.Arms[0].TextureMacroF1 = 0.77
	_, root = render(t, d, pics)
	section = byID(t, root, "utility")
	require.Equal(t, []float64{0.91, 0.9, 0.77}, values(t, tags(tags(section, "table")[0], "tr")[1]))
	require.Contains(t, text(tags(tags(section, "table")[1], "tr")[2]), "over classic augmentation by texture")
	require.Contains(t, text(tags(tags(section, "table")[1], "tr")[1]), "+0.020")
	d.Utility.Harms, d.Utility.Notes = true, []string{"few of dents"}
	d.Utility.Classes, d.Utility.Pairs, d.Utility.Seen = []string{"scratches", "dents"}, 30, 240
	_, root = render(t, d, pics)
	section = byID(t, root, "utility")
	require.Contains(t, text(section), "✕ No, it harms.")
	require.Contains(t, text(section), "Told apart: scratches, dents. 100 real training images")
	require.Contains(t, text(section), "30 trainings of each arm")
	require.Contains(t, text(section), "The generator was trained on 240 images.")
	require.Contains(t, text(tags(section, "li")[0]), "Few of dents.")
	require.NotContains(t, text(byID(t, root, "decision")), "incomplete")

	d.Utility = &Utility{Why: "class dents has 2 images", Summary: "not compared"}
	_, root = render(t, d, pics)
	require.Contains(t, text(byID(t, root, "utility")), "? Not measured. Class dents has 2 images.")
	require.Empty(t, tags(byID(t, root, "utility"), "table"))
	require.Contains(t, text(byID(t, root, "missing")), "could not be measured")

	d.Utility = nil
	_, root = render(t, d, pics)
	require.Contains(t, text(byID(t, root, "utility")), "not asked for, and not measured")
}

func TestTrainingShowsEveryTryAndTheChoice(t *testing.T) {
	d, pics := complete(t, 12)
	_, root := render(t, d, pics)
	section := byID(t, root, "training")
	require.Contains(t, text(section), "The checkpoint of epoch 50 was chosen. The lowest of 3 evaluations.")
	rows := tags(tags(section, "table")[0], "tr")[1:]
	require.Len(t, rows, 2)
	require.Contains(t, text(rows[0]), "Alarm in epoch 42. D(x) was high for 200 steps.")
	require.Contains(t, text(rows[0]), "Rolled back to epoch 40")
	require.Equal(t, []float64{0, 1}, values(t, rows[0]))
	require.Equal(t, []float64{40, 0.5}, values(t, rows[1]))
	require.Contains(t, text(rows[1]), "Went through.")
	for _, svg := range tags(section, "svg") {
		require.Contains(t, attr(svg, "aria-label"), "Rolled back to epoch 40. The checkpoint of epoch 50 was chosen.")
	}
	d.Rollbacks[0].Alarm.Reason = ""
	_, root = render(t, d, pics)
	row := tags(tags(byID(t, root, "training"), "table")[0], "tr")[1]
	require.Contains(t, text(row), "Alarm in epoch 42. The discriminator won, and the generator learnt nothing.")
	require.Equal(t, []float64{0, 1, 200, 200}, values(t, row))
	d.Training.Choice, d.Rollbacks = nil, nil
	_, root = render(t, d, pics)
	require.Contains(t, text(byID(t, root, "training")), "The last checkpoint was taken.")
	require.Contains(t, text(byID(t, root, "training")), "It went through at the first try")
	require.Empty(t, tags(byID(t, root, "training"), "table"))
	require.Len(t, tags(byID(t, root, "training"), "svg"), 2)
}

func TestSentences(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "few are near": "Few are near.", "copy: 3 from x!": "Copy: 3 from x!", "D(x) rose": "D(x) rose.",
		"kid_pca is low": "kid_pca is low.", "x1.png is near": "x1.png is near.", "é": "é.",
	} {
		require.Equal(t, want, sentence(s))
	}
}

func TestMarkerPlacesValuesAboutTheThreshold(t *testing.T) {
	m := newMarker(0.5, 1, true, ptr(0.25), ptr(0.75), ptr(2))
	require.Equal(t, &marker{Value: 33, From: 19.5, To: 46.5, Reference: 114, Interval: true, HasReference: true, GoodFrom: 60}, m)
	require.Equal(t, 60.0, newMarker(1, 1, false, nil, nil, nil).Value)
	require.Zero(t, newMarker(1, 1, false, nil, nil, nil).GoodFrom)
	inf := ptr(0)
	*inf = 1 / *inf
	require.Nil(t, newMarker(*inf, 1, false, nil, nil, nil))
}

// Measures are listed by name, with a label where a policy can bound them.
func TestMeasuresAreListed(t *testing.T) {
	var m quality.Measures
	m.Set("swd.128", 3.5)
	m.Set(spec.MeasureCoverage, 0.8)
	require.Equal(t, []Measure{{Name: spec.MeasureCoverage, Measure: quality.Measure{Value: 0.8}}, {Name: "swd.128",
		Measure: quality.Measure{Value: 3.5}}}, Listed(m))
	require.Nil(t, Listed(quality.Measures{}))
	require.Equal(t, "Coverage of the real images", label(spec.MeasureCoverage))
	require.Empty(t, label("swd.128"))
}
