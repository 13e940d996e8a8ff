package activities

import (
	"errors"
	"fmt"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/model/spec"
)

// watch is what the monitors find after the step that was just recorded, nil
// for nothing or where the recipe allows no other try. They look at the recorded
// values, so that every attempt finds the same.
func (l *leg) watch(epoch int, epochEnds bool) *step.Alarm {
	m := l.in.Recipe.Monitor
	if m.Tries == 0 {
		return nil
	}
	a := step.Alarm{Epoch: epoch + 1, Step: l.curves.Steps()}
	// What led to the last rollback does not count against the try after it.
	if n := overpowered(l.curves, l.tryBegan()); m.OverpowerSteps > 0 && n >= m.OverpowerSteps {
		a.Kind, a.Value, a.Threshold = step.AlarmOverpowered, float64(n), float64(m.OverpowerSteps)
		a.Reason = fmt.Sprintf("the discriminator overpowered the generator: D(x) above %g and D(G(z)) below %g for %d steps in a row",
			overpoweredReal, overpoweredFake, n)
		return &a
	}
	if !epochEnds || m.MemorisingAbove == 0 || !l.curves.Signed() {
		return nil
	}
	if sign := lastEpoch(l.curves).SignReal; sign > m.MemorisingAbove {
		a.Kind, a.Value, a.Threshold = step.AlarmMemorising, sign, m.MemorisingAbove
		a.Reason = fmt.Sprintf("the discriminator memorises: the mean sign of its logits on real images was %.3f over an epoch, above %g",
			sign, m.MemorisingAbove)
		return &a
	}
	return nil
}

// tryBegan is the number of steps done when the present try began.
func (l *leg) tryBegan() int64 {
	if n := len(l.in.Rollbacks); n > 0 {
		return int64(l.in.Rollbacks[n-1].ToEpoch) * int64(l.curves.StepsPerEpoch)
	}
	return 0
}

// slow lowers the discriminator's rate as the rollbacks say.
func (l *leg) slow() {
	if n := len(l.in.Rollbacks); n > 0 {
		l.gan.ScaleDiscriminatorRate(l.in.Rollbacks[n-1].DiscriminatorScale)
	}
}

// monitored is the part of a recipe that decides where its training stops for
// an alarm, apart from evaluations.
func monitored(m spec.Monitor) spec.Monitor {
	if m.Tries == 0 {
		return spec.Monitor{}
	}
	return spec.Monitor{Tries: 1, OverpowerSteps: m.OverpowerSteps, MemorisingAbove: m.MemorisingAbove}
}

// diverged is what follows a step that failed: an alarm where the numbers are at
// fault and another try is allowed, else a failure.
func (l *leg) diverged(err error, epoch int, losses model.Losses) error {
	if err != nil && !errors.Is(err, model.ErrNotFinite) {
		return fmt.Errorf("train step %d of epoch %d: %w", l.gan.Steps()+1, epoch+1, err)
	}
	train, at := l.in.Recipe.Train, l.curves.Steps()+1
	what := fmt.Sprintf("training diverged in epoch %d of %d, step %d of %d: loss real %g, fake %g, generator %g, D(x) %g, D(G(z)) %g",
		epoch+1, train.Epochs, at, l.steps, losses.Real, losses.Fake, losses.G, losses.DReal, losses.DFake)
	if l.in.Recipe.Monitor.Tries > 0 {
		l.alarm = &step.Alarm{Kind: step.AlarmDiverged, Epoch: epoch + 1, Step: at, Reason: what}
		return nil
	}
	return ledger.Permanent(step.ErrDiverged,
		"%s; try a smaller train.generator_rate (now %g) and train.discriminator_rate (now %g), or another seed (now %d)",
		what, train.GeneratorRate, train.DiscriminatorRate, l.in.Recipe.Seed)
}
