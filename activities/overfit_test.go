package activities

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

// boxes is a picture of black and white boxes, farther from smallSet's noise
// than any two of its images are from each other.
func boxes(side int) []uint8 {
	out := make([]uint8, spec.ImageLen)
	for i := range out {
		x, y := i%spec.Size, i/spec.Size%spec.Size
		if (x/side+y/side)%2 == 0 {
			out[i] = 255
		}
	}
	return out
}

func realImage(t *testing.T, s *storage.Store, tensors step.Ref, row int) []uint8 {
	t.Helper()
	index, err := ledger.Tensors.Read(context.Background(), s, tensors)
	require.NoError(t, err)
	im, err := ledger.OpenImages(context.Background(), s, index, t.TempDir(), ledger.SplitTraining, ledger.SplitHoldout)
	require.NoError(t, err)
	defer im.Close()
	out := make([]uint8, spec.ImageLen)
	require.NoError(t, im.Row(out, row))
	return out
}

func candidates(t *testing.T, s *storage.Store, images ...[]uint8) step.Ref {
	t.Helper()
	list := ledger.CandidateList{Checkpoint: "c0ffee", Seed: 1}
	for i, pixels := range images {
		raw, err := picture.EncodePNG(pixels)
		require.NoError(t, err)
		obj, err := s.PutArtifact(context.Background(), raw, ".png")
		require.NoError(t, err)
		list.Images = append(list.Images, ledger.Candidate{Index: i, Image: step.Ref(obj)})
	}
	raw, err := ledger.Candidates.Encode(list)
	require.NoError(t, err)
	obj, err := s.PutArtifact(context.Background(), raw, ".json")
	require.NoError(t, err)
	return step.Ref(obj)
}

// judged is the check of four odd candidates and two good ones against 7
// training images and 3 held out.
func judged(t *testing.T, s *storage.Store) (step.OverfitInput, step.OverfitResult, ledger.NeighbourList) {
	t.Helper()
	dataset, tensors := smallSet(t, s, 10)
	copied, held := realImage(t, s, tensors, 2), realImage(t, s, tensors, 8)
	held[5] ^= 0x10
	list := candidates(t, s, copied, boxes(8), held, make([]uint8, spec.ImageLen), boxes(8), boxes(16))
	in := step.OverfitInput{Candidates: list, Dataset: dataset, Tensors: tensors, Overfit: tiny().Overfit}
	out, err := Checker{Store: s}.CheckOverfit(context.Background(), in)
	require.NoError(t, err)
	doc, err := ledger.Neighbours.Read(context.Background(), s, out.Neighbours)
	require.NoError(t, err)
	return in, out, doc
}

func TestCheckOverfitRejectsCopiesRepeatsAndBlanks(t *testing.T) {
	s := storage.New(memory.New())
	_, out, doc := judged(t, s)
	require.Equal(t, 2, out.Accepted)
	require.Equal(t, 4, out.Rejected)
	require.Equal(t, 1, out.Repeated)
	require.Equal(t, 1, out.Blank)
	require.Equal(t, 10, out.Real)
	require.Zero(t, out.Nearest)
	require.InDelta(t, 1.0/6, out.TailShare, 1e-12, "held-out images are no training images")
	require.Len(t, doc.RealNearest, 7)
	require.Len(t, doc.HoldoutNearest, 3)
	require.Zero(t, doc.Candidates[0].Transformed.Distance)
	require.Positive(t, out.RejectAt)
	require.GreaterOrEqual(t, out.TailAt, out.RejectAt)

	var reasons []string
	for i, c := range doc.Candidates {
		require.Equal(t, i, c.Index)
		require.Equal(t, c.Reason == "", c.Accepted)
		require.Len(t, c.Nearest, 5)
		reasons = append(reasons, c.Reason)
	}
	require.Contains(t, reasons[0], "copy: 0 from image-c.png")
	require.Empty(t, reasons[1])
	require.Contains(t, reasons[2], "from image-i.png")
	require.Equal(t, ledger.SplitHoldout, doc.Candidates[2].Nearest[0].Split)
	require.Contains(t, reasons[3], "blank")
	require.Equal(t, "the same as candidate 1", reasons[4])
	require.Empty(t, reasons[5])

	sheet, err := s.Read(context.Background(), storage.Object(out.Sheet), 1<<24)
	require.NoError(t, err)
	img, err := png.Decode(bytes.NewReader(sheet))
	require.NoError(t, err)
	require.Greater(t, img.Bounds().Dx(), 6*spec.Size)
	require.Greater(t, img.Bounds().Dy(), 6*spec.Size)
}

