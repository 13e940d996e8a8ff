package model

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCalibrate(t *testing.T) {
	r := tiny()
	c, err := Calibrate(t.Context(), r)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(c.Steps), calibrationLeast)
	require.LessOrEqual(t, len(c.Steps), calibrationMost)
	require.True(t, slices.IsSorted(c.Steps))
	require.Positive(t, c.Steps[0])
	require.Positive(t, c.Image)
	require.Positive(t, c.PNG)

	g := newGAN(t, r)
	var saved bytes.Buffer
	require.NoError(t, g.Save(&saved))
	require.InDelta(t, saved.Len(), c.Checkpoint, 64, "the number of the step is a few digits longer")
}

func TestCalibrateStops(t *testing.T) {
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err := Calibrate(ctx, tiny())
	require.ErrorIs(t, err, why)
	r := tiny()
	r.Model.Latent = 0
	_, err = Calibrate(t.Context(), r)
	require.ErrorContains(t, err, "model.latent")
}
