package activities

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

// put stores a document as a stage would.
func put(t *testing.T, s *storage.Store, raw []byte, err error) step.Ref {
	t.Helper()
	require.NoError(t, err)
	obj, err := s.PutArtifact(context.Background(), raw, ".json")
	require.NoError(t, err)
	return step.Ref(obj)
}

func reportPicture(t *testing.T, s *storage.Store, side, grey int) step.Ref {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, side, side))
	for i := range img.Pix {
		img.Pix[i] = uint8(grey + i%7)
	}
	var buf bytes.Buffer
	require.NoError(t, png.Encode(&buf, img))
	return put(t, s, buf.Bytes(), nil)
}

// reportOutcome stores what the stages of a whole run leave, with count
// candidates of which every tenth is rejected.
func reportOutcome(t *testing.T, s *storage.Store, count int) step.Outcome {
	t.Helper()
	o := step.Outcome{
		Run: step.Run{WorkflowID: "augment-scratches-1", RunID: "run-1"}, Class: "scratches",
		Source: step.Source{Bucket: "b", Prefix: "sources/scratches/1"}, Recipe: spectest.Quick(),
		Times: []step.StageTime{{Stage: "Ingest", Seconds: 1.5}},
	}
	set := ledger.Dataset{
		Class: "scratches", Grouping: ledger.GroupedByOverlap, Quarantine: []ledger.Quarantined{{Name: "a.txt", Reason: "not an image"}},
		Duplicates: []ledger.Duplicate{{Name: "b.png", Of: "c.png", Kind: ledger.DuplicateNear}},
	}
	for i := range 48 {
		set.Images = append(set.Images, ledger.DatasetImage{Name: fmt.Sprintf("r%d.png", i), SHA256: fmt.Sprintf("r%d", i), Split: ledger.SplitTraining})
	}
	raw, err := ledger.Datasets.Encode(set)
	o.Ingest = step.IngestResult{Dataset: put(t, s, raw, err), Found: 62, Usable: 60, Quarantined: 1, NearDuplicates: 1, Groups: 40, Training: 48, Holdout: 12}
	o.Preprocess = step.PreprocessResult{Tensors: reportTensors(t, s, set.Images), Training: 48, Holdout: 12}
	ones := make([]float32, 100)
	for i := range ones {
		ones[i] = 1
	}
	raw, err = ledger.Curves{StepsPerEpoch: 4, LossReal: ones, LossFake: ones, LossG: ones, DReal: ones, DFake: ones}.Encode()
	o.Train = step.TrainResult{
		Checkpoint: put(t, s, []byte("checkpoint"), nil), Curves: put(t, s, raw, err),
		Epoch: 25, Step: 100, LossReal: 1, LossFake: 1, LossG: 1, DReal: 1, DFake: 1, ImagesPerSecond: 33.5,
	}
	list := ledger.CandidateList{Checkpoint: o.Train.Checkpoint.SHA256, Seed: 1}
	neighbours := ledger.NeighbourList{RejectAt: 6, TransformedRejectAt: 5, TailAt: 8, RealNearest: []float64{6, 7, 9, 12}, Notes: []string{"a note"}}
	for i := range count {
		c := ledger.Candidate{Index: i, Image: reportPicture(t, s, 8, i)}
		check := ledger.CandidateCheck{
			Index: i, SHA256: c.Image.SHA256, Accepted: i%10 != 3,
			Nearest: []ledger.Neighbour{{Name: fmt.Sprintf("r%d.png", i), SHA256: fmt.Sprintf("r%d", i), Distance: 10 + float64(i)/8, Split: ledger.SplitTraining}},
		}
		if !check.Accepted {
			check.Reason, check.Nearest[0].Distance = "too near", 5.5
		}
		if i == 4 {
			check.Accepted, check.Reason = false, "copy: mirrored"
			check.Transformed = &ledger.TransformedNeighbour{Neighbour: ledger.Neighbour{Name: "r40.png", SHA256: "r40", Distance: 1, Split: ledger.SplitTraining}, How: "mirrored"}
		}
		list.Images, neighbours.Candidates = append(list.Images, c), append(neighbours.Candidates, check)
	}
	raw, err = ledger.Candidates.Encode(list)
	o.Sample = step.SampleResult{Candidates: put(t, s, raw, err), Count: count}
	raw, err = ledger.Neighbours.Encode(neighbours)
	o.Check = step.OverfitResult{
		Neighbours: put(t, s, raw, err), Sheet: reportPicture(t, s, 64, 9), Accepted: count - count/10, Rejected: count / 10,
		RejectAt: 6, TailAt: 8, TailShare: 0.1, Nearest: 5.5, Real: 60, Repeated: 1, Blank: 1,
	}
	var measures quality.Measures
	measures.Set(spec.MeasureDensity, 0.875)
	measures.Note("120 images drawn by chance")
	raw, err = ledger.Measures.Encode(ledger.MeasureList{Measures: measures})
	o.Policy = spec.CopyingPolicy()
	o.Assess = step.AssessResult{
		Verdict: spec.Pass, Scope: "copying only", Policy: o.Policy.Name, Measures: put(t, s, raw, err),
		Rules: []spec.Judged{{Name: "published", Value: 18, Threshold: 8, Side: "min", Outcome: spec.Pass, Reason: "enough"}},
	}
	return o
}

