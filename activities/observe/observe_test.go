package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

var classKey = temporal.NewSearchAttributeKeyKeyword("DefectClass")

// scene runs stages of a workflow that works on the class "pits".
type scene struct {
	*testing.T
	registry *prometheus.Registry
	metrics  *Metrics
	log      bytes.Buffer
	spans    *tracetest.InMemoryExporter
	env      *testsuite.TestWorkflowEnvironment
}

func newScene(t *testing.T) *scene {
	s := &scene{T: t, registry: prometheus.NewRegistry(), spans: tracetest.NewInMemoryExporter()}
	s.metrics = NewMetrics(s.registry)
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(s.spans)).Tracer("test")
	tracing, err := opentelemetry.NewTracingInterceptor(opentelemetry.TracerOptions{Tracer: tracer})
	require.NoError(t, err)
	o := &Observer{Log: slog.New(slog.NewJSONHandler(&s.log, nil)), Metrics: s.metrics, Class: classKey}
	s.env = (&testsuite.WorkflowTestSuite{}).NewTestWorkflowEnvironment()
	s.env.SetWorkerOptions(sdkworker.Options{Interceptors: []interceptor.WorkerInterceptor{tracing, o.Interceptor()}})
	return s
}

// run runs a workflow with one stage, which is given up after two attempts.
func run[In, Out any](s *scene, stage step.Step[In, Out], in In, fn func(context.Context, In) (Out, error)) error {
	stage.Register(s.env, fn)
	s.env.ExecuteWorkflow(func(ctx workflow.Context) error {
		if err := workflow.UpsertTypedSearchAttributes(ctx, classKey.ValueSet("pits")); err != nil {
			return err
		}
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: time.Minute, HeartbeatTimeout: 30 * time.Second,
			RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, MaximumAttempts: 2},
		})
		_, err := stage.Run(ctx, in)
		return err
	})
	return s.env.GetWorkflowError()
}

// lines are the log's, each with the fields that every line of a stage has.
func (s *scene) lines(stage string) []map[string]any {
	s.Helper()
	var out []map[string]any
	for text := range strings.Lines(s.log.String()) {
		var line map[string]any
		require.NoError(s, json.Unmarshal([]byte(text), &line))
		assert.Equal(s, stage, line["stage"], text)
		assert.Equal(s, "pits", line["class"], text)
		for _, field := range []string{"workflow_id", "run_id", "trace_id", "span_id", "msg"} {
			assert.NotEmpty(s, line[field], "%s of %s", field, text)
		}
		assert.GreaterOrEqual(s, line["attempt"], 1.0, text)
		out = append(out, line)
	}
	return out
}

// scraped is what a scrape gives.
func (s *scene) scraped() string {
	w := httptest.NewRecorder()
	promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	return w.Body.String()
}

func (s *scene) value(line string) {
	s.Helper()
	assert.Contains(s, s.scraped(), "\n"+line+"\n")
}

func (s *scene) silent(text string) {
	s.Helper()
	assert.NotContains(s, s.scraped(), text)
}

// Every stage that a worker does is counted and timed from the start.
func TestEveryStageIsTimed(t *testing.T) {
	s := newScene(t)
	scraped := s.scraped()
	for _, stage := range step.Stages() {
		for _, series := range []string{
			`defectforge_stages_running{stage="` + stage.Name + `"} 0`,
			`defectforge_stage_attempts_total{outcome="done",stage="` + stage.Name + `"} 0`,
			`defectforge_stage_duration_seconds_count{outcome="done",stage="` + stage.Name + `"} 0`,
			`defectforge_stage_retries_total{stage="` + stage.Name + `"} 0`,
		} {
			assert.Equal(t, stage.Role != 0, strings.Contains(scraped, "\n"+series+"\n"), series)
		}
	}
}

