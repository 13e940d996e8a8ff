package workflows

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"log/slog"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
)

// tinyInput is a run that takes seconds, on n drawn images and a text file in
// a folder of the bucket.
func tinyInput(t *testing.T, b storage.Bucket, folder string, n int) AugmentInput {
	t.Helper()
	for i := range n {
		var raw bytes.Buffer
		// Dark, so that what hardly trained networks draw is no copy of it.
		metal := picture.BrushedMetal(1, i)
		for p := range metal.Pix {
			metal.Pix[p] /= 4
		}
		require.NoError(t, png.Encode(&raw, metal))
		_, err := storage.New(b).PutNamed(context.Background(), fmt.Sprintf("sources/%s/%03d.png", folder, i), raw.Bytes())
		require.NoError(t, err)
	}
	_, err := storage.New(b).PutNamed(context.Background(), "sources/"+folder+"/notes.txt", []byte("taken on Monday"))
	require.NoError(t, err)
	r := spectest.Quick()
	r.Name = "tiny"
	r.Ingest.MinImages = 6
	r.Model = spec.Model{Latent: 4, GeneratorDepth: 1, DiscriminatorDepth: 1, InitialWeights: spec.InitDCGAN}
	r.Train.Epochs, r.Train.LegEpochs, r.Train.KeepCheckpoints = 3, 1, 1
	r.Sample = spec.Sample{Count: 12, StatisticsBatches: 1}
	return AugmentInput{Class: "scratches", Source: step.Source{Bucket: "b", Prefix: "sources/" + folder + "/"}, Recipe: r}
}

// selectingInput is tinyInput on 120 images with a tenth of them kept to choose
// the checkpoint with.
func selectingInput(t *testing.T, b storage.Bucket, folder string) AugmentInput {
	t.Helper()
	in := tinyInput(t, b, folder, 120)
	in.Recipe.Ingest.SelectionShare = 0.1
	in.Recipe.Monitor.Images = 16
	in.Recipe.Monitor.Patience = 8
	return in
}

// hastyInput is tinyInput with a discriminator that learns so fast that it wins
// within the first leg: at 2.5e-3 it is sure of every image from the eighth of 24
// steps on, at a quarter of that never.
func hastyInput(t *testing.T, b storage.Bucket, folder string) AugmentInput {
	t.Helper()
	in := tinyInput(t, b, folder, 110)
	in.Recipe.Model.GeneratorDepth, in.Recipe.Model.DiscriminatorDepth = 2, 2
	in.Recipe.Train.LegEpochs = 3
	in.Recipe.Train.GeneratorRate, in.Recipe.Train.DiscriminatorRate = 1e-4, 2.5e-3
	in.Recipe.Monitor.OverpowerSteps = 10
	return in
}

// comparingInput is tinyInput with another class, and small classifiers to tell
// them apart with.
func comparingInput(t *testing.T, b storage.Bucket, folder string) AugmentInput {
	t.Helper()
	in, other := tinyInput(t, b, folder, 110), "other-"+folder
	for i := range 30 {
		var raw bytes.Buffer
		require.NoError(t, png.Encode(&raw, picture.BrushedMetal(2, i)))
		_, err := storage.New(b).PutNamed(context.Background(), fmt.Sprintf("sources/%s/%03d.png", other, i), raw.Bytes())
		require.NoError(t, err)
	}
	in.Utility = &step.UtilityPlan{
		Others: []step.ClassSource{{Class: "bright", Source: step.Source{Bucket: "b", Prefix: "sources/" + other + "/"}}},
		Splits: 2, Seeds: 1, PerClass: 10, Steps: 4,
	}
	return in
}

func actual(b storage.Bucket) activities.Activities {
	return activities.Activities{
		Store:   storage.New(b),
		Sources: func(context.Context, string) (storage.Reader, error) { return b, nil },
	}
}

// pipeline runs the workflow on the actual stages, in the test environment.
func pipeline(t *testing.T, b storage.Bucket, in AugmentInput) (AugmentResult, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	Register(env)
	activities.Register(env, actual(b), step.All)
	env.ExecuteWorkflow(AugmentName, in)
	require.True(t, env.IsWorkflowCompleted())
	if err := env.GetWorkflowError(); err != nil {
		return AugmentResult{}, err
	}
	var out AugmentResult
	require.NoError(t, env.GetWorkflowResult(&out))
	return out, nil
}

func under(t *testing.T, b storage.Bucket, prefix string) (keys []string) {
	t.Helper()
	for info, err := range b.List(context.Background(), prefix) {
		require.NoError(t, err)
		keys = append(keys, strings.TrimPrefix(info.Key, prefix))
	}
	return keys
}