func TestCheckOverfitMeasuresTheFirstChannelInMinusOneToOne(t *testing.T) {
	s := storage.New(memory.New())
	in, _, doc := judged(t, s)
	want := make([]float64, 10)
	for row := range want {
		real, sum := realImage(t, s, in.Tensors, row), 0.0
		for i, v := range boxes(8)[:spec.Size*spec.Size] {
			d := (float64(v)/127.5 - 1) - (float64(real[i])/127.5 - 1)
			sum += d * d
		}
		want[row] = math.Sqrt(sum)
	}
	for k, n := range doc.Candidates[1].Nearest {
		row := int(n.Name[len("image-")] - 'a')
		require.InDelta(t, want[row], n.Distance, 1e-9)
		smaller := 0
		for _, d := range want {
			if d < n.Distance-1e-9 {
				smaller++
			}
		}
		require.Equal(t, k, smaller)
	}
}

func TestCheckOverfitRejectsTransformedCopies(t *testing.T) {
	s := storage.New(memory.New())
	dataset, tensors := smallSet(t, s, 10)
	mirrored := realImage(t, s, tensors, 3)
	for row := range spec.Channels * spec.Size {
		slices.Reverse(mirrored[row*spec.Size : (row+1)*spec.Size])
	}
	in := step.OverfitInput{Candidates: candidates(t, s, mirrored, boxes(8)), Dataset: dataset, Tensors: tensors, Overfit: tiny().Overfit}
	out, err := Checker{Store: s}.CheckOverfit(context.Background(), in)
	require.NoError(t, err)
	require.Equal(t, 1, out.Rejected)
	require.InDelta(t, 0.5, out.TransformedShare, 0)
	doc, err := ledger.Neighbours.Read(context.Background(), s, out.Neighbours)
	require.NoError(t, err)
	require.Equal(t, "copy: mirrored it is 0 from image-d.png, nearer than", doc.Candidates[0].Reason[:52])
	require.Equal(t, "image-d.png", doc.Candidates[0].Transformed.Name)
}

// A real image that was inverted and made orange is a copy still, and the list
// says of which image.
func TestCheckOverfitRejectsCopiesInDisguise(t *testing.T) {
	s := storage.New(memory.New())
	dataset, tensors := smallSet(t, s, 10)
	orange := realImage(t, s, tensors, 3)
	for i, v := range orange {
		orange[i] = uint8(float64(255-v) * []float64{1, 0.8, 0.5}[i/(spec.Size*spec.Size)])
	}
	in := step.OverfitInput{Candidates: candidates(t, s, orange, boxes(8)), Dataset: dataset, Tensors: tensors, Overfit: tiny().Overfit}
	out, err := Checker{Store: s}.CheckOverfit(context.Background(), in)
	require.NoError(t, err)
	doc, err := ledger.Neighbours.Read(context.Background(), s, out.Neighbours)
	require.NoError(t, err)
	require.Equal(t, "image-d.png", doc.Candidates[0].Disguised.Name)
	require.Less(t, doc.Candidates[0].Disguised.Distance, doc.DisguisedRejectAt)
	require.False(t, doc.Candidates[0].Accepted)
	require.Empty(t, doc.Candidates[1].Reason)
}