func TestStageIsLoggedCountedAndTraced(t *testing.T) {
	s := newScene(t)
	err := run(s, step.CheckOverfit, step.OverfitInput{}, func(ctx context.Context, _ step.OverfitInput) (step.OverfitResult, error) {
		s.value(`defectforge_stages_running{stage="CheckOverfit"} 1`)
		activity.GetLogger(ctx).Warn("something to tell", "key", "value")
		return step.OverfitResult{Accepted: 7, Rejected: 5, Repeated: 2, Blank: 1}, nil
	})
	require.NoError(t, err)
	lines := s.lines("CheckOverfit")
	require.Len(t, lines, 3)
	assert.Equal(t, "stage starts", lines[0]["msg"])
	assert.Equal(t, "something to tell", lines[1]["msg"])
	assert.Equal(t, "value", lines[1]["key"])
	assert.Equal(t, "stage ends", lines[2]["msg"])
	assert.Equal(t, Done, lines[2]["outcome"])
	assert.Equal(t, 5.0, lines[2]["rejected"])
	assert.Contains(t, lines[2], "seconds")

	s.value(`defectforge_stages_running{stage="CheckOverfit"} 0`)
	s.value(`defectforge_stage_duration_seconds_count{outcome="done",stage="CheckOverfit"} 1`)
	s.value(`defectforge_stage_attempts_total{outcome="done",stage="CheckOverfit"} 1`)
	s.value(`defectforge_stage_attempts_total{outcome="refused",stage="CheckOverfit"} 0`)
	s.value(`defectforge_candidates_total{outcome="accepted"} 7`)
	s.value(`defectforge_candidates_total{outcome="copy"} 2`)
	s.value(`defectforge_candidates_total{outcome="repeated"} 2`)
	s.value(`defectforge_candidates_total{outcome="blank"} 1`)

	names := map[string]tracetest.SpanStub{}
	for _, span := range s.spans.GetSpans() {
		names[span.Name] = span
	}
	stage := names["RunActivity:CheckOverfit"]
	assert.Equal(t, names["StartActivity:CheckOverfit"].SpanContext.SpanID(), stage.Parent.SpanID(),
		"the workflow's span is the stage's parent")
	assert.Contains(t, stage.Attributes, attribute.String("defectforge.class", "pits"))
	assert.Contains(t, stage.Attributes, attribute.String("defectforge.outcome", Done))
	assert.Equal(t, stage.SpanContext.TraceID().String(), lines[0]["trace_id"])
}

func TestOutcomes(t *testing.T) {
	for want, c := range map[string]struct {
		err   error
		level string
		tries int
	}{
		Failed:  {errors.New("connection refused"), "WARN", 2},
		Refused: {temporal.NewNonRetryableApplicationError("bad", step.ErrBadInput, nil), "ERROR", 1},
		HandedOver: {temporal.NewApplicationErrorWithOptions("stops", "HandOver",
			temporal.ApplicationErrorOptions{Category: temporal.ApplicationErrorCategoryBenign}), "INFO", 2},
		Cancelled: {context.Canceled, "INFO", 2},
	} {
		t.Run(want, func(t *testing.T) {
			s := newScene(t)
			require.Error(t, run(s, step.Report, step.ReportInput{}, func(context.Context, step.ReportInput) (step.ReportResult, error) {
				return step.ReportResult{}, c.err
			}))
			lines := s.lines("Report")
			require.Len(t, lines, 2*c.tries)
			assert.Equal(t, want, lines[1]["outcome"])
			assert.Equal(t, c.level, lines[1]["level"])
			assert.Equal(t, float64(c.tries), lines[len(lines)-1]["attempt"])
			if c.tries == 2 {
				s.value(`defectforge_stage_retries_total{stage="Report"} 1`)
			} else {
				s.value(`defectforge_stage_retries_total{stage="Report"} 0`)
			}
		})
	}
}

func TestPanickingStageIsNotForgotten(t *testing.T) {
	s := newScene(t)
	require.Error(t, run(s, step.Report, step.ReportInput{}, func(context.Context, step.ReportInput) (step.ReportResult, error) {
		panic("index out of range")
	}))
	s.value(`defectforge_stages_running{stage="Report"} 0`)
	s.value(`defectforge_stage_duration_seconds_count{outcome="failed",stage="Report"} 2`)
}

