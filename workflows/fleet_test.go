package workflows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
)

// fleet stands in for a campaign's activities and its runs.
type fleet struct {
	t       *testing.T
	items   []step.PlanItem
	perPage int
	// run is what a class's run does; nil publishes after a minute.
	run func(ctx workflow.Context, in AugmentInput) (AugmentResult, error)
	// look answers for a run that is looked at; nil says that it continues.
	look func(run step.Run) step.RunState

	began    map[string]int // by class
	now, top int            // runs under way, and the most at once
	pages    []int
	kept     []step.KeepInput
	sum      *step.SummariseInput
	looked   int
	largest  int // payload of a call, in bytes

	mu sync.Mutex // of what activities write side by side: kept and largest
}

func newFleet(t *testing.T, classes int) *fleet {
	f := &fleet{t: t, perPage: 100, began: map[string]int{}}
	for i := range classes {
		name := fmt.Sprintf("class-%05d", i)
		f.items = append(f.items, step.PlanItem{Index: i, Name: name, Class: name, Source: step.Source{Bucket: "b", Prefix: "all/" + name + "/"}})
	}
	return f
}

func published(in AugmentInput) AugmentResult {
	return AugmentResult{Verdict: spec.Pass, Release: "r-" + in.Class, ImagesIn: 30, ImagesPublished: 12,
		Record: ref("record"), Report: ref("report")}
}

func (f *fleet) augment(ctx workflow.Context, in AugmentInput) (AugmentResult, error) {
	f.began[in.Class]++
	f.now++
	f.top = max(f.top, f.now)
	defer func() { f.now-- }()
	if f.run != nil {
		return f.run(ctx, in)
	}
	err := workflow.Sleep(ctx, time.Minute)
	return published(in), err
}

func (f *fleet) size(v any) {
	raw, err := json.Marshal(v)
	require.NoError(f.t, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.largest = max(f.largest, len(raw))
}

func (f *fleet) register(env *testsuite.TestWorkflowEnvironment) {
	env.RegisterWorkflowWithOptions(Campaign, workflow.RegisterOptions{Name: CampaignName})
	env.RegisterWorkflowWithOptions(f.augment, workflow.RegisterOptions{Name: AugmentName})
	step.PlanCampaign.Register(env, func(_ context.Context, in step.PlanInput) (step.PlanResult, error) {
		require.Equal(f.t, "all/", in.Source.Prefix)
		return step.PlanResult{Plan: ref("plan"), Items: len(f.items), Loose: 2}, nil
	})
	step.ReadPlan.Register(env, func(_ context.Context, in step.ReadPlanInput) (step.ReadPlanResult, error) {
		f.pages = append(f.pages, in.Page)
		pages := (len(f.items) + f.perPage - 1) / f.perPage
		out := step.ReadPlanResult{Items: []step.PlanItem{}, Pages: pages, Total: len(f.items)}
		if in.Page < pages {
			out.Items = f.items[in.Page*f.perPage : min((in.Page+1)*f.perPage, len(f.items))]
		}
		f.size(out)
		return out, nil
	})
	step.LookAtRuns.Register(env, func(_ context.Context, in step.LookInput) (step.LookResult, error) {
		f.looked++
		out := step.LookResult{}
		for _, r := range in.Runs {
			state := step.RunState{Run: r}
			if f.look != nil {
				state = f.look(r)
			}
			out.States = append(out.States, state)
		}
		f.size(in)
		return out, nil
	})
	step.KeepOutcomes.Register(env, func(_ context.Context, in step.KeepInput) (step.KeepResult, error) {
		f.size(in)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.kept = append(f.kept, in)
		return step.KeepResult{Head: ref(fmt.Sprintf("outcomes-%d", in.Number))}, nil
	})
	step.SummariseCampaign.Register(env, func(_ context.Context, in step.SummariseInput) (step.SummariseResult, error) {
		f.size(in)
		f.sum = &in
		out := step.SummariseResult{Summary: ref("summary"), Report: ref("page")}
		for _, o := range f.outcomes() {
			out.Counts.Add(o.Status)
		}
		return out, nil
	})
}

// outcomes are all that were kept, by name.
func (f *fleet) outcomes() map[string]step.RunOutcome {
	all := map[string]step.RunOutcome{}
	for _, k := range f.kept {
		for _, o := range k.Outcomes {
			require.NotContains(f.t, all, o.Name, "kept twice")
			all[o.Name] = o
		}
	}
	return all
}

func campaignInput(concurrency int) CampaignInput {
	return CampaignInput{
		Name: "all", Kind: step.KindClasses, Source: step.Source{Bucket: "b", Prefix: "all/"},
		Recipe: spectest.Quick(), Policy: spec.CopyingPolicy(), Concurrency: concurrency,
	}
}

func (f *fleet) start(in CampaignInput, arrange func(*testsuite.TestWorkflowEnvironment)) *testsuite.TestWorkflowEnvironment {
	f.t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	f.register(env)
	if arrange != nil {
		arrange(env)
	}
	env.ExecuteWorkflow(CampaignName, in)
	require.True(f.t, env.IsWorkflowCompleted())
	return env
}

// next runs a campaign's executions one after the other until it ends, as the
// server would.
func (f *fleet) chain(in CampaignInput, arrange func(n int, env *testsuite.TestWorkflowEnvironment)) (last *testsuite.TestWorkflowEnvironment, executions int) {
	f.t.Helper()
	for n := 1; ; n++ {
		env := f.start(in, func(env *testsuite.TestWorkflowEnvironment) { arrange(n, env) })
		var again *workflow.ContinueAsNewError
		if !errors.As(env.GetWorkflowError(), &again) {
			return env, n
		}
		var next CampaignInput
		require.NoError(f.t, converter.GetDefaultDataConverter().FromPayloads(again.Input, &next))
		require.Less(f.t, again.Input.Size(), 64<<10)
		require.NotNil(f.t, next.Progress)
		in = next
	}
}
