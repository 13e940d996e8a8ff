package release

import "github.com/defectforge/defectforge/storage"

// HostileManifest renders a manifest with its right name, but with a path that
// no honest one has.
func HostileManifest(class, path string, data []byte) (name string, raw []byte) {
	m := Manifest{Version: 1, Class: class, Images: 1, Files: []File{
		{Path: path, Size: int64(len(data)), SHA256: storage.Digest(data)},
		{Path: "images/a.png", Size: 0, SHA256: storage.Digest(nil)},
		{Path: MetadataName, Size: 0, SHA256: storage.Digest(nil)},
	}}
	m.Release = m.name()
	return m.Release, m.Encode()
}

// OddMetadata renders a manifest of one empty image, images/a.png, with
// metadata that Publish would not write.
func OddMetadata(class string, metadata []byte) (name string, raw []byte) {
	m := Manifest{Version: 1, Class: class, Images: 1, Files: []File{
		{Path: "images/a.png", Size: 0, SHA256: storage.Digest(nil)},
		{Path: MetadataName, Size: int64(len(metadata)), SHA256: storage.Digest(metadata)},
	}}
	m.Release = m.name()
	return m.Release, m.Encode()
}
