package ledger

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
)

func TestDocumentsRoundTrip(t *testing.T) {
	ref := step.Ref{Key: "k", SHA256: "ab", Size: 3}

	dataset := Dataset{Header: Header{Datasets.Name}, Class: "c", Images: []DatasetImage{{Name: "a", Key: "p/a", SHA256: "aa", Size: 1,
		Width: 2, Height: 3, Encoding: "png", PHash: "00", Group: "aa", Split: SplitHoldout}},
		Quarantine: []Quarantined{{"x", "not an image"}}, Duplicates: []Duplicate{{"b", "a", DuplicateNear}}}
	raw, err := Datasets.Encode(dataset)
	require.NoError(t, err)
	gotDataset, err := Datasets.Decode(raw)
	require.NoError(t, err)
	require.Equal(t, dataset, gotDataset)

	index := TensorIndex{Header: Header{Tensors.Name}, Dataset: "d", Shape: []int{3, 128, 128},
		Shards: []Shard{{Ref: ref, Split: SplitTraining, Images: []string{"aa"}}}}
	raw, err = Tensors.Encode(index)
	require.NoError(t, err)
	gotIndex, err := Tensors.Decode(raw)
	require.NoError(t, err)
	require.Equal(t, index, gotIndex)

	candidates := CandidateList{Header: Header{Candidates.Name}, Checkpoint: "c", Seed: math.MaxUint64, Images: []Candidate{{1, ref}}}
	raw, err = Candidates.Encode(candidates)
	require.NoError(t, err)
	gotCandidates, err := Candidates.Decode(raw)
	require.NoError(t, err)
	require.Equal(t, candidates, gotCandidates)

	neighbours := NeighbourList{Header: Header{Neighbours.Name}, RejectAt: 0.1, TailAt: 1.0 / 3, RealNearest: []float64{2.5},
		Candidates: []CandidateCheck{{Index: 1, SHA256: "s", Reason: "copy", Nearest: []Neighbour{{"a", "aa", math.Pi, SplitTraining}}}}}
	raw, err = Neighbours.Encode(neighbours)
	require.NoError(t, err)
	gotNeighbours, err := Neighbours.Decode(raw)
	require.NoError(t, err)
	require.Equal(t, neighbours, gotNeighbours)

	one := []float32{0.1}
	curves := Curves{Header: Header{curvesFormat.Name}, StepsPerEpoch: 2, LossReal: one, LossFake: one, LossG: one, DReal: one, DFake: one, SignReal: one}
	raw, err = curves.Encode()
	require.NoError(t, err)
	gotCurves, err := DecodeCurves(raw)
	require.NoError(t, err)
	require.Equal(t, curves, gotCurves)
}

func TestDocumentsRefuse(t *testing.T) {
	good, err := Candidates.Encode(CandidateList{})
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
		_, err := Datasets.Decode([]byte(raw))
		require.ErrorIs(t, err, ErrFormat, name)
	}
	_, err = DecodeCurves([]byte(`{"format":"defectforge.curves/1","loss_g":[1]}`))
	require.ErrorIs(t, err, ErrFormat)
	_, err = Curves{LossG: []float32{float32(math.NaN())}}.Encode()
	require.Error(t, err)
}

// FuzzDecodeDataset: whatever is accepted survives a round trip.
func FuzzDecodeDataset(f *testing.F) {
	good, err := Datasets.Encode(Dataset{Class: "c", Images: []DatasetImage{{Name: "a"}}})
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`{"format":"defectforge.dataset/1","images":null}`))
	f.Add([]byte(`{"format":"defectforge.dataset/2"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc, err := Datasets.Decode(raw)
		if err != nil {
			require.ErrorIs(t, err, ErrFormat)
			return
		}
		again, err := Datasets.Encode(doc)
		require.NoError(t, err)
		back, err := Datasets.Decode(again)
		require.NoError(t, err)
		require.Equal(t, doc, back)
	})
}
