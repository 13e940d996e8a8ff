package campaign

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

var testCampaign = step.Run{WorkflowID: "campaign-all-0123456789ab", RunID: "run-9"}

// do calls a step as a worker does.
func do[In, Out any](t *testing.T, name step.Step[In, Out], fn func(context.Context, In) (Out, error), in In) (Out, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	name.Register(env, fn)
	var out Out
	value, err := env.ExecuteActivity(string(name), in)
	if err == nil {
		require.NoError(t, value.Get(&out))
	}
	return out, err
}

func planner(b storage.Bucket) Planner {
	return Planner{Store: storage.New(b), Sources: func(context.Context, string) (storage.Reader, error) { return b, nil }}
}

func TestPlanCampaign(t *testing.T) {
	ctx, b := context.Background(), memory.New()
	for _, key := range []string{"all/Rolled In/1.png", "all/rolled-in/1.png", "all/pits/a/b.png", "all/pits/c.png", "all/loose.txt", "other/x/1.png"} {
		_, err := storage.New(b).PutNamed(ctx, strings.ReplaceAll(key, " ", "%20"), []byte(key))
		require.NoError(t, err)
	}
	out, err := do(t, step.PlanCampaign, planner(b).PlanCampaign, step.PlanInput{Source: step.Source{Bucket: "b", Prefix: "all"}})
	require.NoError(t, err)
	require.Equal(t, 3, out.Items)
	require.Equal(t, 1, out.Loose)
	page, err := do(t, step.ReadPlan, planner(b).ReadPlan, step.ReadPlanInput{Plan: out.Plan})
	require.NoError(t, err)
	require.Equal(t, 1, page.Pages)
	require.Equal(t, 3, page.Total)
	require.Equal(t, "Rolled%20In", page.Items[0].Name)
	require.Regexp(t, `^rolled-20in$`, page.Items[0].Class)
	require.Equal(t, step.PlanItem{Index: 2, Name: "rolled-in", Class: "rolled-in", Source: step.Source{Bucket: "b", Prefix: "all/rolled-in/"}}, page.Items[2])
	beyond, err := do(t, step.ReadPlan, planner(b).ReadPlan, step.ReadPlanInput{Plan: out.Plan, Page: 1})
	require.NoError(t, err)
	require.Empty(t, beyond.Items)

	again, err := do(t, step.PlanCampaign, planner(b).PlanCampaign, step.PlanInput{Source: step.Source{Bucket: "b", Prefix: "all/"}})
	require.NoError(t, err)
	require.Equal(t, out.Plan, again.Plan, "the same classes make the same plan")
	_, err = do(t, step.PlanCampaign, planner(b).PlanCampaign, step.PlanInput{Source: step.Source{Bucket: "b", Prefix: "all/pits/a/"}})
	require.ErrorContains(t, err, "has no prefixes directly below it, but 1 objects")
}

func TestPlanOfThousandsTravelsInSmallPages(t *testing.T) {
	ctx, store := context.Background(), storage.New(memory.New())
	recipe := spec.Classic()
	items := make([]step.PlanItem, 5000)
	for i := range items {
		items[i] = step.PlanItem{Index: i, Name: strings.Repeat("n", i%300+1), Class: "c", Source: step.Source{Bucket: "b", Prefix: strings.Repeat("p", i%900)}}
		if i%7 == 0 {
			items[i].Recipe = &recipe
		}
	}
	ref, err := StorePlan(ctx, store, items)
	require.NoError(t, err)
	seen := 0
	for page := 0; ; page++ {
		out, err := Planner{Store: store}.ReadPlan(ctx, step.ReadPlanInput{Plan: ref, Page: page})
		require.NoError(t, err)
		if len(out.Items) == 0 {
			require.Equal(t, out.Pages, page)
			break
		}
		raw, err := json.Marshal(out)
		require.NoError(t, err)
		require.Less(t, len(raw), 64<<10)
		for _, item := range out.Items {
			require.Equal(t, seen, item.Index)
			require.LessOrEqual(t, len(item.Name), maxItemName)
			seen++
		}
	}
	require.Equal(t, len(items), seen)
	all, err := PlanItems(ctx, store, ref)
	require.NoError(t, err)
	require.Len(t, all, len(items))
	require.Equal(t, recipe, *all[7].Recipe)
}

