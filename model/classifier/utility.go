package classifier

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// ErrTooFew: a class has too few images to train or to test with.
var ErrTooFew = errors.New("too few images")

// Plan is the extent of a study.
type Plan struct {
	Splits   int // test splits
	Seeds    int // paired trainings of each split
	PerClass int // real training images of each class, at most
	Steps    int // of the optimiser, the same for every arm
	Seed     uint64
}

// Class is a class's real images.
type Class struct {
	Name   string
	Images []Image
}

// Study compares classifiers with and without generated images of its first
// class.
type Study struct {
	plan      Plan
	channels  int
	classes   [][]side // by class, then by split
	generated []*Picture
	train     int // real training images of each class
	// Notes say what was done otherwise than planned, in words.
	Notes []string
}

// The classifiers that every arm trains.
const (
	Convolution = "convolution" // a small net; claims rest on it
	Texture     = "texture"     // logistic regression over local patterns and gradients
)

// Score is one training's outcome on its split's test images.
type Score struct {
	Model   string  `json:"model"`
	Arm     string  `json:"arm"`
	MacroF1 float64 `json:"macro_f1"`
	ClassF1 float64 `json:"class_f1"` // of the judged class
}

// Pair is one seed's trainings on one split: equal weights at first, equal
// numbers of steps, one score for each arm and classifier.
type Pair struct {
	Split  int     `json:"split"`
	Seed   int     `json:"seed"`
	Scores []Score `json:"scores"`
}

// NewStudy draws the splits of own, whose generator is judged, and of the other
// classes. Errors wrap ErrTooFew and name the class.
//
// Test images of own come from its hold-out. All images are taken as grey where
// every real one is. Class by class there are as many test images in a split as
// there are of own, or fewer.
func NewStudy(plan Plan, own Class, others []Class, generated []*Picture) (*Study, error) {
	if plan.Splits < 1 || plan.Seeds < 1 || plan.PerClass < 1 || plan.Steps < 1 || len(others) == 0 {
		panic(fmt.Sprintf("classifier: study of %+v with %d other classes", plan, len(others)))
	}
	s := &Study{plan: plan, channels: 1, generated: generated, train: plan.PerClass}
	first, disjoint := sides(own.Images, plan.Splits)
	if n := len(first[0].test); n < minHoldout {
		return nil, fmt.Errorf("%w: class %s has %d held out, at least %d are needed to test with", ErrTooFew, own.Name, n, minHoldout)
	}
	if !disjoint && plan.Splits > 1 {
		s.note("the %d images held out of %s are too few for %d separate tests: every split tests with all of them, "+
			"so that its interval does not tell how other test images of %s would do",
			len(first[0].test), own.Name, plan.Splits, own.Name)
	}
	s.classes = append(s.classes, first)
	for _, c := range others {
		split, drawn := otherSides(c.Images, plan.Splits, len(first[0].test), disjoint)
		if drawn && plan.Splits > 1 {
			s.note("test images of %s are drawn anew for every split", c.Name)
		}
		s.classes = append(s.classes, split)
	}
	for i, c := range append([]Class{own}, others...) {
		if err := s.fit(i, c); err != nil {
			return nil, err
		}
	}
	if s.train < plan.PerClass {
		s.note("%d real training images of each class instead of %d: the smallest class has no more", s.train, plan.PerClass)
	}
	if len(generated) < s.train {
		s.note("%d generated images for %d real ones: no more were accepted", len(generated), s.train)
	}
	return s, nil
}

func (s *Study) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// fit bounds class i's tests by the first class's, and the training by what it has.
func (s *Study) fit(i int, c Class) error {
	for k := range s.classes[i] {
		part := &s.classes[i][k]
		part.test = part.test[:min(len(part.test), len(s.classes[0][k].test))]
		s.train = min(s.train, len(part.train))
		if len(part.train) < minTrain || len(part.test) == 0 {
			return fmt.Errorf("%w: class %s has %d to train on and %d to test with in a split, at least %d and 1 are needed; add images",
				ErrTooFew, c.Name, len(part.train), len(part.test), minTrain)
		}
	}
	if !slices.ContainsFunc(c.Images, func(im Image) bool { return !im.grey() }) {
		return nil
	}
	s.channels = 3
	return nil
}

// Train is the number of real training images, all classes together.
func (s *Study) Train() int { return s.train * len(s.classes) }

// Test is the number of test images of the largest split, all classes together.
func (s *Study) Test() int {
	most := 0
	for k := range s.plan.Splits {
		n := 0
		for _, c := range s.classes {
			n += len(c[k].test)
		}
		most = max(most, n)
	}
	return most
}

// Gain is how much better a classifier's arm does than over, by macro-F1, over all
// pairs.
func (s *Study) Gain(pairs []Pair, model, arm, over string) Gain {
	differences := make([]float64, len(pairs))
	for i, p := range pairs {
		differences[i] = p.score(model, arm).MacroF1 - p.score(model, over).MacroF1
	}
	return CorrectedInterval(differences, float64(s.Test())/float64(s.Train()))
}

