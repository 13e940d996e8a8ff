package ledger

import "github.com/defectforge/defectforge/model/quality"

// Measures is the format of lists of measures.
var Measures = Format[MeasureList]{Name: "defectforge.measures/1"}

// MeasureList holds every measure that the decision went by, and those that led
// to them.
type MeasureList struct {
	Header
	quality.Measures
}
