package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/defectforge/defectforge/model/spec"
)

func TestPolicyByName(t *testing.T) {
	for _, name := range spec.PolicyNames() {
		p, err := Policy(name)
		require.NoError(t, err)
		require.Equal(t, name, p.Name)
	}
	_, err := Policy("prodution")
	require.ErrorContains(t, err, `did you mean "production"?`)
	_, err = Policy("missing.yaml")
	require.ErrorContains(t, err, "cannot be read")
}

func TestPolicyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "strict-set.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`
approval: person
deadline_hours: 24
rules:
  - {measure: tail_share, max: 0.07}
  - measure: real_images
    min: 200
    otherwise: inconclusive
`), 0o600))
	p, err := Policy(file)
	require.NoError(t, err)
	require.Equal(t, "strict-set", p.Name)
	require.Equal(t, spec.ApprovePerson, p.Approval)
	require.InDelta(t, 24, p.DeadlineHours, 0)
	require.Contains(t, p.Scope, "tail_share, real_images")
	require.Len(t, p.Rules, 2)
	require.InDelta(t, 0.07, *p.Rules[0].Max, 0)
	require.Nil(t, p.Rules[0].Min)
	require.Equal(t, spec.Inconclusive, p.Rules[1].Otherwise)

	// What is written out reads back the same.
	raw, err := yaml.Marshal(spec.ProductionPolicy())
	require.NoError(t, err)
	raw = []byte(strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(string(raw), "min: null", ""), "max: null", ""), `otherwise: ""`, ""))
	back, err := parsePolicy("x.yaml", raw)
	require.NoError(t, err)
	require.Equal(t, spec.ProductionPolicy(), back)
}

func TestPolicyFileExtends(t *testing.T) {
	p, err := parsePolicy("asking.yaml", []byte("extends: production\napproval: person\n"))
	require.NoError(t, err)
	want := spec.ProductionPolicy()
	require.Equal(t, want.Rules, p.Rules)
	require.Equal(t, want.Scope, p.Scope)
	require.Equal(t, "asking", p.Name)
	require.Equal(t, spec.ApprovePerson, p.Approval)
	require.InDelta(t, 72, p.DeadlineHours, 0)

	p, err = parsePolicy("strict.yaml", []byte("extends: copying\nname: strictest\nrules:\n- {measure: tail_share, max: 0.06}\n- {measure: coverage, min: 0.5}\n"))
	require.NoError(t, err)
	require.Equal(t, "strictest", p.Name)
	require.Len(t, p.Rules, len(spec.CopyingPolicy().Rules)+1)
	require.Contains(t, p.Scope, "coverage")
	found := 0
	for _, r := range p.Rules {
		if r.Measure == spec.MeasureTailShare {
			found++
			require.InDelta(t, 0.06, *r.Max, 0)
		}
	}
	require.Equal(t, 1, found, "rules about the measure")
	require.NotEqual(t, p.Rules, spec.CopyingPolicy().Rules, "the built-in policy itself stays")
}

// What is far too long is read no further, whatever it should be.
func TestFilesAreBounded(t *testing.T) {
	isolate(t)
	file := write(t, filepath.Join(t.TempDir(), "long.yaml"), strings.Repeat("#", maxFileBytes+1))
	_, err := Policy(file)
	require.ErrorContains(t, err, "long.yaml: more than 1048576 bytes; this is no policy")
	_, err = Recipe(file, nil)
	require.ErrorContains(t, err, "long.yaml: more than 1048576 bytes; this is no recipe")
	_, err = Load(flags(t, "--config", file))
	require.ErrorContains(t, err, "long.yaml: more than 1048576 bytes; this is no configuration")
	_, err = Recipe(write(t, filepath.Join(t.TempDir(), "full.yaml"), strings.Repeat("#", maxFileBytes)), nil)
	require.NoError(t, err)
}

// An anchor stands for what it names, in every kind of file.
func TestAnchors(t *testing.T) {
	p, err := parsePolicy("a.yaml", []byte("rules:\n- &r {measure: coverage, min: &n 0.5}\n- {measure: density, min: *n}\n"))
	require.NoError(t, err)
	require.InDelta(t, 0.5, *p.Rules[1].Min, 0)
	_, err = parsePolicy("a.yaml", []byte("rules:\n- &r {measure: coverage, min: 0.5}\n- *r\n"))
	require.ErrorContains(t, err, `"coverage": stands twice`)
}

func TestPolicyFileRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                            "is empty",
		"- a":                                         "is a section",
		"rules: 3":                                    "begin each rule with a hyphen",
		"rules: [3]":                                  "rules[0]: is a section",
		"rules:\n- {measure: [a], min: 1}":            `rules[0].measure: "" is not text`,
		"rules:\n- {min: 1, min: 2}":                  `bad.yaml:2: rules[0].min: given twice, first on line 2`,
		"rules: []":                                   "at least one rule",
		"rulez: []":                                   `bad.yaml:1: rulez: unknown key; did you mean "rules"?`,
		"rules:\n- {measure: coverage, mim: 1}":       `bad.yaml:2: rules[0].mim: unknown key; did you mean "min"?`,
		"rules:\n- {measure: coverage, min: a}":       `"a" is not a number`,
		"rules:\n- {measure: coverage, min: }":        `"" is not a number`,
		"rules:\n- {measure: covrage, min: 1}":        "covrage",
		"rules:\n- {measure: coverage}":               "has no bound",
		"name: a\nname: b":                            "given twice, first on line 1",
		"approval: maybe\nrules: []":                  "approval",
		"rules:\n- {measure: coverage, min: .nan}":    "finite",
		"rules: [" + strings.Repeat("{}, ", 65) + "]": "at most 64",
		"extends: copying\nrules:\n- {measure: tail_share, max: 0.05}\n- {measure: tail_share, max: 0.9}": `"tail_share": stands twice`,
		"extends: prodution": `did you mean "production"?`,
		": :":                "YAML",
	} {
		_, err := parsePolicy("bad.yaml", []byte(text))
		require.ErrorContains(t, err, want, "%.60s", text)
	}
}
