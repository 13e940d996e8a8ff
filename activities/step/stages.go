package step

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/defectforge/defectforge/model/spec"
)

// Stage is a row of the table of stages: what the rest of the program needs to
// know of one, besides what it does.
type Stage struct {
	// Name is the activity's name, and the stage's in histories, records, searches,
	// logs and metrics. It never changes.
	Name string
	// Word is the stage in one word, as `--from` takes it.
	Word string
	// Title says what the stage does, for people.
	Title string
	// Role is that of the workers that serve the stage; 0 where a person does it.
	Role Role
	// Beside: it is done beside the others, and a run is never said to be at it.
	Beside bool
	// Of is the stage that this one is a part of, empty where it is one of its own.
	// The two are done in turns and redone together, and the settings of the part
	// count as the whole's.
	Of string
	// Needs are the stages whose results this one works on.
	Needs []string
	// Settings are the recipe's sections and keys that decide its result. A key
	// that several stages have is the first one's.
	Settings []string
	// When reports whether runs of a recipe have the stage; nil for all.
	When func(spec.Recipe) bool
	// Remembered: the result of the same work in an earlier run is found.
	Remembered bool
	// From: a rerun may begin with it.
	From bool
	// Section is the part of the report that shows its result; where none does,
	// Unreported says why.
	Section, Unreported string
	// Same says in words what a result rests on that was found or made again. New
	// says what of it differs between an earlier run and a later one. They are empty
	// for stages of which no rerun says why they were redone.
	Same string
	New  func(before, after Outcome) []string
}

// Stages of which a run's status may say that it is at them, although no activity
// does them.
const (
	AwaitApproval = "AwaitApproval" // the run waits for a person
	Done          = "Done"          // the run has ended
)

// table holds the stages in the order in which a run comes to them. Whatever goes
// by stage follows it: progress, metrics, forecasts, reruns, and why something was
// redone.
var table = []Stage{
	{
		Name: Ingest.String(), Word: "ingest", Title: "ingest", Role: IO, From: true,
		Settings: []string{"ingest"}, Section: "intake",
		Same: "the source is always looked at; it holds the same data set", New: newDataset,
	},
	{
		Name: CheckChange.String(), Word: "change", Title: "look for change", Role: IO, Needs: needs(Ingest),
		Unreported: "it ends runs before there is anything to report, or changes nothing about them",
	},
	{
		Name: Preprocess.String(), Word: "preprocess", Title: "preprocess", Role: IO, Remembered: true, From: true,
		Needs: needs(Ingest), Section: "digests",
		Same: "the same data set",
		New:  other("another data set", func(o Outcome) Ref { return o.Ingest.Dataset }),
	},
	{
		Name: Train.String(), Word: "train", Title: "train", Role: Training, Remembered: true, From: true,
		Needs: needs(Preprocess), Settings: []string{"seed", "model", "train", "monitor"}, Section: "training",
		Same: "the same tensors and training settings",
		New:  other("other tensors", func(o Outcome) Ref { return o.Preprocess.Tensors }),
	},
	{
		Name: Evaluate.String(), Word: "evaluate", Title: "evaluate", Role: Training, Remembered: true,
		Of: Train.String(), When: evaluated, Needs: needs(Preprocess, Train),
		Settings: []string{"sample.statistics_batches", "sample.mirror"}, Section: "training",
	},
	{
		Name: Choose.String(), Word: "choose", Title: "choose checkpoint", Role: IO, Remembered: true,
		When: evaluated, Needs: needs(Train, Evaluate), Section: "training",
	},
	{
		Name: Sample.String(), Word: "sample", Title: "sample", Role: Training, Remembered: true, From: true,
		Needs: needs(Train), Settings: []string{"sample"}, Section: "candidates",
		Same: "the same checkpoint and sampling settings",
		New:  other("another checkpoint", func(o Outcome) Ref { return o.Train.Checkpoint }),
	},
	{
		Name: CheckOverfit.String(), Word: "check", Title: "check for copies", Role: IO, Remembered: true, From: true,
		Needs: needs(Ingest, Preprocess, Sample), Settings: []string{"overfit"}, Section: "neighbours",
		Same: "the same candidates, real images and settings", New: otherCandidates,
	},
	{
		Name: Utility.String(), Word: "utility", Title: "compare classifiers", Role: Training, Remembered: true,
		Needs: needs(Ingest, Preprocess, Sample, CheckOverfit), Section: "utility",
		Same: "the same set and other classes", New: otherCandidates,
	},
	{
		Name: Assess.String(), Word: "assess", Title: "assess", Role: IO,
		Needs: needs(Ingest, Preprocess, Sample, CheckOverfit, Utility), Settings: []string{"policy"}, Section: "measures",
		Same: "is always done, from the same candidates and policy", New: otherPolicy,
	},
	{
		Name: Report.String(), Word: "report", Title: "report", Role: IO,
		Needs:      needs(Ingest, Preprocess, Train, Sample, CheckOverfit, Utility, Assess),
		Settings:   []string{"name"},
		Unreported: "it is the report", Same: "is always done, from the same results",
	},
	{
		Name: AwaitApproval, Word: "approval", Title: "approval", Needs: needs(Assess, Report), Section: "decision",
	},
	{
		Name: Publish.String(), Word: "publish", Title: "publish", Role: IO,
		Needs:      needs(Ingest, Train, Sample, CheckOverfit, Utility, Assess, Report),
		Unreported: "a release holds the report",
	},
	{
		Name: RecordRun.String(), Word: "record", Title: "record the run", Role: IO, Needs: needs(Report, Publish),
		Unreported: "the record names the report",
	},
	{
		Name: Notify.String(), Word: "notify", Title: "notify", Role: IO, Beside: true, Needs: needs(Assess, Report),
		Unreported: "whom it reaches decides nothing about the set",
	},
}

