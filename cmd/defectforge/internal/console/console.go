// Package console is the terminal of a command: lines and the one object on
// standard output, words for people on standard error, and how the program ends.
// It knows nothing of what is shown.
package console

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// Console is where a command prints.
type Console struct {
	// Screen is standard error.
	Screen *Screen
	// Terminal says that the screen can show a line that is drawn over.
	Terminal bool
	// Paint colours words on standard output.
	Paint Paint

	stdout   io.Writer
	stderr   io.Writer
	paintErr Paint
	json     bool // one object is asked for
	yaml     bool // and it is YAML
	emitted  bool // it is out
}

// New makes a console that prints lines.
func New(stdout, stderr io.Writer) *Console {
	c := &Console{
		stdout: stdout, stderr: stderr, Screen: NewScreen(stderr),
		Paint: paintOf(stdout, os.Getenv), paintErr: paintOf(stderr, os.Getenv),
	}
	if f, ok := stderr.(*os.File); ok {
		c.Terminal = drawable(f, os.Getenv)
	}
	return c
}

// Attach makes a command and those below it print here what Cobra itself prints.
func (c *Console) Attach(cmd *cobra.Command) {
	cmd.SetOut(c.stdout)
	cmd.SetErr(c.stderr)
}

// Say prints a line for people on standard error.
func (c *Console) Say(format string, args ...any) { fmt.Fprintf(c.Screen, format+"\n", args...) }

// Print prints a line of a command's output, unless one object was asked for.
func (c *Console) Print(format string, args ...any) {
	if !c.JSON() {
		fmt.Fprintf(c.stdout, format+"\n", args...)
	}
}

// Table prints what fill writes, its columns, which tabs part, aligned. What
// names the table in an error.
func (c *Console) Table(what string, fill func(w io.Writer)) error {
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fill(w)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", what, err)
	}
	return nil
}

// Report prints the error that ends the program, nil for none. Where one object
// was asked for and none is out, the error becomes that object.
func (c *Console) Report(err error) {
	if err == nil {
		return
	}
	if s := (*StatusError)(nil); errors.As(err, &s) && s.Err == nil {
		return
	}
	if c.JSON() && !c.emitted {
		_ = c.Emit(struct {
			Error string `json:"error"`
		}{err.Error()})
	}
	c.Say("%s %s", c.paintErr.red("error:"), strings.TrimSpace(err.Error()))
}
