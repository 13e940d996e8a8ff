package workflows

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
)

// statement is one of a bucket's policy.
type statement struct {
	Effect           string
	Action, Resource list
}

// list is a JSON string or a list of them.
type list []string

func (l *list) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*l = list{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(l))
}

// policed is a bucket by a credential that a policy of deploy/policies binds.
type policed struct {
	storage.Bucket
	name  string
	rules []statement
	mu    *sync.Mutex
	did   map[string]int // by action and the first part of the key
}

func newPoliced(t *testing.T, b storage.Bucket, name string) policed {
	t.Helper()
	raw, err := os.ReadFile("../deploy/policies/" + name + ".json")
	require.NoError(t, err)
	var doc struct{ Statement []statement }
	require.NoError(t, json.Unmarshal(raw, &doc))
	require.NotEmpty(t, doc.Statement)
	return policed{b, name, doc.Statement, &sync.Mutex{}, map[string]int{}}
}

// may is what a store decides: a denial wins, and without permission nothing goes.
func (p policed) may(action, key string) error {
	allowed := false
	for _, s := range p.rules {
		for _, a := range s.Action {
			for _, r := range s.Resource {
				if a != "s3:"+action || !matches(r, strings.TrimSuffix("arn:aws:s3:::defectforge/"+key, "/")) {
					continue
				}
				if s.Effect == "Deny" {
					return fmt.Errorf("access denied: %s may not %s %q", p.name, action, key)
				}
				allowed = true
			}
		}
	}
	if !allowed {
		return fmt.Errorf("access denied: %s may not %s %q", p.name, action, key)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.did[action+" "+strings.SplitN(key, "/", 2)[0]]++
	return nil
}

func matches(pattern, resource string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(resource, prefix)
	}
	ok, _ := path.Match(pattern, resource)
	return ok
}

func (p policed) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, sha256 string, c storage.Condition) (storage.Info, error) {
	if err := p.may("PutObject", key); err != nil {
		return storage.Info{}, err
	}
	return p.Bucket.Put(ctx, key, body, size, sha256, c)
}

func (p policed) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	if err := p.may("GetObject", key); err != nil {
		return nil, storage.Info{}, err
	}
	return p.Bucket.Get(ctx, key)
}

func (p policed) Stat(ctx context.Context, key string) (storage.Info, error) {
	if err := p.may("GetObject", key); err != nil {
		return storage.Info{}, err
	}
	return p.Bucket.Stat(ctx, key)
}

func (p policed) Delete(ctx context.Context, key string) error {
	if err := p.may("DeleteObject", key); err != nil {
		return err
	}
	return p.Bucket.Delete(ctx, key)
}

// policedPipeline runs everything with two credentials.
func policedPipeline(t *testing.T, trainer, publisher storage.Bucket, in AugmentInput) (AugmentResult, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	Register(env)
	a := actual(trainer)
	a.Releases = publisher
	activities.Register(env, a, step.All)
	env.ExecuteWorkflow(AugmentName, in)
	require.True(t, env.IsWorkflowCompleted())
	var out AugmentResult
	if err := env.GetWorkflowError(); err != nil {
		return out, err
	}
	return out, env.GetWorkflowResult(&out)
}

// With the policies of deploy/policies, the credential that trains writes nothing
// below releases/, the one that publishes nothing elsewhere, and a run still ends
// with a release.
func TestOnlyThePublisherWritesReleases(t *testing.T) {
	if testing.Short() {
		t.Skip("trains; skipped in short mode")
	}
	b := memory.New()
	in := tinyInput(t, b, "many", 110)
	trainer, publisher := newPoliced(t, b, "trainer"), newPoliced(t, b, "publisher")
	out, err := policedPipeline(t, trainer, publisher, in)
	require.NoError(t, err)
	report, err := release.Verify(context.Background(), b, "scratches", out.Release)
	require.NoError(t, err)
	require.True(t, report.OK, report.Problems)
	require.NotZero(t, publisher.did["PutObject releases"])
	require.NotZero(t, trainer.did["PutObject artifacts"])
	for did := range publisher.did {
		require.Contains(t, []string{"PutObject releases", "GetObject releases", "GetObject artifacts"}, did)
	}
	require.NotContains(t, trainer.did, "PutObject releases")
	require.NotContains(t, trainer.did, "DeleteObject releases")
	_, err = trainer.Put(context.Background(), "releases/scratches/x", strings.NewReader(""), 0, "", storage.Condition{})
	require.ErrorContains(t, err, "access denied")
	require.ErrorContains(t, trainer.Delete(context.Background(), "releases/scratches/latest.json"), "access denied")
	require.ErrorContains(t, publisher.Delete(context.Background(), "releases/scratches/latest.json"), "access denied")
}
