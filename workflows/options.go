package workflows

import (
	"cmp"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
)

// retry waits out an outage of the store or the disk for several hours: the
// interval stays at a minute after the first seven attempts. Attempts are
// counted, not time, so that a machine that was switched off for a week resumes
// where it was.
func retry(attempts int32) *temporal.RetryPolicy {
	return &temporal.RetryPolicy{
		InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute,
		MaximumAttempts: attempts, NonRetryableErrorTypes: step.Permanent(),
	}
}

// short is for stages that mostly wait for the store.
func short(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		StartToCloseTimeout: 6 * time.Hour,
		HeartbeatTimeout:    30 * time.Second,
		WaitForCancellation: true,
		RetryPolicy:         retry(250),
		Summary:             summary,
	}
}

// notifying is for notices: they are given up after some minutes, as the run goes
// on without them.
func notifying(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		StartToCloseTimeout: time.Minute, HeartbeatTimeout: 30 * time.Second, RetryPolicy: retry(8), Summary: summary,
	}
}

// computing is for stages that compute, on workers of their own. The heartbeat
// is short because a retry of a killed leg waits for it.
func (a *augmentation) computing(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:           cmp.Or(a.in.TrainingQueue, step.TrainingQueue),
		StartToCloseTimeout: 72 * time.Hour,
		HeartbeatTimeout:    10 * time.Second,
		WaitForCancellation: true,
		RetryPolicy:         retry(1000),
		Summary:             summary,
	}
}
