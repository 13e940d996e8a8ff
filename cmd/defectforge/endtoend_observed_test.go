//go:build !nodevstack && !windows

package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"google.golang.org/protobuf/proto"

	"github.com/defectforge/defectforge/activities/observe"
	"github.com/defectforge/defectforge/storage/instrumented"
)

// metricsList is what rules and dashboards are held against.
const metricsList = "../../deploy/prometheus/metrics.txt"

// updateVariable makes the test write the list's lines of our own metrics anew.
const updateVariable = "DEFECTFORGE_TEST_UPDATE_METRICS"

// spans is a collector of traces.
type spans struct {
	mu  sync.Mutex
	all []*tracepb.Span
	raw bytes.Buffer
}

func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	var request collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(raw, &request) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw.Write(raw)
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			s.all = append(s.all, scope.GetSpans()...)
		}
	}
}

// worker is `up` in the background, with what it says of itself.
func (b *bench) worker(data string, more ...string) (p *child, metrics string) {
	b.t.Helper()
	p = b.start(append([]string{"up", "--data-dir", data, "--metrics-listen", "127.0.0.1:0",
		"--log-level", "info", "--log-format", "json"}, more...)...)
	p.seen(`(?m)^metrics +http://[0-9.:]+/metrics`)
	for deadline := time.Now().Add(patience); !strings.Contains(p.stdout.String(), "Ctrl-C"); {
		require.True(b.t, p.running() && time.Now().Before(deadline), p.stderr.String())
		time.Sleep(20 * time.Millisecond)
	}
	return p, regexp.MustCompile(`(?m)^metrics +(http://[0-9.:]+)/metrics`).FindStringSubmatch(p.stderr.String())[1]
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, string(body))
	return string(body)
}

// A run leaves metrics, one trace from its workflow to the store, and log lines
// that say whose they are. What deploy/ tells Prometheus and Grafana of metrics
// is held against deploy/prometheus/metrics.txt, and that against this run.
func TestEndToEndObserved(t *testing.T) {
	list, err := filepath.Abs(metricsList)
	require.NoError(t, err)
	update := os.Getenv(updateVariable) != "" // before the bench clears the environment
	b := wholeBench(t)
	var traces spans
	server := httptest.NewServer(&traces)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	data := filepath.Join(t.TempDir(), "data")
	up, address := b.worker(data)
	assert.Equal(t, "temporal: ok\nstore: ok\n", get(t, address+"/readyz"))
	assert.Equal(t, "ok\n", get(t, address+"/healthz"))

	// With a selection split every stage of training has its turn.
	made := b.published(b.do(b.runArgs(data, "--set", "train.epochs=4", "--set", "train.leg_epochs=2", "--set", "ingest.selection_share=0.1", "--policy",
		writeFile(t, filepath.Join(t.TempDir(), "lax.yaml"), "rules:\n- {measure: accepted_images, min: 1}\n"))...))
	scraped := get(t, address+"/metrics")
	require.NoError(t, up.cmd.Process.Signal(syscall.SIGTERM))
	require.Equal(t, console.ExitOK, up.wait().status)

	exported(t, scraped, list, update)
	oneTrace(t, &traces, made.WorkflowID)
	logged(t, up.stderr.String(), made.WorkflowID)
	keys, err := os.ReadFile(filepath.Join(data, "credentials.json"))
	require.NoError(t, err)
	var secrets map[string]string
	require.NoError(t, json.Unmarshal(keys, &secrets))
	require.NotEmpty(t, secrets["secret_key"])
	for _, key := range []string{"access_key", "secret_key"} {
		assert.NotContains(t, scraped+up.stderr.String()+traces.raw.String(), secrets[key])
	}
	assert.Contains(t, scraped, fmt.Sprintf("\ndefectforge_published_images_total %d\n", made.ImagesPublished))
	assert.Contains(t, scraped, "\ndefectforge_training_epochs_total 4\n")
	assert.Contains(t, scraped, `defectforge_images_total{outcome="quarantined"} 3`)
}

// exported compares a scrape with the list.
func exported(t *testing.T, scraped, path string, update bool) {
	t.Helper()
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(strings.NewReader(scraped))
	require.NoError(t, err)
	got := map[string]string{}
	for name, f := range families {
		got[name] = describeFamily(f)
	}
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	listed := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if !strings.HasPrefix(line, "#") {
			name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			listed[name] = rest
		}
	}
	ours := func(name string) bool { return strings.HasPrefix(name, "defectforge_") }
	if update {
		var out bytes.Buffer
		for line := range strings.Lines(string(raw)) {
			if strings.HasPrefix(line, "#") {
				out.WriteString(line)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(got)) {
			if _, wanted := listed[name]; wanted || ours(name) {
				fmt.Fprintln(&out, strings.TrimSpace(name+" "+got[name]))
			}
		}
		require.NoError(t, os.WriteFile(path, out.Bytes(), 0o644))
		return
	}
	for name, how := range got {
		if ours(name) {
			assert.Equal(t, how, listed[name], "%s lists another %s; write it anew with %s=1", metricsList, name, updateVariable)
		}
	}
	for name, how := range listed {
		assert.Equal(t, how, got[name], "%s lists %s, which a run does not leave like that", metricsList, name)
	}
}

