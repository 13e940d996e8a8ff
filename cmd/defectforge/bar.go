package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/defectforge/defectforge/activities/step"
)

// barView keeps a bar of training below the lines, and the stage's name where
// nothing can be counted. Its line never wraps: it could not be wiped then.
type barView struct {
	lines  *lineView
	screen *screen
	width  func() int // of the terminal, in columns
	bar    *progressbar.ProgressBar
	steps  int64
	wide   int // columns of the bar
	drawn  string
}

type bottom struct{ s *screen }

func (b bottom) Write(raw []byte) (int, error) { return b.s.progress(raw) }

func (v *barView) update(s snapshot) {
	v.lines.update(s)
	if s.train != nil {
		v.draw(*s.train)
		return
	}
	if step.Together(s.stage, step.Train.String()) && v.bar != nil {
		return // between two legs
	}
	v.drop()
	if s.stage == "" || s.stage == step.Done {
		return
	}
	words := step.Title(s.stage)
	if c := s.counted; c != nil && c.Total > 0 {
		words += fmt.Sprintf(" %d/%d", c.Done, c.Total)
	}
	if words = fit([]string{words + "..."}, v.width()-1); words != v.drawn {
		v.drawn = words
		fmt.Fprint(bottom{v.screen}, wipeLine, words)
	}
}

const (
	// barFrame is what percent, frame and spaces of a bar take, in columns.
	barFrame = 12
	// wideScreen has room for a long bar and all words.
	wideScreen = 100
	// narrowScreen has none for a bar.
	narrowScreen = 30
)

func (v *barView) draw(t step.TrainProgress) {
	v.drawn = ""
	columns := v.width()
	if columns < narrowScreen {
		v.bar = nil
		fmt.Fprint(bottom{v.screen}, wipeLine, fit(trainParts(t, false), columns-1))
		return
	}
	wide := 6
	if columns >= wideScreen {
		wide = 20
	}
	words := fit(trainParts(t, columns >= wideScreen), columns-wide-barFrame)
	if v.bar == nil || v.steps != t.Steps || v.wide != wide {
		v.steps, v.wide = t.Steps, wide
		v.bar = progressbar.NewOptions64(t.Steps,
			progressbar.OptionSetWriter(bottom{v.screen}), progressbar.OptionSetWidth(wide), progressbar.OptionUseANSICodes(true),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetDescription(words), progressbar.OptionShowDescriptionAtLineEnd())
	} else {
		v.bar.Describe(words)
	}
	_ = v.bar.Set64(t.Step) // only drawing
}

// trainParts says how a training stands, what matters most first.
func trainParts(t step.TrainProgress, long bool) []string {
	return []string{
		fmt.Sprintf("%s%d/%d", either(long, "train, epoch ", "train "), t.Epoch, t.Epochs),
		timeWords(t.SecondsLeft) + " left",
		fmt.Sprintf("%.0f images/s", t.ImagesPerSecond),
		fmt.Sprintf("loss D %.2f+%.2f G %.2f", t.LossReal, t.LossFake, t.LossG),
		fmt.Sprintf("D(x) %.2f, D(G(z)) %.2f", t.DReal, t.DFake),
	}
}

// fit joins as many parts, from the first on, as room columns hold. A first one
// that is too long is cut.
func fit(parts []string, room int) string {
	out := parts[0][:max(0, min(len(parts[0]), room))]
	for _, part := range parts[1:] {
		if len(out)+2+len(part) > room {
			break
		}
		out += ", " + part
	}
	return strings.TrimRight(out, " ")
}

// columns is the terminal's width.
func (s *screen) columns() int {
	if f, ok := s.w.(*os.File); ok {
		if wide, _, err := term.GetSize(int(f.Fd())); err == nil && wide > 0 {
			return wide
		}
	}
	return 120
}

func (v *barView) drop() {
	if v.bar != nil {
		v.bar = nil
		_, _ = v.screen.Write(nil) // wipes it
	}
}

func (v *barView) close() {
	v.bar, v.drawn = nil, ""
	_, _ = v.screen.Write(nil)
}

// drawable reports whether f can show a line that is drawn over: a terminal that
// knows how to, and not one that a build server only pretends to have.
func drawable(f *os.File, env func(string) string) bool {
	return term.IsTerminal(int(f.Fd())) && env("TERM") != "dumb" && env("CI") == ""
}
