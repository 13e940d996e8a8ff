// Package progress shows how far runs and campaigns are: a bar and lines on a
// terminal, lines alone elsewhere.
package progress

import (
	"fmt"
	"io"
	"time"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/workflows"
)

// nowAndThen is how often a line says that something is still under way.
const nowAndThen = 15 * time.Second

// Run shows a run: on a terminal with a bar, elsewhere with a line now and then.
func Run(c *console.Console) client.View[client.Snapshot] {
	lines := &lineView{out: c.Screen, now: time.Now, every: nowAndThen, attempts: map[string]int32{}}
	if !c.Terminal {
		return lines
	}
	lines.every = 0
	return &barView{lines: lines, bar: console.NewBar(c.Screen, c.Screen.Columns)}
}

// barView keeps a bar of training below the lines, and the stage's name where
// nothing can be counted.
type barView struct {
	lines *lineView
	bar   *console.Bar
}

func (v *barView) Update(s client.Snapshot) {
	v.lines.Update(s)
	if t := s.Train; t != nil {
		v.bar.Draw(t.Step, t.Steps, func(long bool) []string { return trainParts(*t, long) })
		return
	}
	if step.Together(s.Stage, step.Train.String()) && v.bar.Shown() {
		return // between two legs
	}
	v.bar.Drop()
	if s.Stage == "" || s.Stage == step.Done {
		return
	}
	words := step.Title(s.Stage)
	if c := s.Counted; c != nil && c.Total > 0 {
		words += fmt.Sprintf(" %d/%d", c.Done, c.Total)
	}
	v.bar.Words(words + "...")
}

func (v *barView) Close() { v.bar.Close() }

// trainParts says how a training stands, what matters most first.
func trainParts(t step.TrainProgress, long bool) []string {
	return []string{
		fmt.Sprintf("%s%d/%d", console.Either(long, "train, epoch ", "train "), t.Epoch, t.Epochs),
		console.TimeWords(t.SecondsLeft) + " left",
		fmt.Sprintf("%.0f images/s", t.ImagesPerSecond),
		fmt.Sprintf("loss D %.2f+%.2f G %.2f", t.LossReal, t.LossFake, t.LossG),
		fmt.Sprintf("D(x) %.2f, D(G(z)) %.2f", t.DReal, t.DFake),
	}
}

// lineView prints a line when a stage ends or is tried again, and in training
// one per leg and one every so often.
type lineView struct {
	out         io.Writer
	now         func() time.Time
	every       time.Duration // between lines of training, 0 for none
	stages      int           // finished ones that were shown
	epoch       int           // of the last leg shown
	last        time.Time     // of the last line of training
	train       *step.TrainProgress
	attempts    map[string]int32 // shown already
	evaluations int              // evaluations shown
	tries       int              // rollbacks shown
	waiting     string           // what was said of the wait for approval
	helped      bool             // the utility study's result was shown
	warned      bool             // what ingest lost was said
}

func (v *lineView) line(stage, format string, args ...any) {
	fmt.Fprintf(v.out, "%-16s %s\n", step.Title(stage), fmt.Sprintf(format, args...))
}

func (v *lineView) Update(s client.Snapshot) {
	if s.Train != nil {
		v.train = s.Train
	}
	if s.Attempt > 1 && s.Attempt > v.attempts[s.Stage] && s.Failure != "" {
		v.line(s.Stage, "attempt %d, after: %s", s.Attempt, s.Failure)
	}
	if s.Attempt > 0 {
		v.attempts[s.Stage] = s.Attempt
	}
	if s.Status.Epoch > v.epoch {
		v.epoch = s.Status.Epoch
		v.last = v.now()
		words := ""
		if v.train != nil && v.train.Epoch >= s.Status.Epoch {
			words = ", " + TrainWords(*v.train)
		}
		if v.every > 0 {
			v.line(string(step.Train), "epoch %d of %d done%s", s.Status.Epoch, s.Status.Epochs, words)
		}
	}
	v.warn(s.Status)
	v.evaluated(s.Status)
	v.finished(s.Status)
	v.wait(s.Status)
	if u := s.Status.Utility; u != nil && !v.helped {
		v.helped = true
		v.line(string(step.Utility), "%s", u.Summary)
	}
	if v.every > 0 && s.Counted != nil && s.Counted.Done < s.Counted.Total && v.now().Sub(v.last) >= v.every {
		v.last = v.now()
		v.line(s.Stage, "%s", CountWords(*s.Counted))
	}
	if v.every > 0 && s.Train != nil && v.now().Sub(v.last) >= v.every {
		v.last = v.now()
		v.line(string(step.Train), "epoch %d of %d, step %d of %d, %s, %s left", s.Train.Epoch, s.Train.Epochs,
			s.Train.Step, s.Train.Steps, TrainWords(*s.Train), console.TimeWords(s.Train.SecondsLeft))
	}
}

// warn says once what ingest lost that may matter.
func (v *lineView) warn(s workflows.Status) {
	if s.Warning != "" && !v.warned {
		v.warned = true
		v.line(string(step.Ingest), "warning: %s", s.Warning)
	}
}

// evaluated says what is new about evaluations and rollbacks.
func (v *lineView) evaluated(s workflows.Status) {
	for ; v.tries < len(s.Rollbacks); v.tries++ {
		r := s.Rollbacks[v.tries]
		v.epoch = min(v.epoch, r.ToEpoch)
		v.line(string(step.Train), "%s; back to epoch %d with %g of the discriminator's rate", r.Alarm.Reason, r.ToEpoch, r.DiscriminatorScale)
	}
	if e := s.Evaluation; e != nil && s.Evaluations > v.evaluations {
		v.evaluations = s.Evaluations
		v.line(string(step.Evaluate), "epoch %d: KID %.3f of the first, spread %.2f; best is epoch %d with %.3f",
			e.Epoch, e.KID, e.Spread, s.Best.Epoch, s.Best.KID)
	}
}

// wait says that the run waits for a person.
func (v *lineView) wait(s workflows.Status) {
	if s.Deadline == nil {
		return
	}
	words := "waiting until " + s.Deadline.Local().Format(time.DateTime) + "; decide with `defectforge runs approve` or `runs reject`"
	if s.Notice != "" {
		words += "; " + s.Notice
	}
	if words != v.waiting {
		v.waiting = words
		v.line(s.Stage, "%s", words)
	}
}

// finished lists the stages that ended. The running one may stand in the list
// already: the legs of training add up in it, and so do their evaluations.
func (v *lineView) finished(s workflows.Status) {
	done := s.StagesDone
	for i, d := range done {
		if step.Together(d.Stage, s.Stage) {
			done = done[:i]
			break
		}
	}
	for ; v.stages < len(done); v.stages++ {
		v.line(done[v.stages].Stage, "%s", console.TimeWords(done[v.stages].Seconds))
	}
}

func (v *lineView) Close() {}

// CountWords says how far a stage is.
func CountWords(p step.Progress) string { return fmt.Sprintf("%d of %d", p.Done, p.Total) }

// TrainWords says how a training stands.
func TrainWords(t step.TrainProgress) string {
	return fmt.Sprintf("loss D %.3f+%.3f G %.3f, D(x) %.2f, D(G(z)) %.2f, %.1f images/s",
		t.LossReal, t.LossFake, t.LossG, t.DReal, t.DFake, t.ImagesPerSecond)
}
