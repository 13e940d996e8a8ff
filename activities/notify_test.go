package activities

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

func waitingNotice() step.NotifyInput {
	return step.NotifyInput{Notice: step.Notice{
		Kind: step.NoticeWaiting, Run: testRun, Class: "scratches", Verdict: spec.Pass, Report: "artifacts/sha256/ab/report.html",
		Deadline: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
	}}
}

func TestNotifyPostsASignedCloudEvent(t *testing.T) {
	var bodies [][]byte
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		bodies, header = append(bodies, raw), r.Header
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	n := Notifier{Webhook: Webhook{URL: server.URL + "/hook", Secret: "between us"}}
	for range 2 {
		out, err := do(t, step.Notify, n.Notify, waitingNotice())
		require.NoError(t, err)
		require.True(t, out.Sent)
	}
	require.Equal(t, "application/cloudevents+json; charset=utf-8", header.Get("Content-Type"))
	mac := hmac.New(sha256.New, []byte("between us"))
	mac.Write(bodies[1])
	require.Equal(t, "sha256="+hex.EncodeToString(mac.Sum(nil)), header.Get(SignatureHeader))

	var first, second struct {
		SpecVersion, ID, Type, Source, Subject, DataContentType string
		Time                                                    time.Time
		Data                                                    step.Notice
	}
	require.NoError(t, json.Unmarshal(bodies[0], &first))
	require.NoError(t, json.Unmarshal(bodies[1], &second))
	require.Equal(t, "1.0", first.SpecVersion)
	require.Equal(t, "io.defectforge.approval.waiting", first.Type)
	require.Equal(t, "/runs/augment-scratches/run-1/", first.Source)
	require.Equal(t, "augment-scratches", first.Subject)
	require.Equal(t, "application/json", first.DataContentType)
	require.Equal(t, waitingNotice().Notice, first.Data)
	require.Len(t, first.ID, 64)
	require.Equal(t, first.ID, second.ID, "a repetition is known by its identifier")
	require.NotContains(t, string(bodies[0]), "between us")
}

func TestNotifyWithoutAWebhookSaysSo(t *testing.T) {
	out, err := do(t, step.Notify, Notifier{}.Notify, waitingNotice())
	require.NoError(t, err)
	require.False(t, out.Sent)
}

func TestNotifyFailsWithoutTellingTheAddress(t *testing.T) {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		if strings.HasPrefix(r.URL.Path, "/away") {
			http.Redirect(w, r, "/hook", http.StatusTemporaryRedirect)
			return
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	address := strings.TrimPrefix(server.URL, "http://")
	for path, want := range map[string]string{"/s3cr3t-path": "418", "/away/s3cr3t-path": "307"} {
		calls = 0
		_, err := do(t, step.Notify, Notifier{Webhook: Webhook{URL: server.URL + path, Secret: "between us"}}.Notify, waitingNotice())
		require.ErrorContains(t, err, "call webhook at "+address+": it answered "+want)
		require.NotContains(t, err.Error(), "s3cr3t")
		require.Equal(t, 1, calls, "redirections are not followed")
	}
	server.Close()
	_, err := do(t, step.Notify, Notifier{Webhook: Webhook{URL: server.URL + "/s3cr3t-path", Secret: "between us"}}.Notify, waitingNotice())
	require.ErrorContains(t, err, "call webhook at "+address)
	require.NotContains(t, err.Error(), "s3cr3t")
	require.NotContains(t, err.Error(), "between us")
}

// A run's notices are distinguished by their identifiers, and those of its end hold
// nothing of the deadline.
func TestNoticesOfOneRunDiffer(t *testing.T) {
	ids := map[string]bool{}
	for _, kind := range []string{step.NoticeWaiting, step.NoticePublished, step.NoticeRejected, step.NoticeFailed} {
		n := step.Notice{Kind: kind, Run: testRun, Class: "scratches"}
		if kind == step.NoticeFailed {
			n.Failure = &step.NoticeFailure{Type: step.ErrTooFewImages, Message: "Ingest: 5 usable images"}
		}
		raw, err := cloudEvent(n, time.Now())
		require.NoError(t, err)
		var e struct {
			ID, Type string
			Data     map[string]any
		}
		require.NoError(t, json.Unmarshal(raw, &e))
		require.Equal(t, "io.defectforge."+kind, e.Type)
		require.False(t, ids[e.ID], kind)
		ids[e.ID] = true
		require.NotContains(t, e.Data, "deadline")
		require.NotContains(t, e.Data, "reasons")
		require.Equal(t, kind == step.NoticeFailed, e.Data["failure"] != nil)
	}
}
