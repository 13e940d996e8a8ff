package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/workflows"
)

func TestLinesInAPipe(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	v := &lineView{out: &out, now: func() time.Time { return now }, every: 15 * time.Second, attempts: map[string]int32{}}
	lines := func() []string {
		defer out.Reset()
		return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	}
	v.Update(client.Snapshot{Stage: "Ingest", Status: workflows.Status{Stage: "Ingest"}})
	assert.Equal(t, []string{""}, lines(), "nothing has ended yet")

	done := []step.StageTime{{Stage: "Ingest", Seconds: 1.26}, {Stage: "Preprocess", Seconds: 65}}
	v.Update(client.Snapshot{Stage: "Train", Attempt: 1, Status: workflows.Status{Stage: "Train", Epochs: 10, StagesDone: done}})
	assert.Equal(t, []string{"ingest           1.3s", "preprocess       1m5s"}, lines())

	train := step.TrainProgress{Epoch: 1, Epochs: 10, Step: 3, Steps: 40, LossReal: .5, LossFake: .25, LossG: 2, DReal: .75, DFake: .125, ImagesPerSecond: 31.25, SecondsLeft: 90}
	at := func(seconds int, change func(*client.Snapshot)) {
		now = time.Unix(1000+int64(seconds), 0)
		s := client.Snapshot{Stage: "Train", Attempt: 1, Train: &train, Status: workflows.Status{Stage: "Train", Epochs: 10, StagesDone: done}}
		change(&s)
		v.Update(s)
	}
	same := func(*client.Snapshot) {}
	at(1, same)
	first := lines()
	assert.Equal(t, []string{"train            epoch 1 of 10, step 3 of 40, loss D 0.500+0.250 G 2.000, D(x) 0.75, D(G(z)) 0.12, 31.2 images/s, 1m30s left"}, first)
	at(10, same)
	assert.Equal(t, []string{""}, lines(), "not before 15 s")
	at(16, same)
	assert.Len(t, lines(), 1)

	train.Epoch = 5
	at(17, func(s *client.Snapshot) {
		s.Status.Epoch = 5
		s.Status.StagesDone = append(done, step.StageTime{Stage: "Train", Seconds: 9})
	})
	got := lines()
	assert.Len(t, got, 1, "a leg has ended, training has not")
	assert.Contains(t, got[0], "epoch 5 of 10 done, loss")

	at(18, func(s *client.Snapshot) { s.Attempt, s.Failure, s.Status.Epoch = 2, "worker stops", 5 })
	assert.Equal(t, []string{"train            attempt 2, after: worker stops"}, lines())
	at(19, func(s *client.Snapshot) { s.Attempt, s.Failure, s.Status.Epoch = 2, "worker stops", 5 })
	assert.Equal(t, []string{""}, lines(), "said once")

	v.Update(client.Snapshot{Status: workflows.Status{Stage: "Done", Epoch: 10, Epochs: 10, StagesDone: append(done, step.StageTime{Stage: "Train", Seconds: 30}, step.StageTime{Stage: "Sample", Seconds: 2})}})
	got = lines()
	assert.Equal(t, "train            epoch 10 of 10 done", got[0], "the last losses seen are of epoch 5")
	assert.Equal(t, []string{"train            30s", "sample           2s"}, got[1:])
}

// Evaluations and rollbacks are shown once each; training and its evaluations end
// together.
func TestLinesOfAWatchedTraining(t *testing.T) {
	var out bytes.Buffer
	v := &lineView{out: &out, now: func() time.Time { return time.Unix(1000, 0) }, every: 15 * time.Second, attempts: map[string]int32{}}
	show := func(s workflows.Status) []string {
		v.Update(client.Snapshot{Stage: s.Stage, Status: s})
		defer out.Reset()
		return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	}
	times := []step.StageTime{{Stage: "Ingest", Seconds: 1}, {Stage: "Train", Seconds: 9}, {Stage: "Evaluate", Seconds: 2}}
	one := step.Evaluation{Epoch: 4, KID: 1, Spread: 0.8}
	s := workflows.Status{Stage: "Train", Epochs: 8, Epoch: 4, StagesDone: times, Evaluations: 1, Evaluation: &one, Best: &one}
	assert.Equal(t, []string{
		"train            epoch 4 of 8 done", "evaluate         epoch 4: KID 1.000 of the first, spread 0.80; best is epoch 4 with 1.000", "ingest           1s",
	}, show(s))
	s.Stage = "Evaluate"
	assert.Equal(t, []string{""}, show(s), "neither has ended")
	s.Warning = "most of it is cut away"
	assert.Equal(t, []string{"ingest           warning: most of it is cut away"}, show(s))
	assert.Equal(t, []string{""}, show(s), "once")
	s.Stage, s.Rollbacks = "Train", []step.Rollback{{Alarm: step.Alarm{Reason: "D won"}, ToEpoch: 4, DiscriminatorScale: 0.5}}
	assert.Equal(t, []string{"train            D won; back to epoch 4 with 0.5 of the discriminator's rate"}, show(s))
	assert.Equal(t, []string{""}, show(s))
	s.Stage = "Choose"
	assert.Equal(t, []string{"train            9s", "evaluate         2s"}, show(s))

	deadline := time.Date(2026, 3, 4, 5, 6, 7, 0, time.Local)
	s = workflows.Status{Stage: step.AwaitApproval, Epoch: 8, Epochs: 8, StagesDone: times, Deadline: &deadline}
	got := show(s)
	assert.Equal(t, "approval         waiting until 2026-03-04 05:06:07; decide with `defectforge runs approve` or `runs reject`", got[len(got)-1])
	assert.Equal(t, []string{""}, show(s))
	s.Notice = "the webhook was told"
	assert.Contains(t, show(s)[0], "; the webhook was told")
}