func TestCheckOverfitSaysWhatIsInDisguise(t *testing.T) {
	o := &overfitCheck{pixels: boxes(8), names: []ledger.DatasetImage{{Name: "a.png"}, {Name: "b.png"}}}
	o.copies = quality.Copies{RejectAt: 0.1, TransformedRejectAt: 0.1, DisguisedRejectAt: 0.2,
		Nearest: [][]quality.Neighbour{{{Index: 0, Distance: 9}}}, Transformed: []quality.Transformed{{Index: 0, Distance: 9}},
		Disguised: []quality.Disguised{{Index: 1, Scale: 1, Distance: 0.21}}}
	require.Empty(t, o.reason(0, false, 0))
	o.copies.Disguised[0] = quality.Disguised{Index: 1, Scale: 0.9, Inverted: true, Distance: 0.125}
	require.Equal(t, "copy in disguise: inverted, scaled to 111% it has the contrasts of b.png (they correlate at 0.88, more than 0.80)",
		o.reason(0, false, 0))
	list := ledger.NeighbourList{RejectAt: 0.1, TransformedRejectAt: 0.1, DisguisedRejectAt: 0.2}
	check := ledger.CandidateCheck{
		Nearest:   []ledger.Neighbour{{Name: "a.png", Distance: 9}},
		Disguised: &ledger.TransformedNeighbour{Neighbour: ledger.Neighbour{Name: "b.png", Distance: 0.125}, How: "inverted"},
	}
	culprit, ok := list.Culprit(check)
	require.True(t, ok)
	require.Equal(t, "b.png", culprit.Name)
	found := match(check, list)
	require.True(t, found.Disguised)
	require.Equal(t, []string{"b.png", "inverted"}, []string{found.Name, found.Transform})
	check.Disguised.Distance = 0.3
	require.Nil(t, match(check, list))
}

func TestCheckOverfitAcceptsNothingWithoutAThreshold(t *testing.T) {
	o := &overfitCheck{pixels: boxes(8), names: []ledger.DatasetImage{{Name: "a.png"}}}
	o.copies = quality.Copies{RejectAt: 0.1, TransformedRejectAt: 0.1,
		Nearest: [][]quality.Neighbour{{{Index: 0, Distance: 9}}}, Transformed: []quality.Transformed{{Index: 0, Distance: 9}}}
	require.Empty(t, o.reason(0, false, 0))
	for _, at := range []*float64{&o.copies.RejectAt, &o.copies.TransformedRejectAt} {
		*at = math.NaN()
		require.NotEmpty(t, o.reason(0, false, 0))
		*at = 0
		require.Empty(t, o.reason(0, false, 0))
	}
	o.copies.Nearest[0][0].Distance = 0
	require.Contains(t, o.reason(0, false, 0), "copy: 0 from a.png", "an exact copy whatever the threshold")
}

func TestCheckOverfitIsFoundAgain(t *testing.T) {
	h := &hooked{Bucket: memory.New(), before: func(string, string) error { return nil }}
	s := storage.New(h)
	in, out, _ := judged(t, s)
	h.before = func(op, key string) error {
		if op == "put" || strings.HasSuffix(key, ".png") || strings.HasSuffix(key, ".safetensors") {
			return errors.New("not again")
		}
		return nil
	}
	again, err := Checker{Store: s}.CheckOverfit(context.Background(), in)
	require.NoError(t, err)
	require.True(t, again.Cached)
	again.Cached = false
	require.Equal(t, out, again)
	refreshed := in
	refreshed.Refresh = true
	_, err = Checker{Store: s}.CheckOverfit(context.Background(), refreshed)
	require.ErrorContains(t, err, "not again", "what is refreshed is not found")
	in.Overfit.RejectQuantile = 0.02
	_, err = Checker{Store: s}.CheckOverfit(context.Background(), in)
	require.ErrorContains(t, err, "not again")
}

func TestCheckOverfitRefusesWhatDoesNotBelongTogether(t *testing.T) {
	s := storage.New(memory.New())
	in, _, _ := judged(t, s)
	other, _ := smallSet(t, s, 7)
	lone, loneTensors := smallSet(t, s, 1)
	for name, tt := range map[string]struct {
		change func(*step.OverfitInput)
		kind   string
	}{
		"another data set": {func(in *step.OverfitInput) { in.Dataset = other }, step.ErrBadInput},
		"one real image":   {func(in *step.OverfitInput) { in.Dataset, in.Tensors = lone, loneTensors }, step.ErrTooFewImages},
		"no candidates":    {func(in *step.OverfitInput) { in.Candidates = candidates(t, s) }, step.ErrBadInput},
		"not a list":       {func(in *step.OverfitInput) { in.Candidates = in.Tensors }, step.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			bad := in
			tt.change(&bad)
			_, err := Checker{Store: s}.CheckOverfit(context.Background(), bad)
			var app *temporal.ApplicationError
			require.ErrorAs(t, typed(err), &app)
			require.Equal(t, tt.kind, app.Type(), app.Message())
		})
	}
}
