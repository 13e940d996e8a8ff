package ledger

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec/spectest"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/storagetest"
)

// Decisions of earlier releases are found by these keys, as the results of the
// stages are by those that package activities pins.
func TestKeysOfDecisions(t *testing.T) {
	plan := step.UtilityPlan{Others: []step.ClassSource{{Class: "pits"}}, Splits: 3, Seeds: 2, PerClass: 20, Steps: 100}
	key := decisionMemo("scratches", spectest.Classic(), spectest.EarlierPolicy("production"), nil).Key()
	require.Regexp(t, "^cache/decision/f13a6219dffcd7ba[0-9a-f]{48}[.]json$", key)
	key = decisionMemo("scratches", spectest.SmallData(), spectest.EarlierPolicy("useful"), &plan).Key()
	require.Regexp(t, "^cache/decision/b3fe0ecbcb4ef69b[0-9a-f]{48}[.]json$", key)
	require.Equal(t, "cache/decision/", DecisionFolder())
}

type result struct {
	Image step.Ref `json:"image"`
	Count int      `json:"count"`
}

func memo(inputs any) Memo[result] {
	return Memo[result]{Stage: "stage", Version: 1, Inputs: inputs, Refs: func(_ context.Context, _ *storage.Store, r result) ([]step.Ref, error) {
		return []step.Ref{r.Image}, nil
	}}
}

func TestMemoFindsWhatWasMade(t *testing.T) {
	ctx, s := t.Context(), storage.New(memory.New())
	image, err := s.PutArtifact(ctx, []byte("image"), ".png")
	require.NoError(t, err)
	made := 0
	produce := func() (result, error) { made++; return result{step.Ref(image), made}, nil }
	do := func(m Memo[result], refresh bool, count int, wantFound bool) {
		t.Helper()
		got, found, err := m.Do(ctx, s, refresh, produce)
		require.NoError(t, err)
		require.Equal(t, wantFound, found)
		require.Equal(t, count, got.Count)
	}
	do(memo("a"), false, 1, false)
	do(memo("a"), false, 1, true)
	do(memo("b"), false, 2, false)
	do(memo("a"), true, 3, false)
	do(memo("a"), false, 3, true)

	later := memo("a")
	later.Version = 2
	require.Regexp(t, "^cache/stage-2/", later.Key())
	do(later, false, 4, false)
	do(memo("a"), false, 3, true)

	require.NoError(t, s.Bucket().Delete(ctx, image.Key))
	_, found, err := memo("a").Look(ctx, s)
	require.NoError(t, err)
	require.False(t, found, "what it refers to has gone")
}

func TestMemoPassesFailuresOn(t *testing.T) {
	ctx, b := t.Context(), memory.New()
	s, broken := storage.New(b), errors.New("broken")
	_, found, err := memo("a").Do(ctx, s, false, func() (result, error) { return result{}, broken })
	require.ErrorIs(t, err, broken)
	require.False(t, found)
	require.NoError(t, memo("a").Remember(ctx, s, result{Count: 1}))
	down := storage.New(storagetest.NewFaulty(b, func(storagetest.Call) storagetest.Fault { return storagetest.Before }))
	_, found, err = memo("a").Look(ctx, down)
	require.ErrorIs(t, err, storagetest.ErrInjected)
	require.False(t, found)
	require.ErrorIs(t, memo("a").Update(ctx, down, func(r result) result { return r }), storagetest.ErrInjected)

	lasting, passing := memo("a"), memo("a")
	lasting.Refs = func(context.Context, *storage.Store, result) ([]step.Ref, error) { return nil, ErrFormat }
	_, found, err = lasting.Look(ctx, s)
	require.NoError(t, err, "it is made anew")
	require.False(t, found)
	passing.Refs = func(context.Context, *storage.Store, result) ([]step.Ref, error) { return nil, broken }
	_, _, err = passing.Look(ctx, s)
	require.ErrorIs(t, err, broken)
}

// What does not fit the type, or is damaged, counts as absent.
func TestMemoForgetsWhatItCannotRead(t *testing.T) {
	ctx, s := t.Context(), storage.New(memory.New())
	m := Memo[result]{Stage: "stage", Version: 1, Inputs: "a"}
	for name, raw := range map[string]string{
		"empty": "", "half": `{"count":`, "other type": `{"count":"four"}`, "list": "[]",
		"unknown field": `{"count":5,"more":1}`, "trailing": `{"count":5}{}`,
	} {
		_, err := s.PutNamed(ctx, m.Key(), []byte(raw))
		require.NoError(t, err)
		got, found, err := m.Look(ctx, s)
		require.NoError(t, err, name)
		require.False(t, found, name)
		require.Zero(t, got, name)
	}
	require.NoError(t, m.Update(ctx, s, func(r result) result { r.Count++; return r }))
	require.NoError(t, m.Update(ctx, s, func(r result) result { r.Count++; return r }))
	got, found, err := m.Look(ctx, s)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, 2, got.Count)
}
