package spec

import "cmp"

// ImageChannels is the number of channels of the model's images: 1 or 3.
func (m Model) ImageChannels() int { return cmp.Or(m.Channels, Channels) }

// ImageSide is the side of the model's images, in pixels.
func (m Model) ImageSide() int { return cmp.Or(m.Size, Size) }

// ImageLen is the number of values of one of the model's images (c,h,w).
func (m Model) ImageLen() int { return m.ImageChannels() * m.ImageSide() * m.ImageSide() }
