package step

import "github.com/defectforge/defectforge/model/spec"

// Preprocess turns the images into tensors.
const Preprocess Step[PreprocessInput, PreprocessResult] = "Preprocess"

type PreprocessInput struct {
	Dataset Ref    `json:"dataset"`
	Source  Source `json:"source"`
	// Frame is what is taken of each image.
	Frame spec.Framing `json:"frame,omitzero"`
	// Refresh: the stage is done even where an earlier result would be found.
	Refresh bool `json:"refresh,omitempty"`
}

type PreprocessResult struct {
	// Tensors is the index of the shards. The counts are of rows, of which tiles give
	// several for an image.
	Tensors  Ref `json:"tensors"`
	Training int `json:"training"`
	Holdout  int `json:"holdout"`
	// Selection images choose the checkpoint; they are neither trained on nor
	// held out for the approval.
	Selection int  `json:"selection"`
	Cached    bool `json:"cached"` // an unchanged data set was found, not redone
	// Coloured images are those that are not grey. It is nil where a version before
	// this was known counted nothing.
	Coloured *int `json:"coloured,omitempty"`
}

// Images is what recipes may leave to these images.
func (r PreprocessResult) Images() spec.Images {
	return spec.Images{Training: r.Training, Grey: r.Coloured != nil && *r.Coloured == 0}
}

// WasFound reports whether the tensors of an unchanged data set were found.
func (r PreprocessResult) WasFound() bool { return r.Cached }

// Facts are what the result says in a log line.
func (r PreprocessResult) Facts() []any {
	return []any{"training", r.Training, "holdout", r.Holdout, "selection", r.Selection, "cached", r.Cached}
}