// Stages lists the stages in the order in which a run comes to them.
func Stages() []Stage { return slices.Clone(table) }

// StatusStages are the stages that a run's status may name, in order.
func StatusStages() []string {
	var names []string
	for _, s := range table {
		if !s.Beside {
			names = append(names, s.Name)
		}
	}
	return append(names, Done)
}

// StageNamed is the stage of the given name, false where there is none.
func StageNamed(name string) (Stage, bool) {
	if at := order(name); at >= 0 {
		return table[at], true
	}
	return Stage{}, false
}

// Title says what a stage does, for people: its own name where it is none of the
// table's.
func Title(name string) string {
	if s, ok := StageNamed(name); ok {
		return s.Title
	}
	if name == Done {
		return "done"
	}
	return name
}

// Whole is the stage that this one is a part of, or itself.
func (s Stage) Whole() string {
	if s.Of != "" {
		return s.Of
	}
	return s.Name
}

// Before reports whether a run comes to the one stage before the other.
func Before(one, other string) bool { return order(one) < order(other) }

// order is a stage's place in the table, -1 where it has none.
func order(name string) int {
	return slices.IndexFunc(table, func(s Stage) bool { return s.Name == name })
}

// Together reports whether two stages are one for onlookers: the same, or parts
// of one.
func Together(a, b string) bool {
	one, _ := StageNamed(a)
	other, _ := StageNamed(b)
	return a == b || one.Name != "" && one.Whole() == other.Whole()
}

// StageOf is the first stage whose result a setting of the recipe decides, by the
// setting's dotted key.
func StageOf(key string, r spec.Recipe) string {
	for _, s := range table {
		if s.When != nil && !s.When(r) {
			continue
		}
		for _, setting := range s.Settings {
			if key == setting || strings.HasPrefix(key, setting+".") {
				return s.Whole()
			}
		}
	}
	return ""
}

// evaluated reports whether a recipe keeps images to choose the checkpoint with.
func evaluated(r spec.Recipe) bool { return r.Ingest.SelectionShare > 0 }

// StageTime is how long a stage took, in seconds.
type StageTime struct {
	Stage   string  `json:"stage"`
	Seconds float64 `json:"seconds"`
	// Cached: every call of the stage found an earlier result.
	Cached bool `json:"cached,omitempty"`
}

// Outcome gathers what the stages of one run made. Later stages' fields are
// zero where a run ended earlier.
type Outcome struct {
	Run        Run              `json:"run"`
	Class      string           `json:"class"`
	Source     Source           `json:"source"`
	Recipe     spec.Recipe      `json:"recipe"`
	Ingest     IngestResult     `json:"ingest"`
	Preprocess PreprocessResult `json:"preprocess"`
	Train      TrainResult      `json:"train"`
	Sample     SampleResult     `json:"sample"`
	Check      OverfitResult    `json:"check"`
	Assess     AssessResult     `json:"assess"`
	Policy     spec.Policy      `json:"policy"`
	// Choice is how the checkpoint was chosen; nil where the last one was taken.
	Choice *Choice `json:"choice,omitempty"`
	// Rollbacks are the alarms of this run's training.
	Rollbacks []Rollback    `json:"rollbacks,omitempty"`
	Utility   UtilityResult `json:"utility"`
	Approval  Approval      `json:"approval"`
	// Deadline is until when a person may approve the set; nil where none is asked.
	Deadline *time.Time  `json:"deadline,omitempty"`
	Times    []StageTime `json:"times"`
	// Unpublished: what passes is compared, not published.
	Unpublished bool `json:"unpublished,omitempty"`
	// Rerun is set where the run repeats another one.
	Rerun *Rerun `json:"rerun,omitempty"`
}

// Decided is the recipe with what it leaves to the images decided. Before
// Preprocess nothing is.
func (o Outcome) Decided() spec.Recipe {
	if o.Preprocess.Tensors.IsZero() {
		return o.Recipe
	}
	return o.Recipe.ForImages(o.Preprocess.Images())
}

// needs are the names of stages.
func needs(stages ...fmt.Stringer) []string {
	names := make([]string, len(stages))
	for i, s := range stages {
		names[i] = s.String()
	}
	return names
}

// other returns what if an artifact is not the one that it was before.
func other(what string, of func(Outcome) Ref) func(before, after Outcome) []string {
	return func(before, after Outcome) []string {
		if of(before).SHA256 == of(after).SHA256 {
			return nil
		}
		return []string{what}
	}
}

func newDataset(before, after Outcome) []string {
	if before.Ingest.Dataset.SHA256 == after.Ingest.Dataset.SHA256 {
		return nil
	}
	return []string{fmt.Sprintf("another data set: %d usable images, before %d", after.Ingest.Usable, before.Ingest.Usable)}
}

func otherCandidates(before, after Outcome) []string {
	return other("other candidates", func(o Outcome) Ref { return o.Sample.Candidates })(before, after)
}

func otherPolicy(before, after Outcome) []string {
	var out []string
	if spec.Digest(before.Policy) != spec.Digest(after.Policy) {
		out = append(out, fmt.Sprintf("policy %s -> %s", before.Policy.Name, after.Policy.Name))
	}
	return append(out, otherCandidates(before, after)...)
}
