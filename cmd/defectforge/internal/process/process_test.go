package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/config"
)

// isolate keeps the machine's own configuration out of a test.
func isolate(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "TEMPORAL_") || strings.HasPrefix(name, "DEFECTFORGE_") {
			t.Setenv(name, "") // so that it is restored
			require.NoError(t, os.Unsetenv(name))
		}
	}
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "AppData", "LocalAppData"} {
		t.Setenv(name, t.TempDir())
	}
	t.Chdir(t.TempDir())
}

// configured is a process with the defaults and what the environment says.
func configured(t *testing.T) (*Process, *bytes.Buffer) {
	t.Helper()
	isolate(t)
	var stderr bytes.Buffer
	cfg, err := config.Load(nil)
	require.NoError(t, err)
	p := New(console.New(io.Discard, &stderr), cfg.Config)
	t.Cleanup(p.Close)
	return p, &stderr
}

// The SDK's lines and ours have the same names for the same things.
func TestOneNameForEachThing(t *testing.T) {
	p, stderr := configured(t)
	p.cfg.Log.Format = "json"
	p = New(p.console, p.cfg)
	p.temporalLogger().Error("Activity error.", "WorkflowID", "w", "RunID", "r", "ActivityType", "Train", "Attempt", 2)
	var line map[string]any
	require.NoError(t, json.Unmarshal(stderr.Bytes(), &line))
	for name, want := range map[string]any{"workflow_id": "w", "run_id": "r", "stage": "Train", "attempt": 2.0, "component": "temporal"} {
		assert.Equal(t, want, line[name], name)
	}
	assert.NotContains(t, line, "WorkflowID")
}

// An endpoint whose checks are made up.
func newEndpoint(found *atomic.Pointer[error], asked *atomic.Int32, log *slog.Logger) *endpoint {
	check := func(context.Context) error {
		asked.Add(1)
		if err := found.Load(); err != nil {
			return *err
		}
		return nil
	}
	return &endpoint{ready: &readiness{checks: []readinessCheck{{"store", check}}, fail: func(name string, err error) {
		log.Warn("not ready", "check", name, "error", err)
	}}}
}

func (e *endpoint) asked() (int, string) {
	w := httptest.NewRecorder()
	e.readyz(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Code, w.Body.String()
}

func TestReadiness(t *testing.T) {
	var found atomic.Pointer[error]
	var asked atomic.Int32
	var log bytes.Buffer
	e := newEndpoint(&found, &asked, slog.New(slog.NewTextHandler(&log, nil)))
	code, body := e.asked()
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, "store: ok\n", body)

	broken := errors.New("connect to 10.0.0.1 as hunter2: refused")
	found.Store(&broken)
	code, _ = e.asked()
	assert.Equal(t, http.StatusOK, code, "findings are kept for a moment")
	assert.EqualValues(t, 1, asked.Load())
	e.ready.found = nil
	code, body = e.asked()
	assert.Equal(t, http.StatusServiceUnavailable, code)
	assert.NotContains(t, body, "hunter2", "anybody may ask")
	assert.Contains(t, log.String(), "refused")

	found.Store(nil)
	e.ready.found = nil
	code, _ = e.asked()
	assert.Equal(t, http.StatusOK, code)
	e.drain()
	code, body = e.asked()
	assert.Equal(t, http.StatusServiceUnavailable, code)
	assert.Contains(t, body, "draining")

	var none *endpoint // nothing is served
	assert.Empty(t, none.url())
	none.drain()
	none.close()
}

func TestMetricsAddressInUse(t *testing.T) {
	p, stderr := configured(t)
	p.cfg.Metrics.Listen = "127.0.0.1:0"
	e, err := p.serveMetrics(t.Context(), p.Unconnected(config.Place{}))
	require.NoError(t, err)
	defer e.close()
	assert.Contains(t, stderr.String(), "http://"+e.address+"/metrics")
	response, err := http.Get("http://" + e.address + "/healthz")
	require.NoError(t, err)
	response.Body.Close()
	assert.Equal(t, http.StatusOK, response.StatusCode)

	p.cfg.Metrics.Listen = e.address
	_, err = p.serveMetrics(t.Context(), p.Unconnected(config.Place{}))
	require.Error(t, err)
	assert.Equal(t, console.ExitUsage, console.StatusOf(err))
	assert.Contains(t, err.Error(), "metrics.listen: ")

	(&Workers{endpoint: e}).Stop()
	code, _ := e.asked()
	assert.Equal(t, http.StatusServiceUnavailable, code, "whose workers stop is not ready")
	_, err = http.Get("http://" + e.address + "/healthz")
	assert.Error(t, err, "and then gone")
}

// crowd is training workers of one machine with eight processors.
func crowd(t *testing.T, n, want int) (workers []*cores, threads []*int) {
	dir := t.TempDir()
	for range n {
		set := new(int)
		c := newCores(want, slog.New(slog.DiscardHandler))
		c.dir, c.all, c.set = dir, 8, func(n int) { *set = n }
		workers, threads = append(workers, c), append(threads, set)
	}
	return workers, threads
}