// reportTensors stores the images' rows, each of one grey level, in two shards.
func reportTensors(t *testing.T, s *storage.Store, images []ledger.DatasetImage) step.Ref {
	t.Helper()
	index := ledger.TensorIndex{Shape: []int{spec.Channels, spec.Size, spec.Size}}
	for from := 0; from < len(images); from += 30 {
		part := images[from:min(from+30, len(images))]
		rows, shard := make([]uint8, len(part)*spec.ImageLen), ledger.Shard{Split: ledger.SplitTraining}
		for i := range rows {
			rows[i] = uint8(from + i/spec.ImageLen)
		}
		for _, im := range part {
			shard.Images = append(shard.Images, im.SHA256)
		}
		var file bytes.Buffer
		shape := []int{len(part), spec.Channels, spec.Size, spec.Size}
		require.NoError(t, checkpoint.Write(&file, nil, []checkpoint.Tensor{{Name: "images", DType: checkpoint.U8, Shape: shape, Data: rows}}))
		shard.Ref = put(t, s, file.Bytes(), nil)
		index.Shards = append(index.Shards, shard)
	}
	raw, err := ledger.Tensors.Encode(index)
	return put(t, s, raw, err)
}

// twin reads a stored JSON report back.
func twin(t *testing.T, s *storage.Store, ref step.Ref) report.Data {
	t.Helper()
	raw, err := s.Read(context.Background(), storage.Object(ref), 1<<20)
	require.NoError(t, err)
	var d report.Data
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&d))
	return d
}

func reportPage(t *testing.T, s *storage.Store, ref step.Ref) string {
	t.Helper()
	raw, err := s.Read(context.Background(), storage.Object(ref), 8<<20)
	require.NoError(t, err)
	return string(raw)
}

func TestReportGathersTheStages(t *testing.T) {
	s := storage.New(memory.New())
	o := reportOutcome(t, s, 20)
	got, err := Reporter{Store: s}.Report(t.Context(), step.ReportInput{Outcome: o})
	require.NoError(t, err)
	d := twin(t, s, got.JSON)
	require.Empty(t, d.Missing)
	require.Equal(t, 62, d.Intake.Found)
	require.Contains(t, d.Intake.Grouping, "overlap")
	require.Equal(t, []int{2, 1, 1}, []int{d.Distance.Rejected, d.Distance.Repeated, d.Distance.Blank})
	require.Equal(t, []report.Quarantine{{Name: "a.txt", Reason: "not an image"}}, d.Intake.Quarantine)
	require.Equal(t, []report.Duplicate{{Name: "b.png", Of: "c.png", Kind: ledger.DuplicateNear}}, d.Intake.DuplicateList)
	require.Len(t, d.Samples.Images, 20)
	require.False(t, d.Samples.Images[13].Accepted)
	require.Equal(t, "too near", d.Samples.Images[13].Reason)
	require.Equal(t, "r13.png", d.Samples.Images[13].Nearest[0].Name)
	require.Equal(t, []float64{6, 7, 9, 12}, d.Distance.RealNearest)
	require.Equal(t, 4, d.Training.StepsPerEpoch)
	require.Len(t, d.Training.Points, 100)
	require.Equal(t, "augment-scratches-1", d.Run.WorkflowID)
	for _, ref := range []step.Ref{o.Ingest.Dataset, o.Preprocess.Tensors, o.Train.Checkpoint, o.Sample.Candidates, o.Check.Neighbours, o.Check.Sheet} {
		require.Contains(t, reportPage(t, s, got.HTML), ref.SHA256)
		require.Contains(t, reportPage(t, s, got.ReleaseHTML), ref.SHA256)
	}
	require.Contains(t, reportPage(t, s, got.HTML), "augment-scratches-1")
	require.Equal(t, []report.Measure{{Name: spec.MeasureDensity, Measure: quality.Measure{Value: 0.875}}}, d.Measures)
	require.Equal(t, []string{"120 images drawn by chance"}, d.Notes)
	require.Equal(t, []string{"a note"}, d.Distance.Notes)
	require.Equal(t, &report.Policy{Name: "copying", Approval: spec.ApproveAuto, DeadlineHours: 72}, d.Policy)
	require.Equal(t, &report.Neighbour{Name: "r40.png", SHA256: "r40", Distance: 1, Split: ledger.SplitTraining, Transform: "mirrored"}, d.Samples.Images[4].Match)
	require.Nil(t, d.Samples.Images[13].Match)
	require.Nil(t, d.Utility)
	require.Contains(t, d.Decision.Warning, "No production set")
}

