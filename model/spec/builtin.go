package spec

import "fmt"

// Classic is the source's configuration: depths 64 and 128, batch 12, 128
// epochs, rates 1e-4 and 4e-4.
func Classic() Recipe {
	return Recipe{
		Name: "classic",
		Seed: 1,
		Ingest: Ingest{
			MaxBytes: 32 << 20, MaxPixels: 16 << 20, MinImages: 24,
			HoldoutShare: 0.2, DuplicateDistance: 4, GroupDistance: 8,
		},
		Model: Model{Latent: 100, GeneratorDepth: 64, DiscriminatorDepth: 128, InitialWeights: InitDCGAN, DiscriminatorNorm: NormBatch},
		Train: Train{
			Batch: 12, Epochs: 128, GeneratorRate: 1e-4, DiscriminatorRate: 4e-4,
			Beta1: 0.5, Beta2: 0.999, Precision: PrecisionFloat32, LegEpochs: 4, KeepCheckpoints: 2,
		},
		Monitor: Monitor{Tries: 3, OverpowerSteps: 200, Images: 128},
		Sample:  Sample{Count: 240, StatisticsBatches: 16},
		Overfit: Overfit{Neighbours: 5, RejectQuantile: 0.01, TailQuantile: 0.05},
		Policy:  "production",
	}
}

// Quick is a shallow net for demos and first runs: depths 16 and 16, 75 epochs
// (about 1,500 steps on 240 images). Its rates are higher than the source's and
// the generator's is the larger: tried on scratches, 2e-4 for both shows faint
// streaks after 1,500 steps, these clear ones after 500.
func Quick() Recipe {
	r := Classic()
	r.Name = "quick"
	r.Model.GeneratorDepth, r.Model.DiscriminatorDepth = 16, 16
	r.Train.GeneratorRate, r.Train.DiscriminatorRate = 8e-4, 4e-4
	r.Train.Epochs, r.Train.LegEpochs = 75, 5
	r.Sample.Count = 120
	r.Policy = "copying"
	return r
}

// SmallData is for a few hundred images: classic's depths with what was measured
// to help a GAN that sees few of them (model/ABLATION.md), a checkpoint chosen on a
// selection split, and every monitor on.
func SmallData() Recipe {
	r := Classic()
	r.Name = "small-data"
	r.Ingest.SelectionShare = 0.1
	r.Train.AverageImages = 10_000
	// The sign of D's logits is no alarm here: on 240 real images it passes 0.8
	// within ten epochs while D(x) stays near 0.6.
	r.Monitor.CollapseShare, r.Monitor.Patience = 0.5, 8
	return r
}

// Names lists the built-in recipes.
func Names() []string { return []string{"classic", "quick", "small-data"} }

// Named returns a built-in recipe.
func Named(name string) (Recipe, error) {
	switch name {
	case "classic":
		return Classic(), nil
	case "quick":
		return Quick(), nil
	case "small-data":
		return SmallData(), nil
	}
	return Recipe{}, fmt.Errorf("recipe %q: unknown; choose one of %v or give a YAML file", name, Names())
}