// TestPipeline runs everything but the network and the server: images in, a
// verified release out, and the same release from a second run that finds all
// stages done.
func TestPipeline(t *testing.T) {
	if testing.Short() {
		t.Skip("trains; skipped in short mode")
	}
	b := memory.New()
	in := tinyInput(t, b, "many", 110)
	first, err := pipeline(t, b, in)
	require.NoError(t, err)
	require.Equal(t, spec.Pass, first.Verdict, first.Reasons)
	require.Equal(t, 111, first.ImagesIn)
	require.Equal(t, 1, first.ImagesQuarantined)
	require.Greater(t, first.ImagesPublished, 8)
	report, err := release.Verify(context.Background(), b, "scratches", first.Release)
	require.NoError(t, err)
	require.True(t, report.OK, report.Problems)
	require.Equal(t, first.ManifestSHA256, report.ManifestSHA256)

	run := under(t, b, "runs/")
	require.Contains(t, strings.Join(run, " "), "run.json")
	require.NotContains(t, strings.Join(run, " "), "checkpoints/step-")
	raw, err := storage.New(b).Read(context.Background(), storage.Object(first.Record), 1<<20)
	require.NoError(t, err)
	var record struct {
		Verdict string `json:"verdict"`
		Outcome step.Outcome
	}
	require.NoError(t, json.Unmarshal(raw, &record))
	require.Equal(t, spec.Pass, record.Verdict)
	require.Equal(t, 3, record.Outcome.Train.Epoch)

	// Legs of another length are another history, not another result, and an
	// unchanged training is not done again.
	in.Recipe.Train.LegEpochs = 2
	second, err := pipeline(t, b, in)
	require.NoError(t, err)
	raw, err = storage.New(b).Read(context.Background(), storage.Object(second.Record), 1<<20)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &record))
	require.Zero(t, record.Outcome.Train.ImagesPerSecond, "nothing was left to train")
	in.Recipe.Train.LegEpochs = 1
	third, err := pipeline(t, b, in)
	require.NoError(t, err)
	require.Equal(t, first.ManifestSHA256, third.ManifestSHA256)
	require.Equal(t, first.Release, third.Release)
}

// TestPipelineChoosesACheckpoint evaluates every leg on images that are neither
// trained on nor judged by, and a second run finds the choice, to the same release.
func TestPipelineChoosesACheckpoint(t *testing.T) {
	if testing.Short() {
		t.Skip("trains; skipped in short mode")
	}
	b := memory.New()
	in := selectingInput(t, b, "many")
	outcome := func(out AugmentResult) step.Outcome { return outcomeOf(t, b, out) }
	first, err := pipeline(t, b, in)
	require.NoError(t, err)
	require.Equal(t, spec.Pass, first.Verdict, first.Reasons)
	made := outcome(first)
	require.Equal(t, 120, made.Ingest.Training+made.Ingest.Holdout+made.Ingest.Selection)
	require.Equal(t, made.Ingest.Selection, made.Preprocess.Selection)
	require.Equal(t, made.Ingest.Training+made.Ingest.Holdout, made.Check.Real, "selection images are not judged by")
	require.Len(t, made.Choice.Evaluations, 3)
	require.Equal(t, made.Choice.Checkpoint, made.Train.Checkpoint)

	second, err := pipeline(t, b, in)
	require.NoError(t, err)
	require.Equal(t, made.Choice, outcome(second).Choice)
	require.Zero(t, outcome(second).Train.ImagesPerSecond, "nothing was left to train")
	require.Equal(t, first.ManifestSHA256, second.ManifestSHA256)
}

// outcomeOf reads a run's record.
func outcomeOf(t *testing.T, b storage.Bucket, out AugmentResult) step.Outcome {
	t.Helper()
	raw, err := storage.New(b).Read(context.Background(), storage.Object(out.Record), 1<<20)
	require.NoError(t, err)
	var record step.RecordRunInput
	require.NoError(t, json.Unmarshal(raw, &record))
	return record.Outcome
}

// pageOf is the text of a run's report, without its tags.
func pageOf(t *testing.T, b storage.Bucket, out AugmentResult) string {
	t.Helper()
	raw, err := storage.New(b).Read(context.Background(), storage.Object(out.Report), 1<<28)
	require.NoError(t, err)
	words := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(string(raw), " ")
	return strings.Join(strings.Fields(words), " ")
}

