package activities

import "github.com/defectforge/defectforge/model/quality"

const formatMeasureList = "defectforge.measures/1"

// MeasureList holds every measure that the decision went by, and those that led
// to them.
type MeasureList struct {
	Format string `json:"format"`
	quality.Measures
}

// Encode renders the document, with its format stamped.
func (d MeasureList) Encode() ([]byte, error) { d.Format = formatMeasureList; return encode(d) }

// DecodeMeasureList reads a MeasureList; ErrFormat where raw is none.
func DecodeMeasureList(raw []byte) (MeasureList, error) {
	return decode[MeasureList](raw, formatMeasureList)
}