func TestTrainingIsTold(t *testing.T) {
	s := newScene(t)
	err := run(s, step.Train, step.TrainInput{}, func(ctx context.Context, _ step.TrainInput) (step.TrainResult, error) {
		for i, epoch := range []int{0, 3, 3, 4, 5} {
			activity.RecordHeartbeat(ctx, step.TrainProgress{
				Epoch: epoch, Epochs: 9, Step: int64(10 * i), Steps: 90, LossReal: 1, LossFake: 2, LossG: 3,
				DReal: 0.75, DFake: 0.25, ImagesPerSecond: 100, SecondsLeft: 60,
			})
		}
		s.value(`defectforge_training_epoch{class="pits"} 5`)
		s.value(`defectforge_training_images_per_second{class="pits"} 100`)
		return step.TrainResult{Epoch: 5}, nil
	})
	require.NoError(t, err)
	for _, text := range []string{
		`defectforge_training_epochs_total 3`,
		`defectforge_training_planned_epochs{class="pits"} 9`,
		`defectforge_training_step{class="pits"} 40`,
		`defectforge_training_loss{class="pits",of="real"} 1`,
		`defectforge_training_loss{class="pits",of="fake"} 2`,
		`defectforge_training_loss{class="pits",of="generator"} 3`,
		`defectforge_training_discriminator_output{class="pits",on="fake"} 0.25`,
		`defectforge_training_seconds_left{class="pits"} 60`,
		`defectforge_training_images_per_second{class="pits"} 0`,
	} {
		s.value(text)
	}
	var epochs []any
	for _, line := range s.lines("Train") {
		if line["msg"] == "epochs done" {
			epochs = append(epochs, line["epoch"])
		}
	}
	assert.Equal(t, []any{3.0, 4.0}, epochs)
}

// However many classes a process has trained, it shows the ones that it trains
// and the last one.
func TestClassesAreForgotten(t *testing.T) {
	s := newScene(t)
	m := s.metrics
	begin := func(class string) {
		m.begin("Train", class, 1)
		m.training(class, step.TrainProgress{Epoch: 1, Step: 1}, 0)
	}
	begin("a")
	begin("b")
	m.end("Train", "a", Done, 0)
	s.value(`defectforge_training_epoch{class="a"} 1`)
	begin("c")
	s.silent(`defectforge_training_epoch{class="a"}`)
	s.value(`defectforge_training_epoch{class="b"} 1`)
	m.end("Train", "b", Done, 0)
	m.end("Train", "c", Done, 0)
	s.silent(`defectforge_training_epoch{class="b"}`)
	begin("c")
	m.end("Train", "c", Done, 0)
	s.value(`defectforge_training_epoch{class="c"} 1`)
	m.result("d", nil, step.EvaluateResult{Evaluation: step.Evaluation{KID: 0.5}})
	s.value(`defectforge_training_kid{class="d"} 0.5`)
	s.silent(`{class="c"}`)
	m.result("e", nil, step.EvaluateResult{Evaluation: step.Evaluation{KID: 0.5}})
	s.silent(`defectforge_training_kid{class="d"}`)
}

func TestResultsAreCounted(t *testing.T) {
	s := newScene(t)
	m := s.metrics
	m.result("c", nil, step.IngestResult{Usable: 5, Quarantined: 3, Duplicates: 2, NearDuplicates: 1})
	m.result("c", nil, step.AssessResult{Verdict: spec.Inconclusive})
	m.result("c", nil, step.TrainResult{Alarm: &step.Alarm{Kind: step.AlarmDiverged}})
	m.result("c", nil, step.EvaluateResult{Alarm: &step.Alarm{Kind: step.AlarmCollapsed}})
	m.result("c", nil, step.PublishResult{Images: 11})
	for _, r := range []step.RecordRunInput{
		{Verdict: spec.Pass, Publish: step.PublishResult{Release: "r"}}, {Verdict: spec.Pass}, {Verdict: spec.Fail}, {Failure: "diverged"},
	} {
		m.result("c", &interceptor.ExecuteActivityInput{Args: []any{r}}, step.RecordRunResult{})
	}
	for _, text := range []string{
		`defectforge_images_total{outcome="usable"} 5`, `defectforge_images_total{outcome="quarantined"} 3`,
		`defectforge_images_total{outcome="duplicate"} 3`, `defectforge_verdicts_total{verdict="inconclusive"} 1`,
		`defectforge_training_alarms_total{kind="diverged"} 1`, `defectforge_training_alarms_total{kind="collapsed"} 1`,
		`defectforge_published_images_total 11`, `defectforge_runs_total{outcome="published"} 1`,
		`defectforge_runs_total{outcome="not_approved"} 1`, `defectforge_runs_total{outcome="fail"} 1`,
		`defectforge_runs_total{outcome="failed"} 1`, `defectforge_runs_total{outcome="inconclusive"} 0`,
	} {
		s.value(text)
	}
}
