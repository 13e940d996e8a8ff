package console

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// Screen is standard error, shared by log lines and a progress line at its
// bottom, which is wiped before anything else is written.
type Screen struct {
	mu    sync.Mutex
	w     io.Writer
	dirty bool // a progress line stands there
}

// NewScreen makes a screen of w.
func NewScreen(w io.Writer) *Screen { return &Screen{w: w} }

// WipeLine goes back to the beginning of a terminal's line and empties it.
const WipeLine = "\r\x1b[2K"

// Write writes lines, after wiping the progress line.
func (s *Screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dirty {
		s.dirty = false
		if _, err := io.WriteString(s.w, WipeLine); err != nil {
			return 0, err
		}
	}
	return s.w.Write(b)
}

func (s *Screen) wipe() { _, _ = s.Write(nil) }

// Bottom draws over the progress line.
func (s *Screen) Bottom() io.Writer { return bottom{s} }

type bottom struct{ s *Screen }

func (b bottom) Write(raw []byte) (int, error) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.dirty = true
	return b.s.w.Write(raw)
}

// unknownWidth is assumed where a screen does not say how wide it is.
const unknownWidth = 120

// Columns is the terminal's width.
func (s *Screen) Columns() int {
	if f, ok := s.w.(*os.File); ok {
		if wide, _, err := term.GetSize(int(f.Fd())); err == nil && wide > 0 {
			return wide
		}
	}
	return unknownWidth
}

// drawable reports whether f can show a line that is drawn over: a terminal that
// knows how to, and not one that a build server only pretends to have.
func drawable(f *os.File, env func(string) string) bool {
	return term.IsTerminal(int(f.Fd())) && env("TERM") != "dumb" && env("CI") == ""
}