func (p Pair) score(model, arm string) Score {
	at := slices.IndexFunc(p.Scores, func(s Score) bool { return s.Model == model && s.Arm == arm })
	return p.Scores[at]
}

// Mean is the mean scores of a classifier's arm over all pairs.
func Mean(pairs []Pair, model, arm string) Score {
	out := Score{Model: model, Arm: arm}
	for _, p := range pairs {
		out.MacroF1 += p.score(model, arm).MacroF1 / float64(len(pairs))
		out.ClassF1 += p.score(model, arm).ClassF1 / float64(len(pairs))
	}
	return out
}

// example is a picture with its class's number.
type example struct {
	*Picture
	class int
}

// Pair trains and tests every arm once. The real and the generated images are
// drawn anew for every pair, the same for all of its arms. It ends early with
// ctx's error.
func (s *Study) Pair(ctx context.Context, split, seed int) (Pair, error) {
	out := Pair{Split: split, Seed: seed}
	number := uint64(split*s.plan.Seeds + seed)
	photos, made, test := s.draw(split, number)
	for _, a := range spec.Arms() {
		arm, on := a.Name, photos
		switch arm {
		case spec.ArmOversampled:
			on = slices.Concat(photos, photos[:s.train])
		case spec.ArmGenerated, spec.ArmBoth:
			on = slices.Concat(photos, made)
		}
		turned := arm == spec.ArmClassic || arm == spec.ArmBoth
		score, err := s.score(ctx, on, test, turned, number)
		if err != nil {
			return Pair{}, err
		}
		score.Model, score.Arm = Convolution, arm
		textures, err := s.scoreTextures(on, test, turned)
		if err != nil {
			return Pair{}, err
		}
		textures.Model, textures.Arm = Texture, arm
		out.Scores = append(out.Scores, score, textures)
	}
	return out, nil
}

// draw gives a pair its real and generated images to train on, and a split's
// images to test on.
func (s *Study) draw(split int, number uint64) (photos, made, test []example) {
	for class, sides := range s.classes {
		drawn := kernel.NewStream(s.plan.Seed, fmt.Sprintf("utility training images %d", class), number).Perm(len(sides[split].train))
		for _, i := range drawn[:s.train] {
			photos = append(photos, example{sides[split].train[i], class})
		}
		for _, p := range sides[split].test {
			test = append(test, example{p, class})
		}
	}
	drawn := kernel.NewStream(s.plan.Seed, "utility generated images", number).Perm(len(s.generated))
	for _, i := range drawn[:min(len(drawn), s.train)] {
		made = append(made, example{s.generated[i], 0})
	}
	return photos, made, test
}

// scoreTextures fits and tests a logistic regression over textures: of every
// picture in all turns if asked to.
func (s *Study) scoreTextures(on, test []example, turned bool) (Score, error) {
	ways := 1
	if turned {
		ways = turns
	}
	var rows [][]float64
	var labels []int
	for _, e := range on {
		for turn := range ways {
			rows, labels = append(rows, e.textures(turn)), append(labels, e.class)
		}
	}
	l, err := fitLogistic(rows, labels, len(s.classes))
	if err != nil {
		return Score{}, err
	}
	var unseen [][]float64
	var want []int
	for _, e := range test {
		unseen, want = append(unseen, e.textures(0)), append(want, e.class)
	}
	each, macro := F1(want, l.predict(unseen), len(s.classes))
	return Score{MacroF1: macro, ClassF1: each[0]}, nil
}

// score trains a net, on turned images if asked to, and tests it.
func (s *Study) score(ctx context.Context, on, test []example, turned bool, number uint64) (Score, error) {
	seed := s.plan.Seed + number
	n := New(seed, s.channels, len(s.classes), s.plan.Steps)
	images, labels := make([]float32, batch*s.channels*area), make([]int, batch)
	ways := make([]float32, batch)
	var order []int
	for i := range s.plan.Steps {
		if err := ctx.Err(); err != nil {
			return Score{}, err
		}
		kernel.NewStream(seed, "utility turns", uint64(i)).Uniform(ways, 0, turns)
		for j := range labels {
			at := i*batch + j
			if at%len(on) == 0 {
				order = kernel.NewStream(seed, "utility order", uint64(at/len(on))).Perm(len(on))
			}
			e, turn := on[order[at%len(on)]], 0
			if turned {
				turn = int(ways[j])
			}
			e.write(images[j*s.channels*area:][:s.channels*area], turn)
			labels[j] = e.class
		}
		n.Step(images, labels)
	}
	return s.test(n, test), nil
}

func (s *Study) test(n *Net, test []example) Score {
	images, want := make([]float32, len(test)*s.channels*area), make([]int, len(test))
	for i, e := range test {
		e.write(images[i*s.channels*area:][:s.channels*area], 0)
		want[i] = e.class
	}
	each, macro := F1(want, n.Predict(images), len(s.classes))
	return Score{MacroF1: macro, ClassF1: each[0]}
}
