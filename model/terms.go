package model

import (
	"cmp"
	"fmt"
	"math"

	"github.com/defectforge/defectforge/model/graph"
	"github.com/defectforge/defectforge/model/spec"
)

// What a step judges by, and at which rates it learns.

// criterion of the discriminator's logits.
func criterion(t spec.Train) graph.Criterion {
	switch t.Loss {
	case spec.LossHinge:
		return graph.Hinge
	case spec.LossRelativistic:
		return graph.Paired
	}
	return graph.CrossEntropy
}

// generatorCriterion is the same for the generator, which the hinge's flat side
// would teach nothing.
func generatorCriterion(t spec.Train) graph.Criterion {
	if c := criterion(t); c != graph.Hinge {
		return c
	}
	return graph.Critic
}

// Terms of the judgements of a step on n images.

func (g *GAN) onReal(n int) graph.Terms {
	t := g.terms(augmentReal, n)
	t.Label = 1 - g.recipe.Train.LabelSmoothing
	if g.anchors != nil && g.steps > 0 {
		t.LeCam = graph.LeCam{Weight: g.recipe.Train.LeCam, Anchor: g.anchors.fake[0], Above: true}
	}
	return t
}

func (g *GAN) onFake(n int) graph.Terms {
	t := g.terms(augmentFake, n)
	if g.anchors != nil && g.steps > 0 {
		t.LeCam = graph.LeCam{Weight: g.recipe.Train.LeCam, Anchor: g.anchors.real[0]}
	}
	return t
}

func (g *GAN) onGenerator(n int) graph.Terms {
	t := g.terms(augmentGenerator, n)
	t.Criterion, t.Label = generatorCriterion(g.recipe.Train), 1
	return t
}

// beside are the terms of the real images that the generator's are paired with.
func (g *GAN) beside(n int) graph.Terms {
	if !g.ways().Paired {
		return graph.Terms{}
	}
	return g.terms(augmentPair, n)
}

func (g *GAN) ways() graph.Ways {
	t := g.recipe.Train
	return graph.Ways{
		Augment: g.augmenter != nil, Paired: criterion(t) == graph.Paired, Penalties: [2]float64{t.R1, t.R2},
	}
}

func (g *GAN) terms(purpose string, n int) graph.Terms {
	return graph.Terms{
		Criterion: criterion(g.recipe.Train),
		Augment:   g.augmenter.draw(g.recipe.Seed, purpose, uint64(g.steps), n),
	}
}

// Trains says how many steps the recipe's epochs are, on the images at hand. A
// checkpoint does not hold it. Only rates that decay ask for it.
func (g *GAN) Trains(steps int64) { g.total = steps }

// leastRate is what spec.DecayLate leaves of the rates at the end.
const leastRate = 0.02

// decay is what is left of the rates in the next step.
func (g *GAN) decay() float64 {
	if !g.recipe.Train.Decays() {
		return 1
	}
	done := min(float64(g.steps)/float64(g.total), 1)
	switch g.recipe.Train.Decay {
	case spec.DecayCosine:
		return (1 + math.Cos(math.Pi*done)) / 2
	case spec.DecayLate:
		return max(min(2*(1-done), 1), leastRate)
	}
	return 1 - done
}

// ready refuses a step whose rates are unknown.
func (g *GAN) ready() error {
	if g.recipe.Train.Decays() && g.total < 1 {
		return fmt.Errorf("train.decay is %q, and it was not said over how many steps: call Trains", g.recipe.Train.Decay)
	}
	return nil
}

// adamStep is the next step of a learner's optimiser.
func (g *GAN) adamStep(l *learner) graph.AdamStep {
	return graph.AdamStep{
		Rate: l.rate * g.decay(), Beta1: l.beta1, Beta2: l.beta2, Epsilon: adamEpsilon, Step: g.steps + 1,
	}
}

// learnersOf are both networks with their optimisers.
func learnersOf(r spec.Recipe) (generator, discriminator *learner) {
	t := r.Train
	generator = newLearner(graph.NewGenerator(r.Model))
	generator.rate = t.GeneratorRate
	generator.beta1, generator.beta2 = cmp.Or(t.GeneratorBeta1, t.Beta1), cmp.Or(t.GeneratorBeta2, t.Beta2)
	discriminator = newLearner(graph.NewDiscriminator(r.Model))
	discriminator.rate = t.DiscriminatorRate
	discriminator.beta1 = cmp.Or(t.DiscriminatorBeta1, t.Beta1)
	discriminator.beta2 = cmp.Or(t.DiscriminatorBeta2, t.Beta2)
	return generator, discriminator
}