func TestReportShowsRealImagesFromTheShards(t *testing.T) {
	s := storage.New(memory.New())
	o := reportOutcome(t, s, 20)
	got, err := Reporter{Store: s}.Report(t.Context(), step.ReportInput{Outcome: o})
	require.NoError(t, err)
	page := reportPage(t, s, got.HTML)
	shows := func(grey uint8, alt string) {
		raw, err := picture.EncodePNG(bytes.Repeat([]byte{grey}, spec.ImageLen))
		require.NoError(t, err)
		want := fmt.Sprintf(`<img src="data:image/png;base64,%s" width="128" height="128" alt="%s">`, base64.StdEncoding.EncodeToString(raw), alt)
		require.Contains(t, strings.ReplaceAll(page, "&#43;", "+"), want)
	}
	shows(0, "Real training image r0.png") // the first of 17 spread over 48
	shows(45, "Real training image r45.png")
	shows(40, "Real image r40.png") // of the second shard, beside the mirrored copy
	require.Len(t, twin(t, s, got.JSON).Samples.Real, 17, "as many as accepted candidates")

	index, err := ledger.Tensors.Read(t.Context(), s, o.Preprocess.Tensors)
	require.NoError(t, err)
	index.Shards[0].Images = index.Shards[0].Images[1:]
	raw, err := ledger.Tensors.Encode(index)
	o.Preprocess.Tensors = put(t, s, raw, err)
	_, err = Reporter{Store: s}.Report(t.Context(), step.ReportInput{Outcome: o})
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, step.ErrCorrupt, app.Type())
}

func TestReportShowsTheChoiceAndTheRollbacks(t *testing.T) {
	s := storage.New(memory.New())
	o := reportOutcome(t, s, 12)
	alarm := step.Alarm{Kind: step.AlarmCollapsed, Epoch: 15, Step: 60, Value: 0.3, Threshold: 0.5, Reason: "alike"}
	o.Choice = &step.Choice{
		Checkpoint: put(t, s, []byte("chosen"), nil), Curves: o.Train.Curves, Epoch: 20, Step: 80, LastEpoch: 25, Reason: "the lowest KID",
		Evaluations: []step.Evaluation{{Epoch: 20, Step: 80, KID: 0.5}, {Epoch: 25, Step: 100, KID: 0.7}},
		Rollbacks:   []step.Rollback{{Alarm: alarm, ToEpoch: 10, DiscriminatorScale: 0.5}},
	}
	o.Train = step.TrainResult{Chosen: o.Choice} // an earlier run trained it
	o.Utility = step.UtilityResult{Done: true, Summary: "no gain", Gains: []step.GainResult{{Arm: spec.ArmBoth, Over: spec.ArmClassic, Low: -0.1, High: 0.1}}}
	o.Approval = step.Approval{By: step.ByPerson, Who: "Ada", Why: "blurred"}
	got, err := Reporter{Store: s}.Report(t.Context(), step.ReportInput{Outcome: o})
	require.NoError(t, err)
	d := twin(t, s, got.JSON)
	require.Empty(t, d.Missing)
	require.Equal(t, &report.Choice{Epoch: 20, Step: 80, Reason: "the lowest KID", Evaluations: o.Choice.Evaluations}, d.Training.Choice)
	require.Equal(t, o.Choice.Rollbacks, d.Rollbacks)
	require.Equal(t, []float64{25, 100, 1}, []float64{float64(d.Training.Epochs), float64(d.Training.Steps), d.Training.LossG}, "numbers come from the curves")
	require.Contains(t, reportPage(t, s, got.HTML), o.Choice.Checkpoint.SHA256)
	require.Equal(t, "no gain", d.Utility.Summary)
	require.Equal(t, "Ada", d.Approval.Who)
	require.Nil(t, twin(t, s, got.ReleaseJSON).Approval)

	// A training that failed at its last try left an alarm beside its last good state.
	o = step.Outcome{Class: "scratches", Recipe: spectest.Quick(), Ingest: o.Ingest, Rollbacks: o.Choice.Rollbacks,
		Train: step.TrainResult{Checkpoint: o.Choice.Checkpoint, Curves: o.Choice.Curves, Epoch: 10, Alarm: &alarm}}
	got, err = Reporter{Store: s}.Report(t.Context(), step.ReportInput{Outcome: o})
	require.NoError(t, err)
	d = twin(t, s, got.JSON)
	require.Equal(t, "Not published: training failed after 2 tries. Alike.", d.Next)
	require.Len(t, d.Training.Points, 100)
	require.Contains(t, d.Missing, "Training failed: none of its checkpoints is used.")
	require.Contains(t, reportPage(t, s, got.HTML), "<strong>Training failed.</strong> Alike.")
	require.NotContains(t, reportPage(t, s, got.HTML), "The last checkpoint was taken")
}

