package activities

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
)

const (
	// sheetRows is how many candidates the comparison sheet shows.
	sheetRows = 24
	// sheetColumns bounds the real images beside each.
	sheetColumns = 8
)

// sheet draws the candidates that are nearest to real images, nearest first,
// each beside its real neighbours with their distances. Rejected candidates
// are framed.
func (o *overfitCheck) sheet() ([]byte, error) {
	order := make([]int, len(o.nearest))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(o.nearest[a], o.nearest[b]) })
	var rows []picture.SheetRow
	for _, i := range order[:min(sheetRows, len(order))] {
		row, err := o.sheetRow(i)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return picture.ContactSheet(rows)
}

func (o *overfitCheck) sheetRow(i int) (picture.SheetRow, error) {
	check := o.list.Candidates[i]
	said := "accepted"
	if !check.Accepted {
		said = "rejected"
	}
	row := picture.SheetRow{Tiles: []picture.Tile{{
		Image:   o.pixels[i*spec.ImageLen : (i+1)*spec.ImageLen],
		Caption: []string{fmt.Sprintf("candidate %d", check.Index), said, ""}, Marked: !check.Accepted,
	}}}
	for k, n := range o.copies.Nearest[i][:min(sheetColumns, len(o.copies.Nearest[i]))] {
		tile, err := o.realTile(n, check.Nearest[k])
		if err != nil {
			return row, err
		}
		row.Tiles = append(row.Tiles, tile)
	}
	return row, nil
}

func (o *overfitCheck) realTile(n quality.Neighbour, named ledger.Neighbour) (picture.Tile, error) {
	pixels := make([]uint8, spec.ImageLen)
	from, row := o.training, n.Index
	if row >= from.Len() {
		from, row = o.holdout, row-from.Len()
	}
	if err := from.Row(pixels, row); err != nil {
		return picture.Tile{}, err
	}
	return picture.Tile{Image: pixels, Caption: []string{named.Name, named.Split, fmt.Sprintf("%.3f", n.Distance)}}, nil
}
