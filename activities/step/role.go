package step

// The task queues of a deployment: one for workflows and activities that wait
// for the store, one for activities that compute.
const (
	Queue         = "defectforge"
	TrainingQueue = "defectforge-training"
)

// Role says which stages a worker serves.
type Role int

// IO serves the stages that move data, Training those that compute, All both. The
// table of stages says which is which.
const (
	IO Role = 1 << iota
	Training
	All = IO | Training
)
