package activities

import (
	"context"
	"errors"
	"fmt"
	"image"
	"runtime"

	"golang.org/x/sync/semaphore"

	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
)

// maxPixelsAtOnce bounds the images that are decoded at one time, by the sum of
// their pixels: a decoder needs up to 16 bytes for each.
const maxPixelsAtOnce = 32 << 20

// readers is how many source images are read and decoded side by side. Reading
// waits more than it computes.
func readers() int { return 2 * runtime.GOMAXPROCS(0) }

// decoder decodes images side by side in bounded memory.
type decoder struct {
	limits picture.Limits
	pixels *semaphore.Weighted
}

func newDecoder(limits picture.Limits) decoder {
	return decoder{limits, semaphore.NewWeighted(maxPixelsAtOnce)}
}

// decode decodes data and hands the pixels to use, which may not keep them.
// Errors of package picture mean that the image can't be used.
func (d decoder) decode(ctx context.Context, data []byte, limits picture.Limits, use func(*image.RGBA) error) (picture.Info, error) {
	info, err := picture.Inspect(data, limits)
	if err != nil {
		return info, err
	}
	weight := min(int64(info.Width)*int64(info.Height), maxPixelsAtOnce)
	if err := d.pixels.Acquire(ctx, weight); err != nil {
		return info, err
	}
	defer d.pixels.Release(weight)
	img, info, err := picture.Decode(data, limits)
	if err != nil {
		return info, err
	}
	return info, use(img)
}

// limitsOf are the recipe's limits for images. Levels that all images decide are taken
// to be each image's own, which is enough to compare images by.
func limitsOf(in spec.Ingest) picture.Limits {
	limits := picture.Limits{MaxBytes: in.MaxBytes, MaxPixels: in.MaxPixels, MinSide: in.MinSide, Levels: in.WhiteLevel()}
	if in.Levels == spec.LevelsAuto {
		limits.Levels = picture.OwnLevels
	}
	return limits
}

// whiteLevel is the data set's: the sample of images of 16 bits that becomes white; 0
// where there are no such images, or the upper 8 bits are kept.
func whiteLevel(images []scanned, in spec.Ingest) int {
	peak := 0
	for _, i := range images {
		peak = max(peak, i.peak)
	}
	switch {
	case peak == 0:
		return 0
	case in.Levels == spec.LevelsAuto:
		return picture.Levels(peak)
	}
	return in.WhiteLevel()
}

// unusable says why an image can't be used, and which setting would change that.
func unusable(err error) string {
	for limit, setting := range map[error]string{
		picture.ErrTooManyBytes: "ingest.max_bytes", picture.ErrTooManyPixels: "ingest.max_pixels", picture.ErrTooSmall: "ingest.min_side",
	} {
		if errors.Is(err, limit) {
			return fmt.Sprintf("%s (%s)", reason(err), setting)
		}
	}
	return reason(err)
}
