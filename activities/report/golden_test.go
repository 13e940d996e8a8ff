package report

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden holds got against the file of that name in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "the bytes of %s have changed", name)
}

// The same data give the same page and the same JSON, to the byte: releases hold
// both, and are named by their content.
func TestReportKeepsItsBytes(t *testing.T) {
	d, _ := complete(t, 4)
	d.Training.Points = d.Training.Points[:4]
	d.Samples.Real = nil
	page, err := d.HTML(Pictures{})
	require.NoError(t, err)
	golden(t, "run.html.golden", page)
	for _, d := range []Data{d, d.ForRelease()} {
		twin, err := d.JSON()
		require.NoError(t, err)
		golden(t, d.Variant+".json.golden", twin)
	}
}

// Every stage whose result the report shows has its part of the page.
func TestEveryStageHasItsSection(t *testing.T) {
	d, pics := complete(t, 4)
	_, root := render(t, d, pics)
	for _, stage := range step.Stages() {
		if stage.Section != "" {
			require.Equal(t, "section", byID(t, root, stage.Section).Data, stage.Name)
		}
	}
	var linked []string
	for _, a := range tags(tags(root, "nav")[0], "a") {
		linked = append(linked, strings.TrimPrefix(attr(a, "href"), "#"))
	}
	for i, s := range sections {
		require.Equal(t, s.ID, linked[i], "the parts are linked in their order")
		byID(t, root, s.ID)
	}
}
