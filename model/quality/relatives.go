package quality

import (
	"context"
	"fmt"
	"slices"
)

const (
	// maxRelated is the largest group whose images are compared with each other, as
	// in ingest.
	maxRelated = 3000
	// thumbsAtOnce is how many images' thumbnails, of 4 KiB, are held at a time, or
	// those of one group, if it is larger. The others wait for another pass over
	// the shards.
	thumbsAtOnce = 16 << 10
)

// relatives lists, for each of the given training images, those of its group that
// show some of the same pixels, as ingest looks for them, rising. rows must rise.
// Larger groups than ingest would compare are of similar hashes; their images
// stand alone. The shards are read once for every atOnce images of groups that rows
// are in.
func relatives(ctx context.Context, training Source, groups []string, rows []int, atOnce int) ([][]int, error) {
	out := make([][]int, len(rows))
	if groups == nil {
		return out, nil
	}
	compared := slices.DeleteFunc(members(len(groups), groups), func(group []int) bool {
		return len(group) < 2 || len(group) > maxRelated || !slices.ContainsFunc(group, func(i int) bool { return among(rows, i) })
	})
	for len(compared) > 0 {
		n, images := 0, []int(nil)
		for n < len(compared) && (n == 0 || len(images)+len(compared[n]) <= atOnce) {
			images = append(images, compared[n]...)
			n++
		}
		slices.Sort(images)
		thumbs, err := training.thumbs(ctx, images)
		if err != nil {
			return nil, fmt.Errorf("compare training images: %w", err)
		}
		for _, group := range compared[:n] {
			if err := relate(ctx, out, rows, group, images, thumbs); err != nil {
				return nil, err
			}
		}
		compared = compared[n:]
	}
	return out, nil
}

// relate enters the pairs of one group, of whose images are some of those that
// thumbs are of.
func relate(ctx context.Context, out [][]int, rows, group, images []int, thumbs [][]uint8) error {
	own, wanted := make([][]uint8, len(group)), make([]bool, len(group))
	for k, i := range group {
		at, _ := slices.BinarySearch(images, i)
		own[k], wanted[k] = thumbs[at], among(rows, i)
	}
	pairs, err := overlaps(ctx, own, wanted, nil)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		a, b := group[p.A], group[p.B]
		if at, ok := slices.BinarySearch(rows, a); ok {
			out[at] = append(out[at], b)
		}
		if at, ok := slices.BinarySearch(rows, b); ok {
			out[at] = append(out[at], a)
		}
	}
	for _, i := range group {
		if at, ok := slices.BinarySearch(rows, i); ok {
			slices.Sort(out[at])
		}
	}
	return nil
}

// among reports whether i is one of rising numbers.
func among(rising []int, i int) bool {
	_, found := slices.BinarySearch(rising, i)
	return found
}

// thumbs gives the thumbnails of planes by number; at must rise.
func (s Source) thumbs(ctx context.Context, at []int) ([][]uint8, error) {
	out := make([][]uint8, 0, len(at))
	err := s.each(ctx, at, func(plane []uint8) { out = append(out, thumbOf(plane)) })
	return out, err
}

// rows gathers planes by number; at must rise.
func (s Source) rows(ctx context.Context, at []int) ([]uint8, error) {
	out := make([]uint8, 0, len(at)*PlaneLen)
	err := s.each(ctx, at, func(plane []uint8) { out = append(out, plane...) })
	return out, err
}

// each visits planes by number, which must rise; visit may not keep them.
func (s Source) each(ctx context.Context, at []int, visit func(plane []uint8)) error {
	first := 0
	for i := 0; i < s.Shards && len(at) > 0; i++ {
		planes, err := s.load(ctx, i)
		if err != nil {
			return err
		}
		n := len(planes) / PlaneLen
		for len(at) > 0 && at[0] < first+n {
			visit(planes[(at[0]-first)*PlaneLen : (at[0]-first+1)*PlaneLen])
			at = at[1:]
		}
		first += n
	}
	if len(at) > 0 {
		return fmt.Errorf("image %d: there are %d", at[0], first)
	}
	return nil
}

// count is the number of images.
func (s Source) count(ctx context.Context) (int, error) {
	if s.Images > 0 {
		return s.Images, nil
	}
	n := 0
	for i := range s.Shards {
		planes, err := s.load(ctx, i)
		if err != nil {
			return 0, err
		}
		n += len(planes) / PlaneLen
	}
	return n, nil
}

// thumbOf averages squares of 2x2 pixels.
func thumbOf(plane []uint8) []uint8 {
	const side = PlaneLen / (2 * ThumbSize) // of plane
	out := make([]uint8, thumbLen)
	for i := range out {
		at := i/ThumbSize*2*side + i%ThumbSize*2
		out[i] = uint8((int(plane[at]) + int(plane[at+1]) + int(plane[at+side]) + int(plane[at+side+1]) + 2) / 4)
	}
	return out
}
