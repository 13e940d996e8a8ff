package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/interceptor"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// Metrics are the counts of this process's stages. A bucket may hold thousands
// of classes, so only gauges of trainings have the label "class": a process
// shows the trainings that run in it and the last one that ran, and forgets the
// others. Workflows and runs are no labels: there is no end to them; logs and
// traces tell them apart.
type Metrics struct {
	duration   *prometheus.HistogramVec
	attempts   *prometheus.CounterVec
	running    *prometheus.GaugeVec
	retries    *prometheus.CounterVec
	images     *prometheus.CounterVec
	candidates *prometheus.CounterVec
	verdicts   *prometheus.CounterVec
	runs       *prometheus.CounterVec
	alarms     *prometheus.CounterVec
	published  prometheus.Counter
	epochs     prometheus.Counter
	trainings  *trainings
	values     map[string]map[string][]string
}

// Outcomes of runs, values of the label "outcome".
const (
	runPublished   = "published"
	runNotApproved = "not_approved" // passed, and somebody or the deadline said no
	runFailed      = "failed"
)

// Outcomes of images and of candidates.
const (
	usable, quarantined, duplicate     = "usable", "quarantined", "duplicate"
	accepted, copied, repeated, blanks = "accepted", "copy", "repeated", "blank"
)

// What a loss is of, and what the discriminator looks at.
const (
	ofReal, ofFake, ofGenerator = "real", "fake", "generator"
)

// timed are the stages of an augmentation that workers do.
func timed() []string {
	var names []string
	for _, s := range step.Stages() {
		if s.Role != 0 {
			names = append(names, s.Name)
		}
	}
	return names
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{values: map[string]map[string][]string{}}
	m.addAttempts(timed())
	m.images = m.counter("images_total", "Source images of finished ingests.", "outcome", usable, quarantined, duplicate)
	m.candidates = m.counter("candidates_total", "Generated images that were checked; all but accepted ones are rejected.",
		"outcome", accepted, copied, repeated, blanks)
	m.verdicts = m.counter("verdicts_total", "Decisions by policies.", "verdict", spec.Pass, spec.Fail, spec.Inconclusive)
	m.runs = m.counter("runs_total", "Runs that were recorded at their end.",
		"outcome", runPublished, spec.Fail, spec.Inconclusive, runNotApproved, runFailed)
	m.alarms = m.counter("training_alarms_total", "Alarms of the monitors of trainings.",
		"kind", step.AlarmDiverged, step.AlarmOverpowered, step.AlarmCollapsed, step.AlarmMemorising)
	m.published = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "defectforge_published_images_total", Help: "Images of releases that were published or found again."})
	m.epochs = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "defectforge_training_epochs_total", Help: "Epochs trained."})
	m.trainings = newTrainings()
	m.values["defectforge_training_loss"] = map[string][]string{"of": {ofReal, ofFake, ofGenerator}}
	m.values["defectforge_training_discriminator_output"] = map[string][]string{"on": {ofReal, ofFake}}
	r.MustRegister(m.duration, m.attempts, m.running, m.retries, m.images, m.candidates, m.verdicts, m.runs, m.alarms,
		m.published, m.epochs, m.trainings)
	return m
}

// addAttempts makes the metrics of attempts at stages.
func (m *Metrics) addAttempts(stages []string) {
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "defectforge_stage_duration_seconds", Help: "Duration of attempts at stages.",
		Buckets: []float64{0.1, 0.5, 2, 10, 60, 300, 1800, 7200, 43200},
	}, []string{"stage", "outcome"})
	m.values["defectforge_stage_duration_seconds"] = map[string][]string{
		"stage": stages, "outcome": outcomes,
	}
	m.attempts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "defectforge_stage_attempts_total", Help: "Attempts at stages that have ended.",
	}, []string{"stage", "outcome"})
	for _, s := range stages { // zero from the start, so that the first failure is seen as an increase
		for _, o := range outcomes {
			m.attempts.WithLabelValues(s, o)
		}
		m.duration.WithLabelValues(s, Done) // so that a mean counts a worker's first attempt
	}
	m.values["defectforge_stage_attempts_total"] = map[string][]string{"stage": stages, "outcome": outcomes}
	m.running = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "defectforge_stages_running", Help: "Attempts at stages under way.",
	}, []string{"stage"})
	m.values["defectforge_stages_running"] = map[string][]string{"stage": stages}
	for _, s := range stages {
		m.running.WithLabelValues(s)
	}
	m.retries = m.counter("stage_retries_total", "Attempts at stages that were not the first.", "stage", stages...)
}

// counter makes a counter with a label whose values are known. Each begins at
// zero, so that rates can be taken from the first event on.
func (m *Metrics) counter(name, help, label string, values ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "defectforge_" + name, Help: help}, []string{label})
	for _, v := range values {
		c.WithLabelValues(v)
	}
	m.values["defectforge_"+name] = map[string][]string{label: values}
	return c
}

// Values are the values that labels can have, by metric and label, where they
// are known beforehand.
func (m *Metrics) Values() map[string]map[string][]string { return m.values }

func (m *Metrics) begin(stage, class string, attempt int32) {
	m.running.WithLabelValues(stage).Inc()
	if attempt > 1 {
		m.retries.WithLabelValues(stage).Inc()
	}
	if stage == string(step.Train) {
		m.trainings.begin(class)
	}
}

func (m *Metrics) end(stage, class, outcome string, took time.Duration) {
	m.running.WithLabelValues(stage).Dec()
	m.duration.WithLabelValues(stage, outcome).Observe(took.Seconds())
	m.attempts.WithLabelValues(stage, outcome).Inc()
	if stage == string(step.Train) {
		m.trainings.end(class)
	}
}

// result counts what a stage that is done has found. A result that was found in
// the store, not made anew, counts too.
func (m *Metrics) result(class string, in *interceptor.ExecuteActivityInput, out any) {
	add := func(c *prometheus.CounterVec, value string, n int) { c.WithLabelValues(value).Add(float64(max(n, 0))) }
	switch r := out.(type) {
	case step.IngestResult:
		add(m.images, usable, r.Usable)
		add(m.images, quarantined, r.Quarantined)
		add(m.images, duplicate, r.Duplicates+r.NearDuplicates)
	case step.TrainResult:
		m.alarm(r.Alarm)
	case step.EvaluateResult:
		m.alarm(r.Alarm)
		if r.Alarm == nil {
			m.trainings.evaluated(class, r.Evaluation.KID)
		}
	case step.OverfitResult:
		add(m.candidates, accepted, r.Accepted)
		add(m.candidates, copied, r.Rejected-r.Repeated-r.Blank)
		add(m.candidates, repeated, r.Repeated)
		add(m.candidates, blanks, r.Blank)
	case step.AssessResult:
		add(m.verdicts, r.Verdict, 1)
	case step.PublishResult:
		m.published.Add(float64(max(r.Images, 0)))
	case step.RecordRunResult:
		if len(in.Args) == 1 {
			if record, ok := in.Args[0].(step.RecordRunInput); ok {
				add(m.runs, runOutcome(record), 1)
			}
		}
	}
}

func (m *Metrics) alarm(a *step.Alarm) {
	if a != nil {
		m.alarms.WithLabelValues(a.Kind).Inc()
	}
}

func runOutcome(r step.RecordRunInput) string {
	switch {
	case r.Failure != "":
		return runFailed
	case r.Publish.Release != "":
		return runPublished
	case r.Verdict == spec.Pass:
		return runNotApproved
	}
	return r.Verdict
}
