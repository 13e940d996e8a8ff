package activities

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/storagetest"
)

func lineageRecord(runID string) step.RecordRunInput {
	return step.RecordRunInput{
		Verdict: spec.Pass, Publish: step.PublishResult{Release: "0123456789abcdef", Prefix: "releases/pits/0123456789abcdef", ManifestSHA256: "m", Images: 7},
		Outcome: step.Outcome{
			Run: step.Run{WorkflowID: "w", RunID: runID}, Class: "pits", Source: step.Source{Bucket: "factory", Prefix: "pits"}, Recipe: tiny(),
			Ingest: step.IngestResult{Dataset: step.Ref{Key: "k", SHA256: "d1"}}, Train: step.TrainResult{Checkpoint: step.Ref{Key: "c", SHA256: "c1"}},
		},
	}
}

func TestRecordLinksBothWays(t *testing.T) {
	ctx := context.Background()
	s := storage.New(memory.New())
	for _, id := range []string{"1", "2", "2"} {
		_, err := Recorder{Store: s}.RecordRun(ctx, lineageRecord(id))
		require.NoError(t, err)
	}
	for _, thing := range []string{"pits/0123456789abcdef", "d1", "c1", spec.Digest(tiny())} {
		found, err := ledger.LinksOf(ctx, s, thing)
		require.NoError(t, err)
		require.Len(t, found, 2, thing)
		require.Equal(t, "runs/w/1/run.json", found[0].Record.Key)
		_, err = s.Read(ctx, storage.Object(found[0].Record), 1<<20)
		require.NoError(t, err, "the link leads to the record as it is")
	}
	none, err := ledger.LinksOf(ctx, s, "pits/ffff456789abcdef")
	require.NoError(t, err)
	require.Empty(t, none)
	// As for a release of a version that left no links.
	storagetest.DeleteAll(t, s.Bucket(), ledger.Links)
	old, err := ledger.RunsThatMade(ctx, s, "releases/pits/0123456789abcdef")
	require.NoError(t, err)
	require.Len(t, old, 2)
	require.Equal(t, "w", old[0].Run.WorkflowID)
}

// listener keeps what an endpoint is sent.
func listener(t *testing.T, status int) (Lineage, *[]map[string]any, *[]string) {
	t.Helper()
	events, keys := &[]map[string]any{}, &[]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		var e map[string]any
		_ = json.Unmarshal(raw, &e)
		*events, *keys = append(*events, e), append(*keys, r.Header.Get("Authorization"))
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	return Lineage{Endpoint: server.URL + "/api/v1/lineage", APIKey: "between-us", Namespace: "plant", Bucket: "forge"}, events, keys
}

func TestLineageEvents(t *testing.T) {
	const id = "01a20a4d-fc14-7f26-9b9d-bba06103b8ad"
	l, events, keys := listener(t, http.StatusCreated)
	s := storage.New(memory.New())
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	Register(env, Activities{Store: s, Lineage: l, Sources: func(context.Context, string) (storage.Reader, error) { return memory.New(), nil }}, step.IO)
	_, err := env.ExecuteActivity(string(step.Ingest), step.IngestInput{Class: "pits", Source: step.Source{Bucket: "factory", Prefix: "pits"}, Ingest: tiny().Ingest})
	require.ErrorContains(t, err, "no images")
	_, err = env.ExecuteActivity(string(step.RecordRun), lineageRecord(id))
	require.NoError(t, err)
	_, err = env.ExecuteActivity(string(step.Notify), step.NotifyInput{Notice: step.Notice{
		Kind: step.NoticeFailed, Run: step.Run{WorkflowID: "w", RunID: id}, Class: "pits", Failure: &step.NoticeFailure{Type: step.ErrTooFewImages, Message: "5 of 24"},
	}})
	require.NoError(t, err)

	require.Len(t, *events, 3)
	for i, kind := range []string{"START", "COMPLETE", "FAIL"} {
		e := (*events)[i]
		require.Equal(t, kind, e["eventType"])
		require.Equal(t, lineageSchema, e["schemaURL"])
		require.NotEmpty(t, e["producer"])
		require.NotEmpty(t, e["eventTime"])
		require.Equal(t, map[string]any{"namespace": "plant", "name": "augment.pits"}, e["job"])
		require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f-]{27}$`, e["run"].(map[string]any)["runId"])
		require.Equal(t, "Bearer between-us", (*keys)[i])
	}
	done := (*events)[1]
	require.Equal(t, id, done["run"].(map[string]any)["runId"])
	in, out := done["inputs"].([]any)[0].(map[string]any), done["outputs"].([]any)[0].(map[string]any)
	require.Equal(t, "s3://factory", in["namespace"])
	require.Equal(t, "pits/", in["name"])
	require.Equal(t, "d1", in["facets"].(map[string]any)["version"].(map[string]any)["datasetVersion"])
	require.Equal(t, "s3://forge", out["namespace"])
	require.Equal(t, "releases/pits/0123456789abcdef", out["name"])
	require.Equal(t, 7.0, out["outputFacets"].(map[string]any)["outputStatistics"].(map[string]any)["rowCount"])
	require.Contains(t, (*events)[2]["run"].(map[string]any)["facets"].(map[string]any)["errorMessage"].(map[string]any)["message"], "5 of 24")
}

func TestARunThatFoundNothingToDoIsComplete(t *testing.T) {
	l, events, _ := listener(t, http.StatusOK)
	h := newHistory(t)
	in := h.input(h.dataset(0, 3))
	in.MinNew = 9
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	Register(env, Activities{Store: h.s, Lineage: l}, step.IO)
	_, err := env.ExecuteActivity(string(step.CheckChange), in)
	require.NoError(t, err)
	require.Len(t, *events, 1)
	require.Equal(t, "COMPLETE", (*events)[0]["eventType"])
	require.Equal(t, step.Waiting, (*events)[0]["run"].(map[string]any)["facets"].(map[string]any)["defectforge"].(map[string]any)["verdict"])
}

// No run fails for an endpoint that does not answer as it should.
func TestLineageNeverFailsARun(t *testing.T) {
	broken, events, _ := listener(t, http.StatusInternalServerError)
	for _, l := range []Lineage{broken, {Endpoint: "http://127.0.0.1:1/none", Namespace: "n"}} {
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestActivityEnvironment()
		Register(env, Activities{Store: storage.New(memory.New()), Lineage: l}, step.IO)
		_, err := env.ExecuteActivity(string(step.RecordRun), lineageRecord("1"))
		require.NoError(t, err)
	}
	require.Len(t, *events, 1)
}