// TestPipelineRecovers trains for real where the discriminator wins: the run goes
// back with half of its rate until it does not, and ends.
func TestPipelineRecovers(t *testing.T) {
	if testing.Short() {
		t.Skip("trains; skipped in short mode")
	}
	b := memory.New()
	out, err := pipeline(t, b, hastyInput(t, b, "many"))
	require.NoError(t, err)
	made := outcomeOf(t, b, out)
	n := len(made.Rollbacks)
	require.True(t, n == 1 || n == 2, "%+v", made.Rollbacks)
	for i, r := range made.Rollbacks {
		require.Equal(t, step.AlarmOverpowered, r.Alarm.Kind)
		require.Zero(t, r.ToEpoch)
		require.InDelta(t, math.Ldexp(1, -i-1), r.DiscriminatorScale, 0)
		require.Greater(t, r.Alarm.Step, int64(10))
	}
	require.Equal(t, 3, made.Train.Epoch)
	require.NotEmpty(t, made.Train.Checkpoint.Key)
	require.Nil(t, made.Train.Alarm)
	require.Equal(t, spec.Pass, out.Verdict, out.Reasons)
	require.NotEmpty(t, out.Release)
	page := pageOf(t, b, out)
	for _, words := range []string{"The discriminator overpowered the generator", "Rolled back to epoch 0", "Went through."} {
		require.True(t, strings.Contains(page, words), words)
	}

	again, err := pipeline(t, b, hastyInput(t, b, "many"))
	require.NoError(t, err)
	require.Equal(t, out.ManifestSHA256, again.ManifestSHA256, "the same tries, the same bytes")
}

// TestPipelineComparesClassifiers asks whether the set helps, in a run under a
// policy that does not demand it and under one that does.
func TestPipelineComparesClassifiers(t *testing.T) {
	if testing.Short() {
		t.Skip("trains; skipped in short mode")
	}
	b := memory.New()
	in := comparingInput(t, b, "many")
	out, err := pipeline(t, b, in)
	require.NoError(t, err)
	require.Equal(t, spec.Pass, out.Verdict, out.Reasons)
	require.True(t, out.Utility.Done, out.Utility.Why)
	require.Equal(t, *out.Utility, outcomeOf(t, b, out).Utility)
	require.Equal(t, []string{"scratches", "bright"}, out.Utility.Classes)
	page := pageOf(t, b, out)
	for _, words := range []string{"Told apart: scratches , bright .", "classic augmentation and generated images, over classic augmentation"} {
		require.True(t, strings.Contains(page, words), words)
	}
	r, err := release.Open(context.Background(), b, "scratches", release.Newest)
	require.NoError(t, err)
	card, err := r.Read(context.Background(), release.CardName)
	require.NoError(t, err)
	require.Contains(t, string(card), out.Utility.Summary)

	again, err := pipeline(t, b, in)
	require.NoError(t, err)
	require.Equal(t, out.ManifestSHA256, again.ManifestSHA256)

	// Four steps teach nothing: a policy that demands a gain lets nothing out.
	in.Policy = spec.CopyingPolicy()
	least := 0.001
	in.Policy.Name, in.Policy.Rules = "demanding", append(in.Policy.Rules, spec.Rule{Measure: spec.MeasureUtilityGain, Min: &least})
	refused, err := pipeline(t, b, in)
	require.NoError(t, err)
	require.NotEqual(t, spec.Pass, refused.Verdict)
	require.Empty(t, refused.Release)
	require.Contains(t, strings.Join(refused.Reasons, " "), spec.MeasureUtilityGain)
	in.Utility = nil
	refused, err = pipeline(t, b, in)
	require.NoError(t, err)
	require.Equal(t, spec.Inconclusive, refused.Verdict, "no other classes are no pass")
	require.Nil(t, refused.Utility)
}

func TestPipelineLeavesNothingOfASetThatIsTooSmallToJudge(t *testing.T) {
	if testing.Short() {
		t.Skip("trains; skipped in short mode")
	}
	b := memory.New()
	out, err := pipeline(t, b, tinyInput(t, b, "few", 20))
	require.NoError(t, err)
	require.Equal(t, spec.Inconclusive, out.Verdict)
	require.Contains(t, strings.Join(out.Reasons, " "), "chance: 20, at least 100")
	require.Empty(t, out.Release)
	require.Empty(t, under(t, b, "releases/"))
	require.NotEmpty(t, out.Report.Key)
	_, err = storage.New(b).Read(context.Background(), storage.Object(out.Report), 1<<28)
	require.NoError(t, err)
}

// Tiles are several tensors of an image: every candidate is compared with all of them.
func TestPipelineOfTiles(t *testing.T) {
	if testing.Short() {
		t.Skip("trains; skipped in short mode")
	}
	b := memory.New()
	in := tinyInput(t, b, "tiles", 110)
	in.Recipe.Ingest.Frame, in.Recipe.Ingest.Tile = spec.FrameTiles, 100
	in.Recipe.Train.Epochs = 1
	out, err := pipeline(t, b, in)
	require.NoError(t, err)
	for _, reason := range out.Reasons {
		require.NotContains(t, reason, spec.MeasureCompared)
	}
	record, err := ledger.ReadRun(t.Context(), storage.New(b), out.Record)
	require.NoError(t, err)
	require.Equal(t, 110, record.Outcome.Ingest.Usable)
	require.Equal(t, 440, record.Outcome.Preprocess.Training+record.Outcome.Preprocess.Holdout)
	require.Equal(t, 440, record.Outcome.Check.Real)
}
