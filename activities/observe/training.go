package observe

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/defectforge/defectforge/activities/step"
)

// trainings are gauges by class, of the trainings that run in this process and
// of the last one that ran.
type trainings struct {
	epoch, planned, step, steps *prometheus.GaugeVec
	loss, output                *prometheus.GaugeVec
	speed, left, kid            *prometheus.GaugeVec

	mu     sync.Mutex
	active map[string]int
	last   string // the class of the last one that ended
}

func newTrainings() *trainings {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		opts := prometheus.GaugeOpts{Name: "defectforge_training_" + name, Help: help}
		return prometheus.NewGaugeVec(opts, append([]string{"class"}, labels...))
	}
	return &trainings{
		epoch:   gauge("epoch", "Epoch under way, from 1."),
		planned: gauge("planned_epochs", "Epochs of the recipe."),
		step:    gauge("step", "Steps done, over the whole training."),
		steps:   gauge("planned_steps", "Steps of the whole training."),
		loss:    gauge("loss", "Losses of the last step: the discriminator's of real and of generated images, the generator's.", "of"),
		output:  gauge("discriminator_output", "Mean output of the discriminator in the last step, within 0 and 1.", "on"),
		speed:   gauge("images_per_second", "Real images that this attempt trains on in a second; 0 where the training rests."),
		left:    gauge("seconds_left", "Estimated time to the end of the whole training."),
		kid:     gauge("kid", "Kernel inception distance of the last evaluated state to the selection split, over the first one's."),
		active:  map[string]int{},
	}
}

func (t *trainings) all() []*prometheus.GaugeVec {
	return []*prometheus.GaugeVec{t.epoch, t.planned, t.step, t.steps, t.loss, t.output, t.speed, t.left, t.kid}
}

// Describe implements prometheus.Collector.
func (t *trainings) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range t.all() {
		g.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (t *trainings) Collect(ch chan<- prometheus.Metric) {
	for _, g := range t.all() {
		g.Collect(ch)
	}
}

// begin notes that a leg of the class starts; a training that ended before is
// forgotten, if it was of another class.
func (t *trainings) begin(class string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active[class]++
	t.forget(class)
}

func (t *trainings) end(class string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.active[class]--; t.active[class] > 0 {
		return
	}
	delete(t.active, class)
	t.remember(class)
	t.speed.WithLabelValues(class).Set(0)
}

// evaluated takes an evaluation, which need not run where the training did.
func (t *trainings) evaluated(class string, kid float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.active[class] == 0 {
		t.remember(class)
	}
	t.kid.WithLabelValues(class).Set(kid)
}

// remember makes the class's training the last one.
func (t *trainings) remember(class string) {
	t.forget(class)
	t.last = class
}

// forget drops the last training, unless it is one of class or goes on.
func (t *trainings) forget(class string) {
	if t.last == class || t.active[t.last] > 0 {
		return
	}
	for _, g := range t.all() {
		g.DeletePartialMatch(prometheus.Labels{"class": t.last})
	}
}

// training takes a heartbeat, and epochs that were done since the one before.
func (m *Metrics) training(class string, p step.TrainProgress, epochs int) {
	t := m.trainings
	m.epochs.Add(float64(epochs))
	t.epoch.WithLabelValues(class).Set(float64(p.Epoch))
	t.planned.WithLabelValues(class).Set(float64(p.Epochs))
	t.step.WithLabelValues(class).Set(float64(p.Step))
	t.steps.WithLabelValues(class).Set(float64(p.Steps))
	t.loss.WithLabelValues(class, ofReal).Set(p.LossReal)
	t.loss.WithLabelValues(class, ofFake).Set(p.LossFake)
	t.loss.WithLabelValues(class, ofGenerator).Set(p.LossG)
	t.output.WithLabelValues(class, ofReal).Set(p.DReal)
	t.output.WithLabelValues(class, ofFake).Set(p.DFake)
	t.speed.WithLabelValues(class).Set(p.ImagesPerSecond)
	t.left.WithLabelValues(class).Set(p.SecondsLeft)
}