func TestReportOfTheReleaseDependsOnContentOnly(t *testing.T) {
	s := storage.New(memory.New())
	a := reportOutcome(t, s, 20)
	b := reportOutcome(t, s, 20)
	b.Run = step.Run{WorkflowID: "another", RunID: "run-2"}
	b.Source = step.Source{Bucket: "other", Prefix: "elsewhere"}
	b.Times = []step.StageTime{{Stage: "Ingest", Seconds: 99}}
	b.Train.ImagesPerSecond, b.Preprocess.Cached = 1, true
	b.Recipe.Train.LegEpochs++
	first, err := Reporter{Store: s}.Report(t.Context(), step.ReportInput{Outcome: a})
	require.NoError(t, err)
	second, err := Reporter{Store: s}.Report(t.Context(), step.ReportInput{Outcome: b})
	require.NoError(t, err)
	require.Equal(t, first.ReleaseHTML, second.ReleaseHTML)
	require.Equal(t, first.ReleaseJSON, second.ReleaseJSON)
	require.NotEqual(t, first.HTML, second.HTML)
	for _, ref := range []step.Ref{first.ReleaseHTML, first.ReleaseJSON} {
		for _, leak := range []string{"augment-scratches-1", "run-1", "sources/scratches", "runs/"} {
			require.NotContains(t, reportPage(t, s, ref), leak)
		}
	}
	again, err := Reporter{Store: s}.Report(t.Context(), step.ReportInput{Outcome: a})
	require.NoError(t, err)
	require.Equal(t, first, again)
}

func TestReportOfARunThatEndedEarly(t *testing.T) {
	s := storage.New(memory.New())
	full := reportOutcome(t, s, 12)
	stages := []func(*step.Outcome){
		func(o *step.Outcome) { o.Assess = step.AssessResult{} },
		func(o *step.Outcome) { o.Check = step.OverfitResult{} },
		func(o *step.Outcome) { o.Sample = step.SampleResult{} },
		func(o *step.Outcome) { o.Train = step.TrainResult{} },
		func(o *step.Outcome) { o.Preprocess = step.PreprocessResult{} },
		func(o *step.Outcome) { o.Ingest = step.IngestResult{} },
	}
	missing := []int{1, 2, 3, 4, 4, 5}
	for i, drop := range stages {
		drop(&full)
		got, err := Reporter{Store: s}.Report(t.Context(), step.ReportInput{Outcome: full})
		require.NoError(t, err)
		require.Len(t, twin(t, s, got.JSON).Missing, missing[i])
		require.Contains(t, reportPage(t, s, got.HTML), "No verdict")
	}
}

func TestReportRefusesDocumentsThatDisagree(t *testing.T) {
	s := storage.New(memory.New())
	o := reportOutcome(t, s, 12)
	doc, err := ledger.Neighbours.Read(t.Context(), s, o.Check.Neighbours)
	require.NoError(t, err)
	doc.Candidates = doc.Candidates[1:]
	raw, err := ledger.Neighbours.Encode(doc)
	o.Check.Neighbours = put(t, s, raw, err)
	_, err = Reporter{Store: s}.Report(t.Context(), step.ReportInput{Outcome: o})
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, step.ErrBadInput, app.Type())

	o = reportOutcome(t, s, 12)
	o.Train.Curves = o.Ingest.Dataset
	_, err = Reporter{Store: s}.Report(t.Context(), step.ReportInput{Outcome: o})
	require.ErrorIs(t, err, ledger.ErrFormat)
}
