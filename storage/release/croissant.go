package release

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const (
	croissantVersion = "http://mlcommons.org/croissant/1.1"
	home             = "https://github.com/defectforge/defectforge"
	// published stands where the format demands a date: a true one would make
	// equal content unequal. When a release appeared is what the store says of
	// its manifest.
	published = "1970-01-01"
)

// croissantContext is the JSON-LD context that Croissant 1.1 prescribes.
var croissantContext = json.RawMessage(`{"@language":"en","@vocab":"https://schema.org/",` +
	`"arrayShape":"cr:arrayShape","citeAs":"cr:citeAs",` +
	`"column":"cr:column","conformsTo":"dct:conformsTo","containedIn":"cr:containedIn","cr":"http://mlcommons.org/croissant/",` +
	`"rai":"http://mlcommons.org/croissant/RAI/","data":{"@id":"cr:data","@type":"@json"},"dataType":{"@id":"cr:dataType","@type":"@vocab"},` +
	`"dct":"http://purl.org/dc/terms/","description":{"@container":"@language"},"equivalentProperty":"cr:equivalentProperty",` +
	`"examples":{"@id":"cr:examples","@type":"@json"},"extract":"cr:extract","field":"cr:field","fileProperty":"cr:fileProperty",` +
	`"fileObject":"cr:fileObject","fileSet":"cr:fileSet","format":"cr:format","includes":"cr:includes","isArray":"cr:isArray",` +
	`"isLiveDataset":"cr:isLiveDataset","jsonPath":"cr:jsonPath","key":"cr:key","md5":"cr:md5","name":{"@container":"@language"},` +
	`"parentField":"cr:parentField","path":"cr:path","recordSet":"cr:recordSet","references":"cr:references","regex":"cr:regex",` +
	`"repeated":"cr:repeated","replace":"cr:replace","samplingRate":"cr:samplingRate","sc":"https://schema.org/","separator":"cr:separator",` +
	`"source":"cr:source","subField":"cr:subField","transform":"cr:transform"}`)

// node is a JSON-LD node; encoding/json sorts its keys.
type node = map[string]any

func ref(id string) node { return node{"@id": id} }

// croissant renders croissant.json: the images as files beside it, their labels
// by folder, and the columns of metadata.jsonl. It can't name the manifest,
// which lists it.
func (d Draft) croissant(metadata File, shards []piece, lines [][]byte) ([]byte, error) {
	columns, err := columnsOf(lines)
	if err != nil {
		return nil, err
	}
	distribution := []node{fileObject(metadata, "application/jsonlines"),
		{"@type": "cr:FileSet", "@id": "images", "name": "images", "description": "The images, in a folder named like their label.",
			"encodingFormat": "image/png", "includes": ImageDir + "/*/*.png"}}
	for _, s := range shards {
		distribution = append(distribution, fileObject(s.File, "application/x-tar"))
	}
	doc := node{
		"@context": croissantContext, "@type": "sc:Dataset", "conformsTo": croissantVersion,
		"name": "Synthetic images of " + d.Class,
		"description": fmt.Sprintf("%d generated images of the defect class %s, none of them a photograph. "+
			"README.md says how they were made and judged.",
			len(lines), d.Class),
		"license": d.licenseURL(), "url": home, "version": "1.0.0", "datePublished": published,
		"citeAs":       "defectforge release of class " + d.Class + "; manifest.json beside this file has its name and every digest",
		"creator":      node{"@type": "sc:Organization", "name": "defectforge", "url": home},
		"keywords":     []string{"synthetic", "defect", d.Class},
		"distribution": distribution,
		"recordSet":    []node{d.labelSet(), d.imageSet(), metadataSet(columns)},
	}
	return indented(doc), nil
}

