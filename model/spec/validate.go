package spec

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Bounds that no recipe of use comes near. They keep a typing error from taking
// all memory, or Temporal's limit on a run's history.
const (
	maxImageBytes  = 1 << 30
	maxImagePixels = 1 << 28
	maxDepth       = 1024
	maxLatent      = 4096
	maxBatch       = 4096
	maxEpochs      = 100_000
	maxLegs        = 2000
	maxCheckpoints = 1000
	maxSamples     = 100_000
	maxNeighbours  = 100
	maxStatistics  = 10_000
	hashBits       = 64
	// minImages leaves a training batch and something to hold out.
	minImages = 2 * MinBatch
)

var recipeName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// Validate returns every problem of r at once, joined; each names the field,
// its value and what would be right.
func (r Recipe) Validate() error {
	var p problems
	if !recipeName.MatchString(r.Name) {
		p.add("name", strconv.Quote(r.Name), "use 1 to 63 of a-z, 0-9, hyphen and underscore, beginning with a letter or digit")
	}
	r.Ingest.validate(&p)
	r.Model.validate(&p)
	r.Train.validate(&p)
	r.Sample.validate(&p)
	r.Overfit.validate(&p)
	if r.Sample.Count > 0 && r.Overfit.MinPublished > r.Sample.Count {
		p.add("overfit.min_published", strconv.Itoa(r.Overfit.MinPublished),
			fmt.Sprintf("more than sample.count (%d), so no run could ever pass; lower it or draw more samples", r.Sample.Count))
	}
	return errors.Join(p...)
}

func (i Ingest) validate(p *problems) {
	within(p, "ingest.max_bytes", i.MaxBytes, 1, maxImageBytes)
	within(p, "ingest.max_pixels", i.MaxPixels, 1, maxImagePixels)
	within(p, "ingest.min_images", i.MinImages, minImages, 1<<30)
	within(p, "ingest.holdout_share", i.HoldoutShare, 0, 0.5)
	within(p, "ingest.duplicate_distance", i.DuplicateDistance, 0, hashBits)
	within(p, "ingest.group_distance", i.GroupDistance, 0, hashBits)
	if i.GroupDistance < i.DuplicateDistance {
		p.add("ingest.group_distance", strconv.Itoa(i.GroupDistance),
			fmt.Sprintf("below ingest.duplicate_distance (%d), so near duplicates could be parted by the split; raise it", i.DuplicateDistance))
	}
}

func (m Model) validate(p *problems) {
	within(p, "model.latent", m.Latent, 1, maxLatent)
	within(p, "model.generator_depth", m.GeneratorDepth, 1, maxDepth)
	within(p, "model.discriminator_depth", m.DiscriminatorDepth, 1, maxDepth)
	if m.InitialWeights != InitDCGAN && m.InitialWeights != InitPyTorch {
		p.add("model.initial_weights", strconv.Quote(m.InitialWeights),
			"choose one of "+strings.Join([]string{InitDCGAN, InitPyTorch}, ", "))
	}
}

func (t Train) validate(p *problems) {
	within(p, "train.batch", t.Batch, MinBatch, maxBatch)
	within(p, "train.epochs", t.Epochs, 1, maxEpochs)
	rate(p, "train.generator_rate", t.GeneratorRate)
	rate(p, "train.discriminator_rate", t.DiscriminatorRate)
	decay(p, "train.beta1", t.Beta1)
	decay(p, "train.beta2", t.Beta2)
	within(p, "train.leg_epochs", t.LegEpochs, 1, maxEpochs)
	within(p, "train.keep_checkpoints", t.KeepCheckpoints, 1, maxCheckpoints)
	if t.LegEpochs > 0 && t.Epochs/t.LegEpochs > maxLegs {
		p.add("train.leg_epochs", strconv.Itoa(t.LegEpochs),
			fmt.Sprintf("makes more than %d activities of %d epochs; raise it to %d or more", maxLegs, t.Epochs, t.Epochs/maxLegs+1))
	}
}

func (s Sample) validate(p *problems) {
	within(p, "sample.count", s.Count, 1, maxSamples)
	within(p, "sample.statistics_batches", s.StatisticsBatches, 0, maxStatistics)
}

func (o Overfit) validate(p *problems) {
	within(p, "overfit.neighbours", o.Neighbours, 1, maxNeighbours)
	within(p, "overfit.reject_quantile", o.RejectQuantile, 0, 1)
	within(p, "overfit.tail_quantile", o.TailQuantile, 0, 1)
	within(p, "overfit.max_tail_share", o.MaxTailShare, 0, 1)
	within(p, "overfit.min_published", o.MinPublished, 1, maxSamples)
	if o.RejectQuantile <= 1 && o.TailQuantile < o.RejectQuantile {
		p.add("overfit.tail_quantile", fmt.Sprint(o.TailQuantile),
			fmt.Sprintf("below overfit.reject_quantile (%v), so no accepted image could be in the tail; raise it", o.RejectQuantile))
	}
}

type problems []error

func (p *problems) add(field, value, remedy string) {
	*p = append(*p, fmt.Errorf("%s: %s: %s", field, value, remedy))
}

// within also refuses NaN, which is in no range.
func within[T int | int64 | float64](p *problems, field string, value, low, high T) {
	if !(value >= low && value <= high) {
		p.add(field, fmt.Sprint(value), fmt.Sprintf("must be within %v and %v", low, high))
	}
}

func rate(p *problems, field string, value float64) {
	if !(value > 0 && value <= 1) {
		p.add(field, fmt.Sprint(value), "must be above 0 and at most 1; 1e-4 to 4e-4 are usual")
	}
}

func decay(p *problems, field string, value float64) {
	if !(value >= 0 && value < 1) {
		p.add(field, fmt.Sprint(value), "must be at least 0 and below 1")
	}
}
