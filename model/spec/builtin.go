package spec

import "fmt"

// Classic is the source's configuration: depths 64 and 128, batch 12, 128
// epochs, rates 1e-4 and 4e-4.
func Classic() Recipe {
	return Recipe{
		Name: "classic",
		Seed: 1,
		Ingest: Ingest{
			// Those of line-scan cameras, and no icons.
			MaxBytes: 160 << 20, MaxPixels: 150_000_000, MinSide: 32, Levels: LevelsAuto, MinImages: 24,
			HoldoutShare: 0.2, Duplicates: DuplicatesVerify, DuplicateDistance: 4, GroupDistance: 8,
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

// Surface is for textures and defects of surfaces, with a few hundred images of each
// kind: the best that was found for them (model/ABLATION.md), and the default.
func Surface() Recipe {
	r := Classic()
	r.Name = "surface"
	r.Model = Model{
		Latent: 100, GeneratorDepth: 32, DiscriminatorDepth: 32, InitialWeights: InitDCGAN, DiscriminatorNorm: NormNone,
		Channels: ChannelsAuto, Generator: GeneratorUpsample, GeneratorFine: 16, GeneratorNoise: true,
		DiscriminatorHead: HeadBoth, MinibatchStddev: true,
	}
	r.Train = Train{
		Batch: 16, Steps: 5000, GeneratorRate: 2e-4, DiscriminatorRate: 2e-4, Beta2: 0.9, Decay: DecayLate,
		Loss: LossHinge, Precision: PrecisionFloat32, Augment: AugmentFlip + "," + AugmentShift, RealAugment: AugmentFlip,
		AverageImages: 10_000, KeepCheckpoints: 2,
	}
	r.Sample.Mirror = true
	return r
}

// Quick is Surface with shallow networks and few steps of small batches, for demos and
// first runs. Its rates are higher, for the few steps; batches of 8 show more after
// the same minutes than those of 16.
func Quick() Recipe {
	r := Surface()
	r.Name = "quick"
	r.Model.GeneratorDepth, r.Model.DiscriminatorDepth, r.Model.GeneratorFine = 16, 16, 8
	r.Train.Batch, r.Train.Steps, r.Train.AverageImages = 8, 2000, 2000
	r.Train.GeneratorRate, r.Train.DiscriminatorRate = 4e-4, 4e-4
	r.Sample.Count = 120
	r.Policy = "copying"
	return r
}

// Names lists the built-in recipes, the default first.
func Names() []string { return []string{"surface", "quick", "classic"} }

// Named returns a built-in recipe. small-data, a recipe of earlier versions, is
// Surface.
func Named(name string) (Recipe, error) {
	switch name {
	case "surface", "small-data":
		return Surface(), nil
	case "quick":
		return Quick(), nil
	case "classic":
		return Classic(), nil
	}
	return Recipe{}, fmt.Errorf("recipe %q: unknown; choose one of %v or give a YAML file", name, Names())
}
