package step

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
)

// Every row says what people and programs need, and says it once.
func TestEveryStageIsDescribed(t *testing.T) {
	words := map[string]bool{}
	for _, s := range Stages() {
		require.NotEmpty(t, s.Title, s.Name)
		require.False(t, words[s.Word], "%s: two stages are called %q", s.Name, s.Word)
		words[s.Word] = true
		require.Contains(t, strings.ToLower(s.Name), s.Word, "people and code call %s the same", s.Name)
		require.NotEqual(t, s.Section == "", s.Unreported == "", "%s: the report shows it, or why not is said", s.Name)
		if s.Same != "" && s.Remembered {
			require.NotNil(t, s.New, "%s: what would have it redone", s.Name)
		}
		got, ok := StageNamed(s.Name)
		require.True(t, ok)
		require.Equal(t, s.Word, got.Word)
	}
	_, ok := StageNamed("Polish")
	require.False(t, ok)
	require.Equal(t, "Polish", Title("Polish"))
	require.Equal(t, "check for copies", Title(CheckOverfit.String()))
	require.Equal(t, "done", Title(Done))
}

// A stage comes after all that it needs, and after the stage that it is a part of.
func TestStagesStandInTheirOrder(t *testing.T) {
	for _, s := range Stages() {
		for _, need := range s.Needs {
			require.NotEqual(t, -1, order(need), "%s needs %s, which is no stage", s.Name, need)
			require.True(t, Before(need, s.Name), "%s needs %s, which comes after it", s.Name, need)
		}
		if s.Of != "" {
			require.True(t, Before(s.Of, s.Name), "%s is a part of %s", s.Name, s.Of)
		}
	}
	require.True(t, Together(Train.String(), Evaluate.String()))
	require.False(t, Together(Train.String(), Choose.String()))
	require.False(t, Together("Polish", "Shine"), "neither is a stage")
	require.True(t, Together("Polish", "Polish"))
}

// elsewhere are the files whose steps no augmentation runs.
var elsewhere = []string{"campaign.go", "retention.go"}

// Every step that is declared is a stage of the table, unless it belongs to
// another workflow.
func TestEveryStepIsAStage(t *testing.T) {
	declared := map[string]bool{}
	constants(t, func(file string, spec *ast.ValueSpec, value string) {
		if _, ok := spec.Type.(*ast.IndexListExpr); ok && !slices.Contains(elsewhere, file) {
			declared[value] = true
		}
	})
	var listed []string
	for _, s := range Stages() {
		if s.Role != 0 {
			listed = append(listed, s.Name)
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(declared)), listed)
}

// Every type of permanent failure that is declared is listed.
func TestPermanentListsEveryFailure(t *testing.T) {
	var declared []string
	constants(t, func(file string, _ *ast.ValueSpec, value string) {
		if file == "failure.go" && value != ErrStageFailed {
			declared = append(declared, value)
		}
	})
	require.ElementsMatch(t, declared, Permanent())
}

// constants visits the string constants of this package.
func constants(t *testing.T, visit func(file string, spec *ast.ValueSpec, value string)) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				value, err := strconv.Unquote(lit.Value)
				require.NoError(t, err)
				visit(name, spec, value)
			}
			return true
		})
	}
}

// Every setting of a recipe decides some stage's result, and all that a stage
// names are settings.
func TestEverySettingHasAStage(t *testing.T) {
	all := spectest.SmallData()
	all.Sample.Mirror = true // which would be left out
	raw, err := json.Marshal(all)
	require.NoError(t, err)
	var sections map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &sections))
	known := map[string]bool{}
	for section, raw := range sections {
		known[section] = true
		require.NotEmpty(t, StageOf(section, spec.Recipe{}), "no stage has %s among its settings", section)
		var keys map[string]json.RawMessage
		if json.Unmarshal(raw, &keys) != nil {
			continue // a single value
		}
		for key := range keys {
			known[section+"."+key] = true
			require.NotEmpty(t, StageOf(section+"."+key, spec.Recipe{}), "no stage has %s.%s among its settings", section, key)
		}
	}
	for _, s := range Stages() {
		for _, setting := range s.Settings {
			require.True(t, known[setting], "%s: recipes have no %s", s.Name, setting)
		}
	}
	require.Empty(t, StageOf("colour", spec.Recipe{}))
	require.Empty(t, StageOf("training", spec.Recipe{}), "a section is not known by how its name begins")
	for _, key := range []string{"sample.statistics_batches", "sample.mirror"} {
		require.Equal(t, Sample.String(), StageOf(key, spectest.Quick()))
		require.Equal(t, Train.String(), StageOf(key, spectest.SmallData()), "the checkpoint is chosen by samples")
	}
}

// A rerun redoes the stage that it begins with and those after it that a rerun may
// begin with, and parts with their whole.
func TestRefreshes(t *testing.T) {
	require.Equal(t, []string{"Ingest", "Preprocess", "Train", "Sample", "CheckOverfit"}, RerunStages())
	redone := func(r *Rerun) (names []string) {
		for _, s := range Stages() {
			if r.Refreshes(s.Name) {
				names = append(names, s.Name)
			}
		}
		return names
	}
	require.Empty(t, redone(nil))
	require.Empty(t, redone(&Rerun{}))
	require.Equal(t, []string{"Train", "Evaluate", "Sample", "CheckOverfit"}, redone(&Rerun{From: "Train"}))
	require.Equal(t, []string{"CheckOverfit"}, redone(&Rerun{From: "CheckOverfit"}))
	require.False(t, (&Rerun{From: "Ingest"}).Refreshes("Polish"))
}
