package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage/folder"
)

func TestFolderPrefixFollowsNamesAndBytes(t *testing.T) {
	a := []folder.File{{Name: "a", SHA256: "1"}, {Name: "b", SHA256: "2"}}
	base := folderPrefix("c", a)
	assert.Equal(t, base, folderPrefix("c", []folder.File{{Name: "a", SHA256: "1", Path: "/elsewhere"}, {Name: "b", SHA256: "2"}}))
	assert.NotEqual(t, base, folderPrefix("d", a))
	assert.NotEqual(t, base, folderPrefix("c", []folder.File{{Name: "a", SHA256: "1"}, {Name: "b", SHA256: "3"}}))
	assert.NotEqual(t, base, folderPrefix("c", []folder.File{{Name: "a", SHA256: "1"}, {Name: "x", SHA256: "2"}}))
}

func TestParseS3(t *testing.T) {
	for src, want := range map[string]step.Source{
		"s3://b/p":    {Bucket: "b", Prefix: "p/"},
		"s3://b/p/q/": {Bucket: "b", Prefix: "p/q/"},
		"s3://b":      {Bucket: "b"},
		"s3://b/":     {Bucket: "b"},
		"S3://b/P":    {Bucket: "b", Prefix: "P/"},
		"s3a://b/p":   {Bucket: "b", Prefix: "p/"},
	} {
		got, remote, err := parseS3("--images", src)
		require.NoError(t, err)
		assert.True(t, remote)
		assert.Equal(t, want, got, src)
	}
	_, remote, err := parseS3("--images", "folder")
	require.NoError(t, err)
	assert.False(t, remote)
	_, remote, err = parseS3("--images", "https://store.example/b/p")
	assert.True(t, remote)
	assert.ErrorContains(t, err, "https is not read; write s3://bucket/prefix, and name the store in store.endpoint")
	for _, src := range []string{"s3://", "s3:///p", "s3://b//p", "s3://b/p//q"} {
		_, _, err := parseS3("--images", src)
		assert.Error(t, err, src)
	}
}