// describeFamily is a metric's line in the list: its type, and its labels with
// their values where those are known.
func describeFamily(f *dto.MetricFamily) string {
	known := observe.NewMetrics(prometheus.NewRegistry()).Values()
	maps.Copy(known, instrumented.Values())
	seen := map[string]bool{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			word := l.GetName()
			if values := known[f.GetName()][word]; len(values) > 0 {
				// Other workflows have stages of their own.
				if word != "stage" && !slices.Contains(values, l.GetValue()) {
					return fmt.Sprintf("has %s=%q, which is not among %v", word, l.GetValue(), values)
				}
				word += "=" + strings.Join(slices.Sorted(slices.Values(values)), "|")
			}
			seen[word] = true
		}
	}
	words := append([]string{strings.ToLower(f.GetType().String())}, slices.Sorted(maps.Keys(seen))...)
	return strings.Join(words, " ")
}

// oneTrace wants a call of the store to hang below a stage, below the workflow.
func oneTrace(t *testing.T, traces *spans, workflow string) {
	t.Helper()
	traces.mu.Lock()
	defer traces.mu.Unlock()
	byID := map[string]*tracepb.Span{}
	for _, s := range traces.all {
		byID[hex.EncodeToString(s.GetSpanId())] = s
	}
	deep := map[string]bool{}
	for _, s := range traces.all {
		var path []string
		for at := s; at != nil; at = byID[hex.EncodeToString(at.GetParentSpanId())] {
			path = append(path, at.GetName())
		}
		slices.Reverse(path)
		deep[strings.Join(path, " > ")] = true
		for _, a := range s.GetAttributes() {
			assert.Regexp(t, `^(defectforge\.|temporal[A-Z])`, a.GetKey())
		}
	}
	whole := "StartWorkflow:AugmentDefectClass > RunWorkflow:AugmentDefectClass > StartActivity:Train > RunActivity:Train > store put"
	assert.True(t, deep[whole], "no %s for %s in %v", whole, workflow, slices.Sorted(maps.Keys(deep)))
}

// logged wants every line of a stage to say whose it is.
func logged(t *testing.T, stderr, workflow string) {
	t.Helper()
	stages := map[string]int{}
	for text := range strings.Lines(stderr) {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) != nil || line["stage"] == nil || line["component"] != nil {
			continue // not of a stage, or the SDK's
		}
		assert.Equal(t, workflow, line["workflow_id"], text)
		assert.Equal(t, "metal", line["class"], text)
		for _, field := range []string{"run_id", "attempt", "trace_id"} {
			assert.NotEmpty(t, line[field], text)
		}
		stages[line["stage"].(string)]++
	}
	for _, stage := range []string{"Ingest", "Preprocess", "Train", "Evaluate", "Choose", "Sample", "CheckOverfit", "Assess", "Report", "Publish", "RecordRun"} {
		assert.GreaterOrEqual(t, stages[stage], 2, "a start and an end of %s", stage)
	}
}

// A worker that is a version of a deployment serves runs once that version is
// the current one.
func TestEndToEndVersionedWorker(t *testing.T) {
	b := wholeBench(t)
	data := filepath.Join(t.TempDir(), "data")
	up, _ := b.worker(data, "--worker-deployment", "press-7", "--worker-build-id", "build-1")
	up.seen(`--deployment-name press-7 --build-id build-1`)
	run := b.start(b.runArgs(data, "--set", "train.epochs=2")...)
	run.seen(`(?m)^run augment-metal-`)
	stack := regexp.MustCompile(`(?m)^Temporal +([0-9.:]+),`).FindStringSubmatch(up.stdout.String())
	require.NotNil(t, stack)
	c, err := client.Dial(client.Options{HostPort: stack[1], Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	require.NoError(t, err)
	defer c.Close()
	assert.NotContains(t, up.stderr.String(), "stage starts", "a version that is not current serves nothing")
	setCurrentVersion(t, c, "press-7", "build-1")
	made := b.published(run.wait())
	described, err := c.DescribeWorkflowExecution(t.Context(), made.WorkflowID, made.RunID)
	require.NoError(t, err)
	version := described.GetWorkflowExecutionInfo().GetVersioningInfo().GetDeploymentVersion()
	assert.Equal(t, "press-7", version.GetDeploymentName())
	assert.Equal(t, "build-1", version.GetBuildId())
	assert.NotContains(t, up.stderr.String(), `"stage fails`)
	require.NoError(t, up.cmd.Process.Signal(syscall.SIGTERM))
	require.Equal(t, console.ExitOK, up.wait().status)
}

// setCurrentVersion does what `temporal worker deployment set-current-version`
// does, as soon as the worker is known.
func setCurrentVersion(t *testing.T, c client.Client, deployment, build string) {
	t.Helper()
	h := c.WorkerDeploymentClient().GetHandle(deployment)
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		_, err = h.SetCurrentVersion(t.Context(), client.WorkerDeploymentSetCurrentVersionOptions{BuildID: build})
		if err == nil {
			return
		}
	}
	require.NoError(t, err)
}
