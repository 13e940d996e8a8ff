package report

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec/spectest"
)

func comparedRuns(t *testing.T) []Compared {
	t.Helper()
	a, _ := complete(t, 20)
	b, _ := complete(t, 20)
	r := spectest.Quick()
	r.Train.Epochs, r.Seed = 99, 7
	other, err := New(b.Class, r, r)
	require.NoError(t, err)
	b.Settings = other.Settings
	return []Compared{{Name: "first", Data: a}, {Name: "<b>second</b>", Data: b}}
}

func TestCompareShowsWhatDiffers(t *testing.T) {
	c, err := Compare(comparedRuns(t))
	require.NoError(t, err)
	differ := 0
	for i, s := range c.Settings {
		if !s.Same {
			require.Equal(t, differ, i, "what differs comes first")
			differ++
		}
	}
	require.NotZero(t, differ)
	require.Contains(t, c.Settings[:differ], Difference{Name: "train.epochs", Values: []string{valueOf(t, c.Runs[0].Data,
		"train.epochs"), "99"}})
	require.NotEmpty(t, c.Measures)
	for _, m := range c.Measures {
		require.True(t, m.Same, m.Name)
	}
	page, err := c.HTML()
	require.NoError(t, err)
	require.NotContains(t, string(page), "<b>second")
	require.Equal(t, 4, strings.Count(string(page), `<figure class="chart">`))
	require.NotRegexp(t, `(src|href)="?https?:`, string(page))
	again, err := c.HTML()
	require.NoError(t, err)
	require.Equal(t, page, again)
}

func valueOf(t *testing.T, d Data, name string) string {
	t.Helper()
	for _, s := range d.Settings {
		if s.Name == name {
			return s.Text()
		}
	}
	require.Fail(t, "no setting "+name)
	return ""
}

func TestCompareBoundsItsRuns(t *testing.T) {
	_, err := Compare(comparedRuns(t)[:1])
	require.ErrorContains(t, err, "2 to 6")
	_, err = Compare(make([]Compared, 7))
	require.ErrorContains(t, err, "2 to 6")
	c, err := Compare([]Compared{{Name: "a"}, {Name: "b"}})
	require.NoError(t, err)
	_, err = c.HTML()
	require.NoError(t, err, "runs that got nowhere can be compared too")
}
