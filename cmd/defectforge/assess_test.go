package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/model/picture"
)

// metalFolder writes drawn metal, one image of each index, as PNG files.
func metalFolder(t *testing.T, indices ...int) string {
	t.Helper()
	dir := t.TempDir()
	for _, i := range indices {
		var b bytes.Buffer
		require.NoError(t, png.Encode(&b, picture.BrushedMetal(3, i)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("m%03d.png", i)), b.Bytes(), 0o600))
	}
	return dir
}

func numbers(from, to int) []int {
	out := make([]int, 0, to-from)
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

func runAssess(t *testing.T, args ...string) (int, assessReport, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := execute(t.Context(), append([]string{"assess", "--json"}, args...), &stdout, &stderr)
	var report assessReport
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &report), "%s", stdout.String())
	return status, report, stdout.String() + stderr.String()
}

func TestAssessFolders(t *testing.T) {
	real := metalFolder(t, numbers(0, 120)...)
	policy := filepath.Join(t.TempDir(), "own.yaml")
	require.NoError(t, os.WriteFile(policy, []byte("rules:\n- {measure: tail_share, max: 0.09}\n- {measure: coverage, min: 0.3}\n"), 0o600))

	status, report, _ := runAssess(t, "--real", real, "--candidates", metalFolder(t, numbers(200, 230)...), "--policy", policy)
	require.Equal(t, console.ExitOK, status, "%+v", report.Rules)
	require.Equal(t, "pass", report.Verdict)
	require.Equal(t, "own", report.Policy)
	require.Equal(t, 120, report.Training+report.Holdout)
	require.Positive(t, report.Holdout, "held out without being asked")
	require.Contains(t, fmt.Sprint(report.Notes), "no --holdout was given")

	// Copies of real images beside a file that is no image.
	copies := metalFolder(t, numbers(0, 20)...)
	require.NoError(t, os.WriteFile(filepath.Join(copies, "notes.txt"), []byte("no image"), 0o600))
	status, report, _ = runAssess(t, "--real", real, "--candidates", copies, "--holdout", metalFolder(t, numbers(300, 320)...))
	require.Equal(t, console.ExitNotApproved, status)
	require.Equal(t, "fail", report.Verdict)
	require.Equal(t, 20, report.Holdout)
	require.Len(t, report.Rejected, 20)
	require.Equal(t, report.Rejected[7].Candidate, report.Rejected[7].Nearest)
	require.Zero(t, report.Rejected[7].Distance)
	require.Equal(t, 21, report.Candidates)
	require.Equal(t, "notes.txt", report.Unreadable[0].Name)
	for _, r := range report.Rules {
		if r.Name == "compared_share" {
			require.Equal(t, "inconclusive", r.Outcome, "a file that could not be judged")
		}
	}
}

func TestAssessUsage(t *testing.T) {
	real := metalFolder(t, numbers(0, 6)...)
	for _, args := range [][]string{
		{"--candidates", real},
		{"--real", real},
		{"--real", real, "--candidates", filepath.Join(real, "none")},
		{"--real", real, "--candidates", real, "--policy", "prodution"},
		{"--real", real, "--candidates", real, "--holdout", real},
		{"--real", metalFolder(t, 1), "--candidates", real},
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, console.ExitUsage, execute(t.Context(), append([]string{"assess"}, args...), &stdout, &stderr), "%v: %s", args, stderr.String())
	}
}
