package activities

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
)

func TestDocumentsRoundTrip(t *testing.T) {
	ref := step.Ref{Key: "k", SHA256: "ab", Size: 3}

	dataset := Dataset{Format: formatDataset, Class: "c", Images: []DatasetImage{{Name: "a", Key: "p/a", SHA256: "aa", Size: 1,
		Width: 2, Height: 3, Encoding: "png", PHash: "00", Group: "aa", Split: SplitHoldout}},
		Quarantine: []Quarantined{{"x", "not an image"}}, Duplicates: []Duplicate{{"b", "a", DuplicateNear}}}
	raw, err := dataset.Encode()
	require.NoError(t, err)
	gotDataset, err := DecodeDataset(raw)
	require.NoError(t, err)
	require.Equal(t, dataset, gotDataset)

	index := TensorIndex{Format: formatTensorIndex, Dataset: "d", Shape: []int{3, 128, 128},
		Shards: []Shard{{Ref: ref, Split: SplitTraining, Images: []string{"aa"}}}}
	raw, err = index.Encode()
	require.NoError(t, err)
	gotIndex, err := DecodeTensorIndex(raw)
	require.NoError(t, err)
	require.Equal(t, index, gotIndex)

	candidates := CandidateList{Format: formatCandidateList, Checkpoint: "c", Seed: math.MaxUint64, Images: []Candidate{{1, ref}}}
	raw, err = candidates.Encode()
	require.NoError(t, err)
	gotCandidates, err := DecodeCandidateList(raw)
	require.NoError(t, err)
	require.Equal(t, candidates, gotCandidates)

	neighbours := NeighbourList{Format: formatNeighbourList, RejectAt: 0.1, TailAt: 1.0 / 3, RealNearest: []float64{2.5},
		Candidates: []CandidateCheck{{Index: 1, SHA256: "s", Reason: "copy", Nearest: []Neighbour{{"a", "aa", math.Pi, SplitTraining}}}}}
	raw, err = neighbours.Encode()
	require.NoError(t, err)
	gotNeighbours, err := DecodeNeighbourList(raw)
	require.NoError(t, err)
	require.Equal(t, neighbours, gotNeighbours)

	one := []float32{0.1}
	curves := Curves{Format: formatCurves, StepsPerEpoch: 2, LossReal: one, LossFake: one, LossG: one, DReal: one, DFake: one, SignReal: one}
	raw, err = curves.Encode()
	require.NoError(t, err)
	gotCurves, err := DecodeCurves(raw)
	require.NoError(t, err)
	require.Equal(t, curves, gotCurves)
}

func TestDocumentsRefuse(t *testing.T) {
	good, err := CandidateList{}.Encode()
	require.NoError(t, err)
	for name, raw := range map[string]string{
		"other kind":    string(good),
		"later version": `{"format":"defectforge.dataset/2"}`,
		"no format":     `{}`,
		"unknown field": `{"format":"defectforge.dataset/1","colour":1}`,
		"trailing":      `{"format":"defectforge.dataset/1"}{}`,
		"not JSON":      `images`,
		"empty":         ``,
	} {
		_, err := DecodeDataset([]byte(raw))
		require.ErrorIs(t, err, ErrFormat, name)
	}
	_, err = DecodeCurves([]byte(`{"format":"defectforge.curves/1","loss_g":[1]}`))
	require.ErrorIs(t, err, ErrFormat)
	_, err = Curves{LossG: []float32{float32(math.NaN())}}.Encode()
	require.Error(t, err)
}

// FuzzDecodeDataset: whatever is accepted survives a round trip.
func FuzzDecodeDataset(f *testing.F) {
	good, err := Dataset{Class: "c", Images: []DatasetImage{{Name: "a"}}}.Encode()
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`{"format":"defectforge.dataset/1","images":null}`))
	f.Add([]byte(`{"format":"defectforge.dataset/2"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc, err := DecodeDataset(raw)
		if err != nil {
			require.ErrorIs(t, err, ErrFormat)
			return
		}
		again, err := doc.Encode()
		require.NoError(t, err)
		back, err := DecodeDataset(again)
		require.NoError(t, err)
		require.Equal(t, doc, back)
	})
}
