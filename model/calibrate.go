package model

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
)

// How long Calibrate may take. A step that has begun is finished, and a few are
// tried at least.
const (
	calibrationTime  = 4 * time.Second
	calibrationLeast = 3
	calibrationMost  = 40
	calibrationDrawn = 8 // images, to time and to weigh them
)

// Calibration is what this machine does with a recipe's networks.
type Calibration struct {
	Steps      []float64 // seconds of each step that was tried, sorted
	Image      float64   // seconds to draw one
	PNG        int64     // bytes of an image
	Checkpoint int64     // bytes
}

// Calibrate trains the recipe's networks for some seconds on images of no
// meaning, on the threads that package kernel is set to, and draws some images.
func Calibrate(ctx context.Context, r spec.Recipe) (Calibration, error) {
	var c Calibration
	gan, err := New(r)
	if err != nil {
		return c, fmt.Errorf("calibrate: %w", err)
	}
	defer gan.Close()
	if err := c.timeSteps(ctx, gan); err != nil {
		return c, fmt.Errorf("calibrate: %w", err)
	}
	var size weight
	if err := gan.Save(&size); err != nil {
		return c, fmt.Errorf("calibrate: %w", err)
	}
	c.Checkpoint = int64(size)
	if err := c.draw(gan); err != nil {
		return c, fmt.Errorf("calibrate: %w", err)
	}
	return c, nil
}

func (c *Calibration) timeSteps(ctx context.Context, gan *GAN) error {
	r := gan.recipe
	raw := make([]uint8, r.Train.Batch*spec.ImageLen)
	for i := range raw { // what they show does not matter for the time
		raw[i] = uint8(i*31 ^ i>>7)
	}
	batch := FromRGB(nil, raw, r.Model)
	gan.Trains(calibrationMost)
	began := time.Now()
	for i := 0; i <= calibrationLeast || i <= calibrationMost && time.Since(began) < calibrationTime; i++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		start := time.Now()
		if _, err := gan.Step(batch); err != nil {
			return err
		}
		if i > 0 { // the first one builds what the others use
			c.Steps = append(c.Steps, time.Since(start).Seconds())
		}
	}
	slices.Sort(c.Steps)
	return nil
}

// draw times and weighs some images.
func (c *Calibration) draw(gan *GAN) error {
	sampler, err := NewSampler(gan, gan.recipe)
	if err != nil {
		return err
	}
	defer sampler.Close()
	start := time.Now()
	pixels, err := sampler.Images(0, calibrationDrawn)
	if err != nil {
		return err
	}
	c.Image = time.Since(start).Seconds() / calibrationDrawn
	encode := picture.EncodePNG
	if gan.recipe.Model.ImageChannels() == 1 {
		encode = picture.EncodeGreyPNG
	}
	for image := range slices.Chunk(pixels, len(pixels)/calibrationDrawn) {
		png, err := encode(image)
		if err != nil {
			return err
		}
		c.PNG += int64(len(png)) / calibrationDrawn
	}
	return nil
}

// weight counts the bytes that are written to it.
type weight int64

func (w *weight) Write(b []byte) (int, error) {
	*w += weight(len(b))
	return len(b), nil
}
