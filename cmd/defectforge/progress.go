package main

import (
	"fmt"
	"io"
	"time"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/workflows"
)

// newView is a bar on a terminal, lines elsewhere.
func (p *program) newView() view {
	lines := &lineView{out: p.screen, now: time.Now, every: 15 * time.Second, attempts: map[string]int32{}}
	if !p.terminal {
		return lines
	}
	lines.every = 0
	return &barView{lines: lines, screen: p.screen, width: p.screen.columns}
}

// lineView prints a line when a stage ends or is tried again, and in training
// one per leg and one every so often.
type lineView struct {
	out      io.Writer
	now      func() time.Time
	every    time.Duration // between lines of training, 0 for none
	stages   int           // finished ones told already
	epoch    int           // of the last leg told
	last     time.Time     // of the last line of training
	train    *step.TrainProgress
	attempts map[string]int32 // told already
	compared int              // evaluations told
	tries    int              // rollbacks told
	waiting  string           // what was told of the wait for approval
	helped   bool             // what the comparison has shown was told
}

func (v *lineView) line(stage, format string, args ...any) {
	fmt.Fprintf(v.out, "%-16s %s\n", step.Title(stage), fmt.Sprintf(format, args...))
}

func (v *lineView) update(s snapshot) {
	if s.train != nil {
		v.train = s.train
	}
	if s.attempt > 1 && s.attempt > v.attempts[s.stage] && s.failure != "" {
		v.line(s.stage, "attempt %d, after: %s", s.attempt, s.failure)
	}
	if s.attempt > 0 {
		v.attempts[s.stage] = s.attempt
	}
	if s.status.Epoch > v.epoch {
		v.epoch = s.status.Epoch
		v.last = v.now()
		words := ""
		if v.train != nil && v.train.Epoch >= s.status.Epoch {
			words = ", " + trainWords(*v.train)
		}
		if v.every > 0 {
			v.line(string(step.Train), "epoch %d of %d done%s", s.status.Epoch, s.status.Epochs, words)
		}
	}
	v.compare(s.status)
	v.finished(s.status)
	v.wait(s.status)
	if u := s.status.Utility; u != nil && !v.helped {
		v.helped = true
		v.line(string(step.Utility), "%s", u.Summary)
	}
	if v.every > 0 && s.counted != nil && s.counted.Done < s.counted.Total && v.now().Sub(v.last) >= v.every {
		v.last = v.now()
		v.line(s.stage, "%s", countWords(*s.counted))
	}
	if v.every > 0 && s.train != nil && v.now().Sub(v.last) >= v.every {
		v.last = v.now()
		v.line(string(step.Train), "epoch %d of %d, step %d of %d, %s, %s left", s.train.Epoch, s.train.Epochs,
			s.train.Step, s.train.Steps, trainWords(*s.train), timeWords(s.train.SecondsLeft))
	}
}

// compare tells what is new about evaluations and rollbacks.
func (v *lineView) compare(s workflows.Status) {
	for ; v.tries < len(s.Rollbacks); v.tries++ {
		r := s.Rollbacks[v.tries]
		v.epoch = min(v.epoch, r.ToEpoch)
		v.line(string(step.Train), "%s; back to epoch %d with %g of the discriminator's rate", r.Alarm.Reason, r.ToEpoch, r.DiscriminatorScale)
	}
	if e := s.Evaluation; e != nil && s.Evaluations > v.compared {
		v.compared = s.Evaluations
		v.line(string(step.Evaluate), "epoch %d: KID %.3f of the first, spread %.2f; best is epoch %d with %.3f", e.Epoch, e.KID, e.Spread, s.Best.Epoch, s.Best.KID)
	}
}

// wait tells that the run waits for a person.
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

// finished tells the stages that ended. The running one may stand in the list
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
		v.line(done[v.stages].Stage, "%s", timeWords(done[v.stages].Seconds))
	}
}

func (v *lineView) close() {}

func countWords(p step.Progress) string { return fmt.Sprintf("%d of %d", p.Done, p.Total) }

func trainWords(t step.TrainProgress) string {
	return fmt.Sprintf("loss D %.3f+%.3f G %.3f, D(x) %.2f, D(G(z)) %.2f, %.1f images/s",
		t.LossReal, t.LossFake, t.LossG, t.DReal, t.DFake, t.ImagesPerSecond)
}

// timeWords rounds a number of seconds to what a person reads.
func timeWords(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < 24*time.Hour:
		return d.Round(time.Second).String()
	}
	return d.Round(time.Minute).String()
}
