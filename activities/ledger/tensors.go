package ledger

import (
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// Tensors is the format of tensor indices.
var Tensors = Format[TensorIndex]{Name: "defectforge.tensors/1"}

// TensorIndex lists the shards of a preprocessed data set: first the training
// ones, then those held out, then those for selection, each in the manifest's
// order.
type TensorIndex struct {
	Header
	Dataset string `json:"dataset"` // the data set manifest's SHA-256
	Shape   []int  `json:"shape"`   // of one image: channels, height, width
	// Frame is what was taken of each image; tiles are several rows, in order.
	Frame  spec.Framing `json:"frame,omitzero"`
	Shards []Shard      `json:"shards"`
}

// Shard is a safetensors file with one U8 tensor "images" of shape (n,3,128,128).
type Shard struct {
	Ref    step.Ref `json:"ref"`
	Split  string   `json:"split"`
	Images []string `json:"images"` // the source images' SHA-256, in row order
}

// RowsOf gives the data set's entry of each row of a split's shards.
func (x TensorIndex) RowsOf(dataset Dataset, split string) ([]DatasetImage, error) {
	bySHA := map[string]DatasetImage{}
	for _, im := range dataset.Of(split) {
		bySHA[im.SHA256] = im
	}
	rows := make([]DatasetImage, 0, len(bySHA))
	for _, shard := range x.Shards {
		if shard.Split != split {
			continue
		}
		for _, sha := range shard.Images {
			im, ok := bySHA[sha]
			if !ok {
				return nil, Permanent(step.ErrBadInput, "shard %s: image %s is not in the data set's %s split", shard.Ref.Key, sha, shard.Split)
			}
			rows = append(rows, im)
		}
	}
	return rows, nil
}

// Groups names the images' groups; nil where the data set knows none.
func Groups(images []DatasetImage) []string {
	groups := make([]string, len(images))
	for i, im := range images {
		if im.Group == "" {
			return nil
		}
		groups[i] = im.Group
	}
	return groups
}
