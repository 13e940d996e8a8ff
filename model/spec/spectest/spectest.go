// Package spectest has recipes and policies for tests: built-in ones of earlier
// versions, by which pinned keys, digests and identifiers were recorded.
package spectest

import (
	"slices"
	"strings"

	"github.com/defectforge/defectforge/model/spec"
)

// Classic was the built-in classic that left out near duplicates by their hashes alone,
// with other limits for images.
func Classic() spec.Recipe {
	r := spec.Classic()
	r.Ingest.Duplicates, r.Ingest.MinSide, r.Ingest.Levels = "", 0, ""
	r.Ingest.MaxBytes, r.Ingest.MaxPixels = 32<<20, 16<<20
	return r
}

// Quick was the built-in quick before its networks upsampled: the source's, shallow,
// with three channels, for 75 epochs in legs of 5.
func Quick() spec.Recipe {
	r := Classic()
	r.Name = "quick"
	r.Model.GeneratorDepth, r.Model.DiscriminatorDepth = 16, 16
	r.Train.GeneratorRate, r.Train.DiscriminatorRate = 8e-4, 4e-4
	r.Train.Epochs, r.Train.LegEpochs = 75, 5
	r.Sample.Count = 120
	r.Policy = "copying"
	return r
}

// SmallData was a built-in recipe that chose its checkpoint on a selection split.
func SmallData() spec.Recipe {
	r := Classic()
	r.Name = "small-data"
	r.Ingest.SelectionShare = 0.1
	r.Train.AverageImages = 10_000
	r.Monitor.CollapseShare, r.Monitor.Patience = 0.5, 8
	return r
}

// EarlierPolicy is the built-in policy of that name before copies in disguise and
// colours were judged.
func EarlierPolicy(name string) spec.Policy {
	p, err := spec.NamedPolicy(name)
	if err != nil {
		panic(err) // a test's own mistake
	}
	p.Rules = slices.DeleteFunc(p.Rules, func(r spec.Rule) bool {
		return r.Measure == spec.MeasureDisguised || r.Measure == spec.MeasureColourRatio
	})
	p.Scope = strings.Replace(p.Scope, "likeness to the real images, in grey and in colour.", "likeness to the real images.", 1)
	p.Scope = strings.Replace(p.Scope, "turned, shifted or in disguise, or one another", "turned or shifted, or one another", 1)
	return p
}