func TestClasses(t *testing.T) {
	names := []string{"pits", "Pits", "PITS", "äöü", "---", "a b", "a.b", strings.Repeat("x", 80), strings.Repeat("x", 81), "rolled-in_scale"}
	classes := Classes(names)
	require.Equal(t, "pits", classes[0])
	require.Equal(t, "a-b", classes[5])
	require.Equal(t, "rolled-in_scale", classes[9])
	seen := map[string]bool{}
	for i, c := range classes {
		require.True(t, spec.ValidName(c), "%q of %q", c, names[i])
		require.False(t, seen[c], "%s of %q is taken", c, names[i])
		seen[c] = true
	}
}

// outcome stores the record of a run of one class and returns how it ended.
func (f *campaignFixture) outcome(index int, status string, share float64) step.RunOutcome {
	name := f.items[index].Name
	o := step.RunOutcome{Index: index, Name: name, Class: f.items[index].Class, Run: step.Run{WorkflowID: "augment-" + name, RunID: "r"}, Status: status, ImagesIn: 30, Seconds: 60 + float64(index)}
	if status == step.RunFailed {
		o.Reasons, o.FailureType = []string{"Ingest: 3 usable images <script>alert(1)</script>"}, step.ErrTooFewImages
		return o
	}
	outcome := step.Outcome{Run: o.Run, Class: o.Class, Train: step.TrainResult{Epoch: 5, LossG: 1.5}}
	outcome.Assess.Rules = []spec.Judged{{Name: spec.MeasureTailShare, Value: share, Outcome: spec.Pass, Reason: "few", Threshold: 0.5, Side: "max"}}
	record, err := ledger.WriteRun(context.Background(), f.store, step.RecordRunInput{Outcome: outcome, Verdict: spec.Pass})
	require.NoError(f.t, err)
	o.Verdict, o.Release, o.ImagesPublished = spec.Pass, "20260101-abc", 12
	o.Record, o.Report = record, step.Ref{Key: ledger.ReportKey(o.Run), SHA256: "x", Size: 1}
	return o
}

type campaignFixture struct {
	t     *testing.T
	store *storage.Store
	items []step.PlanItem
	plan  step.Ref
}

func newCampaignFixture(t *testing.T, names ...string) *campaignFixture {
	f := &campaignFixture{t: t, store: storage.New(memory.New())}
	for i, class := range Classes(names) {
		f.items = append(f.items, step.PlanItem{Index: i, Name: names[i], Class: class, Source: step.Source{Bucket: "b", Prefix: "all/" + names[i] + "/"}})
	}
	var err error
	f.plan, err = StorePlan(context.Background(), f.store, f.items)
	require.NoError(t, err)
	return f
}

func (f *campaignFixture) keep(number int, before step.Ref, outcomes ...step.RunOutcome) step.Ref {
	out, err := do(f.t, step.KeepOutcomes, Campaigner{Store: f.store}.KeepOutcomes,
		step.KeepInput{Campaign: testCampaign, Number: number, Before: before, Outcomes: outcomes})
	require.NoError(f.t, err)
	return out.Head
}

func (f *campaignFixture) summarise(head step.Ref) (step.SummariseResult, report.Campaign, string) {
	out, err := do(f.t, step.SummariseCampaign, Campaigner{Store: f.store}.SummariseCampaign, step.SummariseInput{
		Campaign: testCampaign, Name: "all", Kind: step.KindClasses, Source: step.Source{Bucket: "b", Prefix: "all/"},
		Recipe: spectest.Quick(), Policy: spec.CopyingPolicy(), Plan: f.plan, Items: len(f.items), Concurrency: 4, Head: head,
		Started: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Seconds: 300,
	})
	require.NoError(f.t, err)
	raw, err := f.store.Read(context.Background(), storage.Object(out.Summary), 1<<24)
	require.NoError(f.t, err)
	summary, err := report.DecodeCampaign(raw)
	require.NoError(f.t, err)
	page, err := f.store.Read(context.Background(), storage.Object(out.Report), 1<<24)
	require.NoError(f.t, err)
	return out, summary, string(page)
}