// indented renders v for people as well.
func indented(v any) []byte {
	var b bytes.Buffer
	if err := json.Indent(&b, line(v), "", " "); err != nil {
		panic("release: " + err.Error())
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func fileObject(f File, format string) node {
	return node{"@type": "cr:FileObject", "@id": f.Path, "name": f.Path, "contentUrl": f.Path, "contentSize": fmt.Sprintf("%d B", f.Size),
		"encodingFormat": format, "sha256": f.SHA256}
}

func (d Draft) labelSet() node {
	return node{"@type": "cr:RecordSet", "@id": "labels", "name": "labels", "description": "The defect classes.", "dataType": "sc:Enumeration",
		"key":   ref("labels/name"),
		"field": []node{{"@type": "cr:Field", "@id": "labels/name", "name": "name", "description": "The class.", "dataType": "sc:Text"}},
		"data":  []node{{"labels/name": d.Class}}}
}

func field(set, name, about, kind string, source node) node {
	return node{"@type": "cr:Field", "@id": set + "/" + name, "name": name, "description": about, "dataType": kind, "source": source}
}

func (d Draft) imageSet() node {
	from := func(property string, transform ...node) node {
		source := node{"fileSet": ref("images"), "extract": node{"fileProperty": property}}
		if len(transform) > 0 {
			source["transform"] = transform[0]
		}
		return source
	}
	// The second alternative leaves a label as it is: readers may apply it twice.
	label := field("samples", "label", "The defect class.", "sc:Text",
		from("fullpath", node{"regex": `^(?:.*/)?([^/]+)/[^/]+\.png$|^([^/]+)$`}))
	label["references"] = node{"field": ref("labels/name")}
	return node{"@type": "cr:RecordSet", "@id": "samples", "name": "samples", "description": "The images with their labels.",
		"key": ref("samples/name"), "field": []node{
			field("samples", "image", "The pixels, "+cmp.Or(d.Pixels, DefaultPixels)+".", "sc:ImageObject", from("content")),
			field("samples", "name", "The file's name, without its folder.", "sc:Text", from("filename")),
			label,
		}}
}

func metadataSet(columns []column) node {
	fields := make([]node, len(columns))
	for i, c := range columns {
		source := node{"fileObject": ref(MetadataName), "extract": node{"column": c.name}}
		name := c.name
		if c.inner != "" {
			source["transform"] = node{"jsonPath": c.inner}
			name += "_" + c.inner
		}
		fields[i] = field("metadata", name, "Of "+MetadataName+"; README.md explains it.", c.kind, source)
	}
	return node{"@type": "cr:RecordSet", "@id": "metadata", "name": "metadata", "description": "What is known about each image.",
		"key": ref("metadata/file_name"), "field": fields}
}

// column is a field of the metadata, or one within it, of one JSON type.
type column struct{ name, inner, kind string }

// plainName is what goes into an identifier and a JSON path without quoting.
var plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// columnsOf lists the columns of all lines by name. Lists, and what is nested
// deeper, have no column of their own.
func columnsOf(lines [][]byte) ([]column, error) {
	kinds := columnKinds{}
	for _, l := range lines {
		row := map[string]any{}
		dec := json.NewDecoder(bytes.NewReader(l))
		dec.UseNumber()
		if err := dec.Decode(&row); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", MetadataName, ErrMalformed, err)
		}
		for name, v := range row {
			err := kinds.add(column{name: name}, v)
			if inner, nested := v.(map[string]any); nested {
				for key, v := range inner {
					if err == nil {
						err = kinds.add(column{name: name, inner: key}, v)
					}
				}
			}
			if err != nil {
				return nil, err
			}
		}
	}
	columns := make([]column, 0, len(kinds))
	for c, kind := range kinds {
		columns = append(columns, column{c.name, c.inner, kind})
	}
	slices.SortFunc(columns, func(a, b column) int { return strings.Compare(a.name+"\x00"+a.inner, b.name+"\x00"+b.inner) })
	return columns, nil
}

// columnKinds are the schema.org types of columns, which have none themselves.
type columnKinds map[column]string

// add notes that c holds v in one of the lines.
func (k columnKinds) add(c column, v any) error {
	kind := kindOf(v)
	if kind == "" || !plainName.MatchString(c.name) || c.inner != "" && !plainName.MatchString(c.inner) {
		return nil
	}
	switch before := k[c]; {
	case before == "" || before == "sc:Integer" && kind == "sc:Float":
		k[c] = kind
	case before != kind && !(before == "sc:Float" && kind == "sc:Integer"):
		return fmt.Errorf("field %q: %w: is %s in one image and %s in another", c.name, ErrMalformed, before, kind)
	}
	return nil
}

// kindOf is the schema.org type of a JSON value, "" for what is no plain value.
func kindOf(v any) string {
	switch v := v.(type) {
	case string:
		return "sc:Text"
	case bool:
		return "sc:Boolean"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "sc:Float"
		}
		return "sc:Integer"
	}
	return ""
}
