package quality

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

// fine are measures that every built-in policy passes.
func fine() Measures {
	var m Measures
	for name, v := range map[string]float64{
		spec.MeasureRealImages: 300, spec.MeasureHoldoutImages: 60, spec.MeasureCompared: 1, spec.MeasureAccepted: 230,
		spec.MeasureTailShare: 0.05, spec.MeasureTransformed: 0.05, spec.MeasureDisguised: 0, spec.MeasureCopyZ: 0, spec.MeasureRepeated: 0,
		spec.MeasureWithin: 0.01, spec.MeasureMSSSIMExcess: 0, spec.MeasureCoverage: 0.95, spec.MeasureDensity: 1,
		spec.MeasureSWDRatio: 1.2, spec.MeasureHistogramRatio: 1, spec.MeasureColourRatio: 1, spec.MeasureUtilityGain: 0.01,
	} {
		m.Set(name, v)
	}
	return m
}

func TestDecide(t *testing.T) {
	for _, name := range spec.PolicyNames() {
		policy, err := spec.NamedPolicy(name)
		require.NoError(t, err)
		verdict, rules := Decide(policy, fine())
		require.Equal(t, spec.Pass, verdict, "%+v", rules)
		for i, r := range policy.Rules {
			require.Equal(t, r.Measure, rules[i].Name)
			require.NotEmpty(t, rules[i].Reason)

			// Each rule alone: missing, no number, and beyond its bound.
			missing := fine()
			delete(missing.Taken, r.Measure)
			verdict, _ = Decide(policy, missing)
			require.Equal(t, spec.Inconclusive, verdict, r.Measure)

			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				m := fine()
				m.Taken[r.Measure] = Measure{Value: bad}
				verdict, _ = Decide(policy, m)
				require.Equal(t, spec.Inconclusive, verdict, "%s %v", r.Measure, bad)
			}
			beyond := fine()
			if r.Min != nil {
				beyond.Set(r.Measure, *r.Min-0.001)
			} else {
				beyond.Set(r.Measure, *r.Max+0.001)
			}
			want := spec.Fail
			if r.Otherwise == spec.Inconclusive {
				want = spec.Inconclusive
			}
			verdict, rules = Decide(policy, beyond)
			require.Equal(t, want, verdict, r.Measure)
			require.Equal(t, want, rules[i].Outcome)
		}
	}
	verdict, rules := Decide(spec.ProductionPolicy(), Measures{})
	require.Equal(t, spec.Inconclusive, verdict)
	for _, r := range rules {
		require.Equal(t, spec.Inconclusive, r.Outcome)
	}
	verdict, _ = Decide(spec.Policy{}, fine())
	require.Equal(t, spec.Inconclusive, verdict, "no rules")
}

func TestDecideBoundsAndIntervals(t *testing.T) {
	low, high := 1.0, 2.0
	policy := spec.Policy{Rules: []spec.Rule{{Measure: spec.MeasureDensity, Min: &low, Max: &high}, {Measure: spec.MeasureSWDRatio, Max: &high}}}
	for _, tt := range []struct {
		value, from, to float64
		outcome, side   string
	}{
		{1, 1, 1, spec.Pass, "min"}, {2, 2, 2, spec.Pass, "max"}, {0.9, 0.9, 0.9, spec.Fail, "min"}, {2.1, 2.1, 2.1, spec.Fail, "max"},
		{2.1, 1.9, 2.4, spec.Pass, "max"}, {2.3, 2.1, 2.4, spec.Fail, "max"}, {0.9, 0.5, 1.1, spec.Pass, "min"}, {0.8, 0.5, 0.9, spec.Fail, "min"},
	} {
		m := fine()
		m.set(spec.MeasureDensity, tt.value, tt.from, tt.to, 1)
		_, rules := Decide(policy, m)
		require.Equal(t, tt.outcome, rules[0].Outcome, "%+v", tt)
		require.Equal(t, tt.side, rules[0].Side, "%+v", tt)
		require.Contains(t, rules[0].Reason, "real against real images: 1")
	}
	// A failure outweighs doubt.
	m := fine()
	delete(m.Taken, spec.MeasureDensity)
	m.Set(spec.MeasureSWDRatio, 5)
	verdict, _ := Decide(policy, m)
	require.Equal(t, spec.Fail, verdict)
}
