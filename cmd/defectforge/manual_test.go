package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// pages are what people read about the program's commands.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../deploy/docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	out := map[string]string{}
	for _, file := range append(files, "../../README.md", "../../CONTRIBUTING.md") {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		out[filepath.Base(file)] = string(raw)
	}
	return out
}

var inline = regexp.MustCompile("`([^`\n]+)`")

// mentioned are a page's command lines: whole ones, which stand in blocks, and
// those in the text, which may lack the program's name and arguments.
func mentioned(page string) (blocks, inText []string) {
	for line := range strings.Lines(strings.ReplaceAll(page, "\\\n", "")) {
		code, indented := strings.CutPrefix(line, "    ")
		code, _, _ = strings.Cut(strings.TrimSpace(code), " #")
		code = strings.TrimPrefix(code, "go run ./cmd/")
		if indented && strings.HasPrefix(code, "defectforge ") {
			blocks = append(blocks, strings.ReplaceAll(code, "$n", "10"))
		}
	}
	for _, m := range inline.FindAllStringSubmatch(page, -1) {
		inText = append(inText, strings.TrimPrefix(m[1], "defectforge "))
	}
	return blocks, inText
}

// refused says why a command line is none of ours, nil if it is one. What is
// mentioned in a text need not be complete.
func refused(args []string, complete bool) error {
	root := rootCommand(newApp(&bytes.Buffer{}, &bytes.Buffer{}))
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	err = c.ParseFlags(rest)
	if without := (*pflag.ValueRequiredError)(nil); !complete && errors.As(err, &without) {
		return nil
	}
	if err != nil {
		return err
	}
	if words := c.Flags().Args(); c.HasSubCommands() && len(words) > 0 {
		return fmt.Errorf("%s has no command %s", c.CommandPath(), words[0])
	}
	if !complete {
		return nil
	}
	if err := c.ValidateArgs(c.Flags().Args()); err != nil {
		return err
	}
	if err := c.ValidateRequiredFlags(); err != nil {
		return err
	}
	return c.ValidateFlagGroups()
}

// Every command that the manual shows is one, with flags and arguments that it takes.
func TestManualShowsCommands(t *testing.T) {
	shown, ours := 0, rootCommand(newApp(&bytes.Buffer{}, &bytes.Buffer{})).Commands()
	for page, text := range pages(t) {
		blocks, inText := mentioned(text)
		shown += len(blocks)
		for _, line := range blocks {
			if err := refused(exampleArgs(line), true); err != nil {
				t.Errorf("%s: %s: %v", page, line, err)
			}
		}
		for _, code := range inText {
			args := exampleArgs("defectforge " + code)
			if len(args) < 2 || !slices.ContainsFunc(ours, func(c *cobra.Command) bool { return c.Name() == args[0] }) {
				continue
			}
			if err := refused(args, false); err != nil {
				t.Errorf("%s: %s: %v", page, code, err)
			}
		}
	}
	require.Greater(t, shown, 40)
}

// Every flag that the manual names is one of some command.
func TestManualNamesFlags(t *testing.T) {
	flags := map[string]bool{}
	commands(t, func(c *cobra.Command, _ string) {
		c.InheritedFlags().VisitAll(func(f *pflag.Flag) { flags[f.Name] = true })
		c.Flags().VisitAll(func(f *pflag.Flag) { flags[f.Name] = true })
	})
	for page, text := range pages(t) {
		if page == "CONTRIBUTING.md" { // it names those of other programs
			continue
		}
		for _, m := range inline.FindAllStringSubmatch(text, -1) {
			name, isFlag := strings.CutPrefix(m[1], "--")
			name, _, _ = strings.Cut(strings.Replace(name, " ", "=", 1), "=")
			if isFlag && !flags[name] {
				t.Errorf("%s: no command has the flag --%s", page, name)
			}
		}
	}
}

func TestRefusedCommandsOfTheManual(t *testing.T) {
	for line, complete := range map[string]bool{
		"runs lst": false, "run --image x": false, "schedule list --cron x": false,
		"cleanup now": true,
	} {
		require.Error(t, refused(exampleArgs("defectforge "+line), complete), line)
	}
	blocks, inText := mentioned("see `runs list`\n\n    go run ./cmd/defectforge run --images x \\\n        --class y # why\n    temporal worker defectforge --x\n")
	require.Equal(t, []string{"runs list"}, inText)
	require.Len(t, blocks, 1)
	require.Equal(t, []string{"run", "--images", "x", "--class", "y"}, exampleArgs(blocks[0]))
}
