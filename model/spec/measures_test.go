package spec

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMeasuresAreDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Measures() {
		assert.False(t, seen[m.Name], "%s is entered twice", m.Name)
		seen[m.Name] = true
		assert.NotEmpty(t, m.Label, m.Name)
		assert.NotEmpty(t, m.Meaning, m.Name)
		assert.Equal(t, m, MeasureNamed(m.Name))
	}
	assert.Equal(t, Measure{Name: "fid", Label: "fid", Meaning: "fid"}, MeasureNamed("fid"), "of another version")
}

// A rule on the wrong side of a measure would refuse what is good.
func TestBuiltInPoliciesBoundTheSideThatMatters(t *testing.T) {
	for _, name := range PolicyNames() {
		p, err := NamedPolicy(name)
		assert.NoError(t, err)
		for _, r := range p.Rules {
			if MeasureNamed(r.Measure).HigherIsBetter {
				assert.Nil(t, r.Max, "%s: %s", name, r.Measure)
			} else {
				assert.Nil(t, r.Min, "%s: %s", name, r.Measure)
			}
		}
	}
}

func TestUnits(t *testing.T) {
	assert.Equal(t, "9.0%", MeasureNamed(MeasureTailShare).Unit.Format(0.09))
	assert.Equal(t, "100.0%", MeasureNamed(MeasureCompared).Unit.Format(1))
	assert.Equal(t, "4.2%", MeasureNamed(MeasureTransformed).Unit.Format(0.0417))
	assert.Equal(t, "240", MeasureNamed(MeasureAccepted).Unit.Format(240))
	assert.Equal(t, "-2.33", MeasureNamed(MeasureCopyZ).Unit.Format(-2.33))
	assert.Equal(t, "0.123", MeasureNamed("fid").Unit.Format(0.12345))
}