func TestTrainingsShareProcessors(t *testing.T) {
	w, threads := crowd(t, 3, 8)
	w[0].enter()
	assert.Equal(t, 8, *threads[0])
	w[1].enter()
	assert.Equal(t, 4, *threads[1])
	w[2].enter()
	assert.Equal(t, 2, *threads[2], "8 among 3")
	w[0].enter() // a second stage of the same process
	assert.Equal(t, 8, *threads[0], "a stage under way keeps what it has")
	w[0].leave()
	w[0].leave()
	w[0].enter()
	assert.Equal(t, 2, *threads[0])
	w[1].leave()
	w[2].leave()
	w[0].leave()
	w[0].enter()
	assert.Equal(t, 8, *threads[0], "the others have gone")

	w, threads = crowd(t, 2, 3)
	w[0].enter()
	w[1].enter()
	assert.Equal(t, 3, *threads[1], "there is enough for both")
}

func TestTrainingsNeverLackAProcessor(t *testing.T) {
	w, threads := crowd(t, 12, 8)
	var group sync.WaitGroup
	for _, c := range w {
		group.Go(c.enter)
	}
	group.Wait()
	sum := 0
	for _, n := range threads {
		assert.GreaterOrEqual(t, *n, 1)
		sum += *n
	}
	w[0].leave()
	w[0].enter()
	assert.Equal(t, 1, *threads[0])
	t.Log("threads of all", sum)

	blocked, got := crowd(t, 1, 5)
	blocked[0].dir = "/dev/null/no-folder"
	blocked[0].enter()
	assert.Equal(t, 5, *got[0], "without locks every worker takes what it may")
	blocked[0].leave()
}

func TestThreadsAreAtMostTheProcessors(t *testing.T) {
	p, _ := configured(t)
	all := runtime.GOMAXPROCS(0)
	assert.Equal(t, all, p.Threads())
	p.cfg.Worker.Threads = 1
	assert.Equal(t, 1, p.Threads())
	p.cfg.Worker.Threads = all + 5
	assert.Equal(t, all, p.Threads())
}

func TestDeploymentVersion(t *testing.T) {
	p, stderr := configured(t)
	none, err := p.deployment()
	require.NoError(t, err)
	assert.False(t, none.UseVersioning)

	p.cfg.Worker.Deployment, p.cfg.Worker.BuildID = "press-7", "2026.11"
	got, err := p.deployment()
	require.NoError(t, err)
	assert.True(t, got.UseVersioning)
	assert.Equal(t, "press-7", got.Version.DeploymentName)
	assert.Equal(t, "2026.11", got.Version.BuildID)
	assert.Equal(t, workflow.VersioningBehaviorAutoUpgrade, got.DefaultVersioningBehavior)
	assert.Contains(t, stderr.String(), "--deployment-name press-7 --build-id 2026.11")
	p.cfg.Worker.Versioning = config.VersioningPinned
	got, err = p.deployment()
	require.NoError(t, err)
	assert.Equal(t, workflow.VersioningBehaviorPinned, got.DefaultVersioningBehavior)

	p.cfg.Worker.BuildID = "" // a test's binary states no revision
	_, err = p.deployment()
	require.Error(t, err)
	assert.Equal(t, console.ExitUsage, console.StatusOf(err))

	assert.Equal(t, "0123456789ab", buildOf(Version{Revision: "0123456789abcdef"}))
	assert.Empty(t, buildOf(Version{Revision: "0123456789abcdef", Modified: true}), "two of them would have one name")
}

// Traces are sent where the usual variables say, with the usual headers, and
// nowhere without.
func TestTracesGoWhereTheEnvironmentSays(t *testing.T) {
	isolate(t)
	var mu sync.Mutex
	var paths []string
	var body bytes.Buffer
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		paths = append(paths, r.URL.Path+" "+r.Header.Get("X-Tenant"))
		_, _ = io.Copy(&body, r.Body)
	}))
	defer collector.Close()
	send := func() *telemetry {
		p, _ := configured(t)
		of, err := p.observed(t.Context())
		require.NoError(t, err)
		_, span := of.tracer.Start(t.Context(), "a span of ours")
		span.End()
		require.NoError(t, of.close())
		return of
	}
	none := send()
	assert.Nil(t, none.tracing)
	var o client.Options
	none.client(&o)
	assert.Empty(t, o.Interceptors)
	assert.Nil(t, o.MetricsHandler, "nobody can ask for the SDK's")

	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=press-7")
	t.Setenv("OTEL_SERVICE_NAME", "nightly")
	some := send()
	some.client(&o)
	assert.Len(t, o.Interceptors, 1)
	assert.Equal(t, []string{"/v1/traces press-7"}, paths)
	assert.Contains(t, body.String(), "a span of ours")
	assert.Contains(t, body.String(), "nightly")
	assert.NotContains(t, body.String(), "press-7")

	for name, value := range map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "none"} {
		t.Setenv(name, value)
		assert.Nil(t, send().tracing, name)
		t.Setenv(name, "")
	}
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	p, _ := configured(t)
	of, err := p.observed(t.Context())
	require.NoError(t, err)
	assert.NotNil(t, of.tracing)
	for name, value := range map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_TRACES_EXPORTER": "zipkin"} {
		t.Setenv(name, value)
		p, _ := configured(t)
		_, err := p.observed(t.Context())
		assert.Equal(t, console.ExitUsage, console.StatusOf(err))
		assert.ErrorContains(t, err, name+": ")
		assert.True(t, strings.Contains(err.Error(), "choose"))
		t.Setenv(name, "")
	}
}
