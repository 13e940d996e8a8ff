// Package step is the contract between workflows and activities: one typed
// name, one input and one result for each activity. Workflows import it instead
// of what does the work.
package step

import (
	"context"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/workflow"
)

// Step is the registered name of an activity that takes In and gives Out.
type Step[In, Out any] string

// String is the step's name.
func (s Step[In, Out]) String() string { return string(s) }

// Run executes the step from workflow code and waits for its result.
func (s Step[In, Out]) Run(ctx workflow.Context, in In) (Out, error) {
	var out Out
	err := workflow.ExecuteActivity(ctx, string(s), in).Get(ctx, &out)
	return out, err
}

// Registry is the part of a worker that activities register with.
type Registry interface {
	RegisterActivityWithOptions(a any, options activity.RegisterOptions)
}

// Register makes fn the step's implementation.
func (s Step[In, Out]) Register(r Registry, fn func(context.Context, In) (Out, error)) {
	r.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: string(s)})
}

// Progress is the heartbeat of the stages that count things. Total is 0 while
// it is unknown.
type Progress struct {
	Done  int `json:"done"`
	Total int `json:"total"`
}
