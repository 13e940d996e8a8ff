package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// tracked lists the repository's files that match a pattern of git, relative to root.
func tracked(t *testing.T, patterns ...string) []string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"}, patterns...)...)
	cmd.Dir = root
	out, err := cmd.Output()
	require.NoError(t, err)
	files := strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
	require.NotEmpty(t, files, patterns)
	return files
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	// aside is what GitHub drops from a heading to make its anchor.
	aside = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the places in a page that a link may name.
func anchors(page []byte) map[string]bool {
	out := map[string]bool{}
	for _, m := range heading.FindAllSubmatch(page, -1) {
		text := aside.ReplaceAllString(strings.ToLower(string(m[1])), "")
		out[strings.ReplaceAll(text, " ", "-")] = true
	}
	return out
}

// broken lists the links of a page, by its path below dir, that lead nowhere. Links
// to other sites are not followed.
func broken(dir, page string, text []byte) []string {
	var out []string
	for _, m := range link.FindAllSubmatch(text, -1) {
		target := string(m[1])
		if strings.Contains(target, "://") {
			continue
		}
		name, anchor, _ := strings.Cut(target, "#")
		to, file := text, page
		if name != "" {
			file = filepath.Join(filepath.Dir(page), filepath.FromSlash(name))
			info, err := os.Stat(filepath.Join(dir, file))
			switch {
			case err != nil || !filepath.IsLocal(file):
				out = append(out, fmt.Sprintf("%s links to %s, which is not there", page, target))
				continue
			case info.IsDir():
				continue
			}
			if to, err = os.ReadFile(filepath.Join(dir, file)); err != nil {
				out = append(out, err.Error())
				continue
			}
		}
		if anchor != "" && !anchors(to)[anchor] {
			out = append(out, fmt.Sprintf("%s links to %s, but %s has no such heading", page, target, file))
		}
	}
	return out
}

// Every link of every page leads to a file, a folder or a heading that is there.
func TestLinksOfPages(t *testing.T) {
	for _, page := range tracked(t, "*.md") {
		text, err := os.ReadFile(filepath.Join(root, page))
		require.NoError(t, err)
		for _, problem := range broken(root, page, text) {
			t.Error(problem)
		}
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.md"), []byte("# What's `here`, now\n"), 0o600))
	for text, problems := range map[string]int{
		"[a](a.md) [it](a.md#whats-here-now) [own](#own) [web](https://example.com/x)\n## Own": 0,
		"[gone](b.md)":         1,
		"[a](a.md#elsewhere)":  1,
		"[own](#own)":          1,
		"[outside](../../x)":   1,
		"![gone](picture.png)": 1,
	} {
		require.Len(t, broken(dir, "page.md", []byte(text)), problems, text)
	}
}

// Every switch that changes which tests run, or against what, is explained.
func TestSwitchesOfTestsAreExplained(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	require.NoError(t, err)
	name := regexp.MustCompile(`DEFECTFORGE_(TEST|REQUIRE)_[A-Z0-9_]+`)
	for _, file := range tracked(t, "*_test.go", "storage/storagetest/*.go", ".ci/run") {
		text, err := os.ReadFile(filepath.Join(root, file))
		if os.IsNotExist(err) {
			continue // deleted, and not yet committed
		}
		require.NoError(t, err)
		for _, variable := range name.FindAll(text, -1) {
			short := regexp.MustCompile(`_(ACCESS_KEY|SECRET_KEY|CHILD)$`).ReplaceAll(variable, nil)
			short = bytes.TrimSuffix(short, []byte("_TEST_S3"))
			if !bytes.Contains(page, short) {
				t.Errorf("%s reads %s, which CONTRIBUTING.md does not explain", file, variable)
			}
		}
	}
}
