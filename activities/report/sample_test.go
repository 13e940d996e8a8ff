package report

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
)

// picture is a PNG of the given size whose pixels depend on seed.
func picture(t *testing.T, w, h, seed int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, w, h))
	state := uint32(seed)*2654435761 + 1
	for i := range img.Pix {
		state = state*1664525 + 1013904223
		img.Pix[i] = uint8(state >> 24)
	}
	img.SetGray(0, 0, color.Gray{Y: uint8(seed)})
	var buf bytes.Buffer
	require.NoError(t, png.Encode(&buf, img))
	return buf.Bytes()
}

// complete is the Data of a run that went through, with count candidates of
// which every tenth is rejected, and their pictures.
func complete(t *testing.T, count int) (Data, Pictures) {
	t.Helper()
	d, err := New("scratches", spectest.Quick(), spectest.Quick())
	require.NoError(t, err)
	d.Policy = &Policy{Name: "production", Approval: spec.ApproveAuto, DeadlineHours: 72}
	d.Decision = &Decision{
		Verdict: spec.Pass, Scope: "Copying, variety and likeness were judged.",
		Rules: []spec.Judged{
			{Name: spec.MeasureAccepted, Value: 108, Threshold: 8, Side: "min", Outcome: spec.Pass, Reason: "enough were accepted"},
			{Name: spec.MeasureTailShare, Value: 0.0416666, Threshold: 0.09, Side: "max", Outcome: spec.Pass, Reason: "few are near",
				Low: ptr(0.02), High: ptr(0.08), Reference: ptr(0.05)},
			{Name: spec.MeasureCoverage, Value: 0.83, Threshold: 0.75, Side: "min", Outcome: spec.Pass, Reason: "most are covered",
				Low: ptr(0.78), High: ptr(0.9), Reference: ptr(0.97)},
		},
	}
	d.Measures = []Measure{
		{Name: "kid_pca", Measure: quality.Measure{Value: 0.0123, Low: ptr(0.01), High: ptr(0.02), Reference: ptr(0.001)}},
		{Name: "swd.128", Measure: quality.Measure{Value: 17.5}}, {Name: "swd.64"},
	}
	d.Notes = []string{"drawn by chance: 100 images"}
	d.Utility = &Utility{
		Helps: true, Summary: "the set helps", Train: 100, Test: 240,
		Arms:  []step.ArmResult{{Arm: spec.ArmClassic, MacroF1: 0.91, ClassF1: 0.9}, {Arm: spec.ArmBoth, MacroF1: 0.93, ClassF1: 0.94}},
		Gains: []step.GainResult{{Arm: spec.ArmBoth, Over: spec.ArmClassic, Mean: 0.02, Low: 0.005, High: 0.035}},
	}
	d.Intake = &Intake{
		Found: 305, Usable: 298, Quarantined: 2, Duplicates: 1, NearDuplicates: 4, Groups: 171, Training: 239, Holdout: 59,
		Selection: 0, Grouping: "likeness",
		Quarantine:    []Quarantine{{"notes.txt", "not an image"}, {"cut.jpg", "unexpected end"}},
		DuplicateList: []Duplicate{{"b.jpg", "a.jpg", "exact"}},
	}
	pics := Pictures{Candidates: map[int][]byte{}, Real: map[string][]byte{}}
	d.Samples = &Samples{Checked: true}
	for i := range maxGrid {
		d.Samples.Real = append(d.Samples.Real, Real{Name: fmt.Sprintf("train_%d.jpg", i), SHA256: fmt.Sprintf("t%d", i)})
		pics.Real[fmt.Sprintf("t%d", i)] = picture(t, 16, 16, 1000+i)
	}
	for i := range count {
		c := Candidate{Index: i, SHA256: fmt.Sprintf("%064x", i+1), Size: 100, Accepted: i%10 != 3}
		at := 20 + float64(i%17)/3
		if !c.Accepted {
			c.Reason, at = "too near to a real image", 5+float64(i)/7
		}
		c.Nearest = []Neighbour{{Name: fmt.Sprintf("real_%d.jpg", i), SHA256: fmt.Sprintf("r%d", i), Distance: at, Split: "training"}}
		pics.Real[fmt.Sprintf("r%d", i)] = picture(t, 16, 16, 2000+i)
		d.Samples.Images = append(d.Samples.Images, c)
		pics.Candidates[i] = picture(t, 16, 16, i)
	}
	d.Distance = &Distances{
		Real: 298, Accepted: 108, Rejected: 12, Repeated: 2, Blank: 1, RejectAt: 9.123456, TailAt: 11.5, TailShare: 0.0416666,
		Transformed: 0.05, TransformedRejectAt: 8.5, Nearest: 5.428571,
		RealNearest: []float64{9, 12.5, 17, 18, 18.5, 21, 30},
	}
	d.Training = &Training{
		Epochs: 75, Steps: 1500, StepsPerEpoch: 20,
		LossReal: 0.4321987, LossFake: 0.3, LossG: 2.5, DReal: 0.8, DFake: 0.2,
	}
	d.Training.Points, d.Training.PointSteps = ramp(1500).Sampled()
	d.Training.Choice = &Choice{Epoch: 50, Step: 1000, Reason: "the lowest of 3 evaluations", Evaluations: []step.Evaluation{
		{Epoch: 25, Step: 500, KID: 1, KIDPixels: 0.4, KIDTexture: 0.2, Spread: 0.7},
		{Epoch: 50, Step: 1000, KID: 0.3, KIDPixels: 0.12, KIDTexture: 0.06, Spread: 0.9},
		{Epoch: 75, Step: 1500, KID: 0.5, KIDPixels: 0.2, KIDTexture: 0.1, Spread: 0.8},
	}}
	d.Rollbacks = []step.Rollback{{
		Alarm:   step.Alarm{Kind: step.AlarmOverpowered, Epoch: 42, Step: 830, Value: 200, Threshold: 200, Reason: "D(x) was high for 200 steps"},
		ToEpoch: 40, DiscriminatorScale: 0.5,
	}}
	d.Run = &Run{
		WorkflowID: "augment-scratches-feedfacecafe", RunID: "0198-run-id",
		Source: step.Source{Bucket: "in", Prefix: "sources/scratches/1/"}, ImagesPerSecond: 41.5,
		Times: []step.StageTime{{Stage: "Ingest", Seconds: 2.25}, {Stage: "Train", Seconds: 411.7}},
	}
	d.Digests = append(d.Digests, Digest{Name: "Data set", SHA256: "d5" + fmt.Sprintf("%062x", 7), Size: 4096})
	return d, pics
}

func ptr(v float64) *float64 { return &v }

// ramp are curves whose values tell their step.
func ramp(n int) Curves {
	var c Curves
	for i := range n {
		c.LossReal = append(c.LossReal, float32(i))
		c.LossFake = append(c.LossFake, 0.5)
		c.LossG = append(c.LossG, 2)
		c.DReal = append(c.DReal, 0.75)
		c.DFake = append(c.DFake, 0.25)
	}
	return c
}
