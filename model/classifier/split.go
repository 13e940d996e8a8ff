package classifier

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
)

// Image is a real image with what splits go by.
type Image struct {
	*Picture
	Digest string // of the content
	// Group names similar images, which no split divides.
	Group   string
	Holdout bool // kept from the generator's training
}

// minTest is the fewest test images of a class in one of several disjoint
// splits, minHoldout the fewest at all, minTrain the fewest to train on.
const (
	minTest    = 10
	minHoldout = 5
	minTrain   = 5
)

// side is a class's images of one split.
type side struct{ train, test []*Picture }

// sides splits the images of the class whose generator is judged. Its test
// images are always held out: disjoint parts of the hold-out, or all of it in
// every split where the parts would be too small, which disjoint says.
func sides(images []Image, splits int) (out []side, disjoint bool) {
	train, held := divided(images)
	parts, disjoint := deal(held, splits)
	out = make([]side, splits)
	for k := range out {
		out[k] = side{train: pictures(train), test: pictures(held)}
		if disjoint {
			out[k].test = pictures(parts[k])
		}
	}
	return out, disjoint
}

// otherSides splits another class's images: like sides where asked to and where
// its hold-out suffices, else anew for each split, drawing whole groups for about
// wanted test images out of all of them.
func otherSides(images []Image, splits, wanted int, disjoint bool) (out []side, drawn bool) {
	if disjoint {
		if out, ok := sides(images, splits); ok {
			return out, false
		}
	}
	out = make([]side, splits)
	for k := range out {
		out[k] = redraw(images, k, wanted)
	}
	return out, true
}

func redraw(images []Image, split, wanted int) (s side) {
	wanted = min(wanted, len(images)/2)
	for _, group := range grouped(images, fmt.Sprintf("utility/%d/", split)) {
		if len(s.test)+len(group) <= wanted {
			s.test = append(s.test, pictures(group)...)
		} else {
			s.train = append(s.train, pictures(group)...)
		}
	}
	return s
}

func divided(images []Image) (train, held []Image) {
	for _, im := range images {
		if im.Holdout {
			held = append(held, im)
		} else {
			train = append(train, im)
		}
	}
	return train, held
}

// deal gives out whole groups, the largest first, each to the smallest part so
// far. It reports whether every part has enough.
func deal(images []Image, parts int) (out [][]Image, enough bool) {
	groups := grouped(images, "utility/")
	slices.SortStableFunc(groups, func(a, b []Image) int { return cmp.Compare(len(b), len(a)) })
	out = make([][]Image, parts)
	for _, group := range groups {
		smallest := 0
		for k := range out {
			if len(out[k]) < len(out[smallest]) {
				smallest = k
			}
		}
		out[smallest] = append(out[smallest], group...)
	}
	return out, !slices.ContainsFunc(out, func(p []Image) bool { return len(p) < minTest })
}

// grouped gives the groups in the order of the SHA-256 of salt and their names,
// each sorted by digest.
func grouped(images []Image, salt string) [][]Image {
	byName := map[string][]Image{}
	for _, im := range images {
		name := cmp.Or(im.Group, im.Digest)
		byName[name] = append(byName[name], im)
	}
	names := make([]string, 0, len(byName))
	for name, group := range byName {
		names = append(names, name)
		slices.SortFunc(group, func(a, b Image) int { return cmp.Compare(a.Digest, b.Digest) })
	}
	place := func(name string) string { sum := sha256.Sum256([]byte(salt + name)); return string(sum[:]) }
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(place(a), place(b)) })
	out := make([][]Image, len(names))
	for i, name := range names {
		out[i] = byName[name]
	}
	return out
}

func pictures(images []Image) []*Picture {
	out := make([]*Picture, len(images))
	for i, im := range images {
		out[i] = im.Picture
	}
	return out
}
