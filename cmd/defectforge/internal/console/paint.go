package console

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Paint colours words on a terminal and leaves them alone elsewhere. The codes
// of every colour take equally many bytes, so that columns of a table stay
// straight where a whole column is painted, its head with Plain.
type Paint bool

// paintOf paints where w shows colours: it is a terminal, and nobody asked for
// none (https://no-color.org).
func paintOf(w io.Writer, env func(string) string) Paint {
	f, ok := w.(*os.File)
	return Paint(ok && env("NO_COLOR") == "" && env("TERM") != "dumb" && term.IsTerminal(int(f.Fd())))
}

func (p Paint) wrap(code, text string) string {
	if !p {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Plain leaves a text its colour, and makes it as long as a painted one.
func (p Paint) Plain(text string) string { return p.wrap("39", text) }

func (p Paint) red(text string) string { return p.wrap("31", text) }

// states are the colours of words that say how something stands: green for
// good, red for bad, yellow for what is under way or undecided.
var states = map[string]string{
	"completed": "32", "pass": "32", "ok": "32",
	"failed": "31", "fail": "31", "timedout": "31", "terminated": "31",
	"running": "33", "inconclusive": "33", "warn": "33", "canceled": "33",
}

// State paints a word by what it says.
func (p Paint) State(word string) string {
	code, ok := states[strings.TrimSpace(word)]
	if !ok {
		code = "39"
	}
	return p.wrap(code, word)
}