func TestCampaignSummary(t *testing.T) {
	f := newCampaignFixture(t, "pits", "Big Pits", "scratches", "dents", "late")
	head := f.keep(0, step.Ref{}, f.outcome(1, step.RunFailed, 0), f.outcome(0, step.RunPublished, 0.01))
	lost := f.outcome(3, step.RunPublished, 0.5)
	lost.Record.Key = "runs/gone/run.json"
	head = f.keep(1, head, f.outcome(2, step.RunPublished, 0.25), lost)
	out, summary, page := f.summarise(head)
	require.Equal(t, step.RunCounts{Published: 3, Failed: 1, Cancelled: 1}, out.Counts)
	require.Equal(t, ledger.SummaryKey(testCampaign), out.Summary.Key)
	require.Len(t, summary.Rows, 5)
	require.Equal(t, "Big Pits", summary.Rows[1].Name)
	require.Equal(t, f.items[2].Source, summary.Rows[2].Source)
	require.Equal(t, 0.25, summary.Rows[2].Measures[0].Value)
	require.Equal(t, spec.Digest(spectest.Quick()), summary.Rows[2].Recipe)
	require.Contains(t, summary.Rows[3].Reasons[0], "its record can't be read", "it counts all the same")
	require.Equal(t, []string{"was not begun"}, summary.Rows[4].Reasons)

	require.Contains(t, page, `href="../../../runs/augment-pits/r/report.html"`)
	require.NotContains(t, page, "<script>alert")
	require.Contains(t, page, "failed: TooFewImages")
	require.Contains(t, page, "<svg", "the measure that differs is drawn")
	require.NotRegexp(t, `(src|href)="?https?:`, page)
	// Only the page's own script may run, and it is the one that stands there.
	allowed := regexp.MustCompile(`script-src '(sha256-[^']+)'`).FindStringSubmatch(html.UnescapeString(page))
	require.NotNil(t, allowed)
	script := page[strings.Index(page, "<script>")+len("<script>") : strings.Index(page, "</script>")]
	sum := sha256.Sum256([]byte(script))
	require.Equal(t, "sha256-"+base64.StdEncoding.EncodeToString(sum[:]), allowed[1])
	require.Contains(t, script, "aria-sort")

	// Tried again, the later outcome stands, and the others as they were.
	stand := append(summary.Rows[:1:1], summary.Rows[2:4]...)
	kept, err := StoreOutcomes(context.Background(), f.store, stand)
	require.NoError(t, err)
	head = f.keep(0, kept, f.outcome(1, step.RunPublished, 0.02), f.outcome(4, step.RunNotApproved, 0.9))
	out, summary, _ = f.summarise(head)
	require.Equal(t, step.RunCounts{Published: 4, NotApproved: 1}, out.Counts)
	require.Equal(t, 0.02, summary.Rows[1].Measures[0].Value)
	require.Equal(t, 0.01, summary.Rows[0].Measures[0].Value)
}

// TestSweepPage compares the runs of one class by what is varied.
func TestSweepPage(t *testing.T) {
	f := newCampaignFixture(t, "a", "b", "c", "d")
	for i := range f.items {
		recipe := spectest.Quick()
		recipe.Train.GeneratorRate = 1e-4 * float64(i+1)
		f.items[i].Recipe = &recipe
		f.items[i].Settings = []step.Setting{{Key: "train.generator_rate", Value: fmt.Sprintf("%de-4", i+1)}, {Key: "seed", Value: "1"}}
	}
	var err error
	f.plan, err = StorePlan(context.Background(), f.store, f.items)
	require.NoError(t, err)
	head := f.keep(0, step.Ref{}, f.outcome(0, step.RunPassed, 0.4), f.outcome(1, step.RunPassed, 0.1), f.outcome(2, step.RunNotApproved, 0.9), f.outcome(3, step.RunPassed, 0.2))
	_, summary, page := f.summarise(head)
	require.NotEqual(t, summary.Rows[0].Recipe, summary.Rows[1].Recipe)
	require.Contains(t, page, "by train.generator_rate")
	require.Regexp(t, `class="n best" data-sort="0.1"`, page)
	require.Equal(t, 1, strings.Count(page, `class="n best"`))
}

func TestLookBoundsItsAnswer(t *testing.T) {
	runs := looking{}
	in := step.LookInput{}
	for i := range 50 {
		in.Runs = append(in.Runs, step.Run{WorkflowID: fmt.Sprint(i)})
	}
	out, err := do(t, step.LookAtRuns, Looker{Runs: runs}.LookAtRuns, in)
	require.NoError(t, err)
	require.True(t, out.More)
	require.Len(t, out.States, 50)
	require.NotNil(t, out.States[19].Ended)
	require.Nil(t, out.States[20].Ended)
}

type looking struct{}

func (looking) Look(_ context.Context, run step.Run) (step.RunState, error) {
	return step.RunState{Run: run, Ended: &step.RunOutcome{Status: step.RunPublished}}, nil
}
