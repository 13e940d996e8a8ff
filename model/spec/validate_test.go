package spec

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBuiltInRecipesAreValid(t *testing.T) {
	for _, name := range Names() {
		r, err := Named(name)
		require.NoError(t, err)
		assert.Equal(t, name, r.Name)
		assert.NoError(t, r.Validate())
	}
}

// Each testdata/*.bad.json changes the classic recipe so that it breaks one
// rule, and says what the message must contain.
func TestBadRecipes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 30)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			var c struct {
				Want   string
				Change json.RawMessage
			}
			require.NoError(t, json.Unmarshal(raw, &c))
			r := Classic()
			require.NoError(t, json.Unmarshal(c.Change, &r))
			err = r.Validate()
			require.Error(t, err)
			assert.Contains(t, err.Error(), c.Want)
			assert.Equal(t, 1, strings.Count(err.Error(), "\n")+1, "one rule is broken, so there is one message: %v", err)
		})
	}
}

func TestNotANumberIsInNoRange(t *testing.T) {
	nan := math.NaN()
	r := Classic()
	r.Ingest.HoldoutShare, r.Train.GeneratorRate, r.Train.DiscriminatorRate = nan, nan, nan
	r.Train.Beta1, r.Train.Beta2, r.Train.LeCam = nan, nan, nan
	err := r.Validate()
	require.Error(t, err)
	assert.Equal(t, 6, strings.Count(err.Error(), "NaN"), "%v", err)
}

func TestAllProblemsAtOnce(t *testing.T) {
	err := Recipe{}.Validate()
	require.Error(t, err)
	for _, field := range []string{"name", "ingest.max_bytes", "model.latent", "train.batch", "sample.count", "overfit.neighbours"} {
		assert.Contains(t, err.Error(), field+": ")
	}
}

func TestBuiltInPoliciesAreValid(t *testing.T) {
	for _, name := range PolicyNames() {
		p, err := NamedPolicy(name)
		require.NoError(t, err)
		assert.Equal(t, name, p.Name)
		assert.NoError(t, p.Validate())
	}
}

func TestBadPolicies(t *testing.T) {
	low, high, nan := 0.2, 0.1, math.NaN()
	for want, change := range map[string]func(*Policy){
		`name: "A": use 1 to 63`:                         func(p *Policy) { p.Name = "A" },
		`scope: "": say in words`:                        func(p *Policy) { p.Scope = " " },
		`rules: []: give at least one`:                   func(p *Policy) { p.Rules = nil },
		`approval: "maybe": choose one of auto, person`:  func(p *Policy) { p.Approval = "maybe" },
		`deadline_hours: 0: must be within`:              func(p *Policy) { p.Approval, p.DeadlineHours = ApprovePerson, 0 },
		`rules[0].measure: "fid": choose one of`:         func(p *Policy) { p.Rules[0].Measure = "fid" },
		`rules[0]: real_images: has no bound`:            func(p *Policy) { p.Rules[0].Min = nil },
		`rules[0].max: NaN: must be a finite`:            func(p *Policy) { p.Rules[0].Max = &nan },
		`rules[0].min: 0.2: above max (0.1)`:             func(p *Policy) { p.Rules[0].Min, p.Rules[0].Max = &low, &high },
		`rules[0].otherwise: "pass": choose one of fail`: func(p *Policy) { p.Rules[0].Otherwise = "pass" },
		`rules[1].measure: "real_images": stands twice`:  func(p *Policy) { p.Rules[1].Measure = MeasureRealImages },
	} {
		p := CopyingPolicy()
		change(&p)
		err := p.Validate()
		require.Error(t, err, want)
		assert.Contains(t, err.Error(), want)
		assert.Equal(t, 1, strings.Count(err.Error(), "\n")+1, "one rule is broken, so there is one message: %v", err)
	}
}

func TestValidName(t *testing.T) {
	for _, name := range []string{"a", "0", "rolled-in_scale", strings.Repeat("x", MaxName)} {
		assert.True(t, ValidName(name), name)
	}
	for _, name := range []string{"", "-a", "_a", "A", "a b", "a/b", "a.b", "ä", "a\n", strings.Repeat("x", MaxName+1)} {
		assert.False(t, ValidName(name), name)
	}
	assert.Contains(t, NameRule, "63")
}
