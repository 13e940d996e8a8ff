package workflows

import (
	"slices"

	"github.com/defectforge/defectforge/activities/step"
)

// refresh reports whether a stage is done even where its result would be found.
func (a *augmentation) refresh(stage interface{ String() string }) bool {
	if a.in.Rerun == nil || a.in.Rerun.From == "" {
		return false
	}
	order := step.RerunStages()
	return slices.Index(order, a.in.Rerun.From) <= slices.Index(order, stage.String())
}
