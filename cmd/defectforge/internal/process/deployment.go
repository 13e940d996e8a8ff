package process

import (
	"cmp"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/config"
)

// deployment is the version by which Temporal knows this process's workers: of
// worker.deployment, or none where that is empty. Runs go to the version that
// was made the current one.
func (p *Process) deployment() (worker.DeploymentOptions, error) {
	c := p.cfg.Worker
	if c.Deployment == "" {
		return worker.DeploymentOptions{}, nil
	}
	build := cmp.Or(c.BuildID, buildOf(ReadVersion()))
	if build == "" {
		return worker.DeploymentOptions{}, console.Usage("worker.build_id: not set, and this binary was not built from a clean " +
			"checkout that would name one; set it to what distinguishes this build from others, such as the image's tag")
	}
	o := worker.DeploymentOptions{
		UseVersioning:             true,
		Version:                   worker.WorkerDeploymentVersion{DeploymentName: c.Deployment, BuildID: build},
		DefaultVersioningBehavior: workflow.VersioningBehaviorAutoUpgrade,
	}
	if c.Versioning == config.VersioningPinned {
		o.DefaultVersioningBehavior = workflow.VersioningBehaviorPinned
	}
	p.console.Say("version    %s of deployment %s, %s; it serves runs once it is current:\n           "+
		"temporal worker deployment set-current-version --deployment-name %s --build-id %s",
		build, c.Deployment, c.Versioning, c.Deployment, build)
	return o, nil
}

// buildOf is the revision that a binary was built from, "" where that is not
// known or says too little.
func buildOf(v Version) string {
	if v.Modified || len(v.Revision) < 12 {
		return ""
	}
	return v.Revision[:12]
}