func TestLinesOfAComparison(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	v := &lineView{out: &out, now: func() time.Time { return now }, every: 15 * time.Second, attempts: map[string]int32{}}
	show := func(done int, s workflows.Status) string {
		s.Stage = "Utility"
		v.Update(client.Snapshot{Stage: "Utility", Counted: &step.Progress{Done: done, Total: 30}, Status: s})
		defer out.Reset()
		return out.String()
	}
	assert.Equal(t, "compare classifiers 2 of 30\n", show(2, workflows.Status{}))
	now = now.Add(10 * time.Second)
	assert.Empty(t, show(3, workflows.Status{}), "not before 15 s")
	now = now.Add(10 * time.Second)
	assert.Equal(t, "compare classifiers 4 of 30\n", show(4, workflows.Status{}))
	helped := workflows.Status{Utility: &step.UtilityResult{Done: true, Summary: "the set helps: by much"}}
	assert.Equal(t, "compare classifiers the set helps: by much\n", show(30, helped))
	assert.Empty(t, show(30, helped), "said once")
}

// A log line wipes the bar below it and stays whole.
func TestBarAndLogLinesShareTheScreen(t *testing.T) {
	var out bytes.Buffer
	s := console.NewScreen(&out)
	v := &barView{bar: console.NewBar(s, s.Columns), lines: &lineView{out: s, now: time.Now, attempts: map[string]int32{}}}
	v.Update(client.Snapshot{Stage: "Train", Attempt: 1, Train: &step.TrainProgress{Epoch: 1, Epochs: 2, Step: 1, Steps: 4}, Status: workflows.Status{Stage: "Train"}})
	assert.Contains(t, out.String(), "epoch 1/2")
	out.Reset()
	_, err := s.Write([]byte("a log line\n"))
	assert.NoError(t, err)
	assert.Equal(t, console.WipeLine+"a log line\n", out.String())
	out.Reset()
	_, err = s.Write([]byte("another\n"))
	assert.NoError(t, err)
	assert.Equal(t, "another\n", out.String())

	out.Reset()
	v.Update(client.Snapshot{Stage: "Train", Attempt: 1, Status: workflows.Status{Stage: "Train"}})
	assert.Empty(t, out.String(), "between two legs the bar stays")
	v.Update(client.Snapshot{Stage: "Sample", Attempt: 1, Status: workflows.Status{Stage: "Sample"}})
	assert.Contains(t, out.String(), "sample...")
	v.Close()
}

// At every width the line stays within the terminal, and what matters most is
// what stays on it.
func TestBarFitsEveryTerminal(t *testing.T) {
	train := step.TrainProgress{
		Epoch: 12, Epochs: 128, Step: 240, Steps: 2560, LossReal: 0.51, LossFake: 0.25, LossG: 12.25, DReal: 0.75, DFake: 0.12, ImagesPerSecond: 31.4, SecondsLeft: 4000,
	}
	for columns, want := range map[int]string{
		130: "train, epoch 12/128, 1h6m40s left, 31 images/s, loss D 0.51+0.25 G 12.25, D(x) 0.75, D(G(z)) 0.12",
		110: "train, epoch 12/128, 1h6m40s left, 31 images/s, loss D 0.51+0.25 G 12.25",
		84:  "train 12/128, 1h6m40s left, 31 images/s, loss D 0.51+0.25 G 12.25",
		60:  "train 12/128, 1h6m40s left, 31 images/s",
		40:  "train 12/128",
		20:  "train 12/128",
		8:   "train 1",
	} {
		var out bytes.Buffer
		s := console.NewScreen(&out)
		v := &barView{
			bar:   console.NewBar(s, func() int { return columns }),
			lines: &lineView{out: s, now: time.Now, attempts: map[string]int32{}},
		}
		for _, stage := range []string{"Ingest", "Train", "Train", "Sample"} {
			now := client.Snapshot{Stage: stage, Attempt: 1, Status: workflows.Status{Stage: stage}}
			if stage == "Train" {
				now.Train = &train
				train.Step++
			} else {
				now.Counted = &step.Progress{Done: 12, Total: 300}
			}
			v.Update(now)
		}
		assert.Contains(t, out.String(), want, "%d columns", columns)
		assert.Equal(t, columns >= 30, strings.Contains(out.String(), "|"), "a bar on %d columns", columns)
		for line := range strings.FieldsFuncSeq(strings.NewReplacer("\x1b[2K", "\r", "\x1b[0K", "").Replace(out.String()), func(r rune) bool { return r == '\r' || r == '\n' }) {
			assert.Less(t, utf8.RuneCountInString(line), columns, "%d columns: %q", columns, line)
		}
		if columns > 20 {
			assert.Contains(t, out.String(), "ingest 12/300...")
		}
	}
}

// A bar is for terminals alone.
func TestNoBarWithoutATerminal(t *testing.T) {
	c := console.New(&bytes.Buffer{}, &bytes.Buffer{})
	assert.IsType(t, &lineView{}, Run(c))
	assert.Nil(t, Campaign(c).(*campaignView).bar)
	c.Terminal = true
	assert.IsType(t, &barView{}, Run(c))
	assert.NotNil(t, Campaign(c).(*campaignView).bar)
}
