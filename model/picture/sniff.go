package picture

import "bytes"

// sniff names the format that data begins like, "" for none that is known.
func sniff(data []byte) string {
	begins := func(magic string) bool { return bytes.HasPrefix(data, []byte(magic)) }
	within := func(at int, magic string) bool {
		return len(data) >= at+len(magic) && string(data[at:at+len(magic)]) == magic
	}
	switch {
	case begins("\x89PNG\r\n\x1a\n"):
		return "png"
	case begins("\xff\xd8\xff"):
		return "jpeg"
	case begins("GIF87a"), begins("GIF89a"):
		return "gif"
	case isTIFF(data):
		return "tiff"
	case begins("RIFF") && within(8, "WEBP"):
		return "webp"
	case isBMP(data):
		return "bmp"
	}
	return ""
}

// others are image formats that are not read, by what their files begin with.
var others = []struct{ magic, name string }{
	{"8BPS", "Photoshop"},
	{"\x00\x00\x00\x0cjP  ", "JPEG 2000"},
	{"\xff\x4f\xff\x51", "JPEG 2000"},
	{"\x00\x00\x00\x0cJXL ", "JPEG XL"},
	{"\xff\x0a", "JPEG XL"},
	{"II\xbc\x01", "JPEG XR"},
	{"v/1\x01", "OpenEXR"},
	{"#?RADIANCE", "Radiance HDR"},
	{"SIMPLE  =", "FITS"},
	{"P1\n", "a portable bitmap (PBM)"}, {"P4\n", "a portable bitmap (PBM)"},
	{"P2\n", "a portable greymap (PGM)"}, {"P5\n", "a portable greymap (PGM)"},
	{"P3\n", "a portable pixmap (PPM)"}, {"P6\n", "a portable pixmap (PPM)"},
	{"\x00\x00\x01\x00", "an icon"},
}

// otherFormat names the image format of data among those that are not read, ""
// where it is none.
func otherFormat(data []byte) string {
	if len(data) < 16 {
		return ""
	}
	if string(data[4:8]) == "ftyp" {
		switch string(data[8:12]) {
		case "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "mif2", "msf1", "avif", "avis":
			return "HEIF or AVIF"
		}
	}
	if len(data) >= 132 && string(data[128:132]) == "DICM" {
		return "DICOM"
	}
	for _, other := range others {
		if bytes.HasPrefix(data, []byte(other.magic)) {
			return other.name
		}
	}
	return ""
}
