package ledger

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

func record(workflow, run string) step.RecordRunInput {
	return step.RecordRunInput{Verdict: spec.Pass, Outcome: step.Outcome{
		Run: step.Run{WorkflowID: workflow, RunID: run}, Class: "pits", Recipe: spec.Classic(), Ingest: step.IngestResult{Usable: 30},
	}}
}

func TestRecordsAreReadBack(t *testing.T) {
	ctx, s := t.Context(), storage.New(memory.New())
	want := record("w/1", "r")
	ref, err := WriteRun(ctx, s, want)
	require.NoError(t, err)
	require.Equal(t, "runs/w%2F1/r/run.json", ref.Key)
	got, err := ReadRun(ctx, s, ref)
	require.NoError(t, err)
	require.Equal(t, want, got)
	of, err := RunOf(ctx, s, want.Outcome.Run)
	require.NoError(t, err)
	require.Equal(t, want, of.RecordRunInput)
	require.Equal(t, ref, of.Ref)
	_, err = RunOf(ctx, s, step.Run{WorkflowID: "w", RunID: "none"})
	require.ErrorIs(t, err, storage.ErrNotFound)

	later := record("w/1", "s")
	_, err = WriteRun(ctx, s, later)
	require.NoError(t, err)
	latest, err := LatestRun(ctx, s, "w/1")
	require.NoError(t, err)
	require.Equal(t, later, latest.RecordRunInput)
	_, err = LatestRun(ctx, s, "w")
	require.ErrorIs(t, err, storage.ErrNotFound)
}

func TestRecordsThatAreNone(t *testing.T) {
	ctx, s := t.Context(), storage.New(memory.New())
	good, err := runFormat.EncodeIndented(runDocument{RecordRunInput: record("w", "r")})
	require.NoError(t, err)
	for name, raw := range map[string]string{
		"other format":  strings.Replace(string(good), "run/1", "run/2", 1),
		"no format":     `{"verdict":"pass"}`,
		"unknown field": strings.Replace(string(good), `"verdict"`, `"colour": 1, "verdict"`, 1),
		"truncated":     string(good[:len(good)/2]),
		"trailing":      string(good) + "{}",
	} {
		obj, err := s.PutNamed(ctx, "runs/w/r/run.json", []byte(raw))
		require.NoError(t, err)
		_, err = ReadRun(ctx, s, step.Ref(obj))
		require.ErrorIs(t, err, ErrFormat, name)
		_, err = LatestRun(ctx, s, "w")
		require.ErrorIs(t, err, ErrFormat, name)
		for r, err := range AllRuns(ctx, s, nil) {
			require.NoError(t, err, name)
			require.ErrorIs(t, r.Unreadable, ErrFormat, name)
			require.Equal(t, raw, string(r.Raw), name)
		}
	}
	huge := step.Ref{Key: "runs/w/r/run.json", SHA256: strings.Repeat("0", 64), Size: runFormat.Limit + 1}
	_, err = ReadRun(ctx, s, huge)
	require.ErrorIs(t, err, storage.ErrTooLarge)
}

// What any released version recorded is read, fields that are no more among it.
func TestRecordsOfEarlierVersions(t *testing.T) {
	histories, err := filepath.Glob("../../workflows/testdata/histories/augment-*.json")
	require.NoError(t, err)
	read := 0
	for _, path := range histories {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		var history struct {
			Events []struct {
				Scheduled struct {
					Type  struct{ Name string } `json:"activityType"`
					Input struct {
						Payloads []struct{ Data string } `json:"payloads"`
					} `json:"input"`
				} `json:"activityTaskScheduledEventAttributes"`
			} `json:"events"`
		}
		require.NoError(t, json.Unmarshal(raw, &history))
		for _, e := range history.Events {
			if e.Scheduled.Type.Name != step.RecordRun.String() {
				continue
			}
			data, err := base64.StdEncoding.DecodeString(e.Scheduled.Input.Payloads[0].Data)
			require.NoError(t, err)
			run, err := DecodeRun([]byte(`{"format":"defectforge.run/1",` + strings.TrimPrefix(string(data), "{")))
			require.NoError(t, err, path)
			require.Equal(t, "scratches", run.Outcome.Class, path)
			read++
		}
	}
	require.Greater(t, read, 10)
}

func TestJoinRefusesWhatDoesNotBelongTogether(t *testing.T) {
	image := func(digest string) step.Ref { return step.Ref{Key: "k", SHA256: digest, Size: 1} }
	list := CandidateList{Checkpoint: "c", Seed: 7, Images: []Candidate{{0, image("a")}, {3, image("b")}}}
	checks := func(c ...CandidateCheck) NeighbourList { return NeighbourList{Candidates: c} }
	a, b := CandidateCheck{Index: 0, SHA256: "a"}, CandidateCheck{Index: 3, SHA256: "b", Accepted: true}
	set, err := Join(list, checks(a, b))
	require.NoError(t, err)
	require.Equal(t, []CheckedCandidate{{list.Images[1], b}}, set.Accepted())
	require.Len(t, set.Candidates, 2)
	require.Equal(t, uint64(7), set.Seed)
	for name, bad := range map[string]NeighbourList{
		"too few": checks(a), "too many": checks(a, b, b), "another order": checks(b, a),
		"another image": checks(a, CandidateCheck{Index: 3, SHA256: "x"}), "another index": checks(a, CandidateCheck{Index: 4, SHA256: "b"}),
	} {
		_, err := Join(list, bad)
		require.ErrorContains(t, err, step.ErrBadInput, name)
	}
}

// Each area that a clean-up sweeps has an owner that names it.
func TestSweptAreasAreTheLedgers(t *testing.T) {
	for _, area := range step.SweepAreas() {
		owned := area == "releases/" || strings.HasPrefix(area, storage.ArtifactPrefix) || area == Cache || area == CleanUps || area == Runs
		require.True(t, owned, area)
	}
}
