package release

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// hubLicenses are identifiers that Hugging Face's cards take as they are, by
// their SPDX names.
var hubLicenses = map[string]string{
	"Apache-2.0": "apache-2.0", "MIT": "mit", "BSD-2-Clause": "bsd-2-clause", "BSD-3-Clause": "bsd-3-clause",
	"CC0-1.0": "cc0-1.0", "CC-BY-4.0": "cc-by-4.0", "CC-BY-SA-4.0": "cc-by-sa-4.0", "CC-BY-NC-4.0": "cc-by-nc-4.0",
	"CC-BY-NC-SA-4.0": "cc-by-nc-sa-4.0", "CC-BY-ND-4.0": "cc-by-nd-4.0", "CC-BY-NC-ND-4.0": "cc-by-nc-nd-4.0",
	"ODbL-1.0": "odbl", "ODC-By-1.0": "odc-by", "PDDL-1.0": "pddl", "CDLA-Permissive-2.0": "cdla-permissive-2.0",
}

const noLicense = "none stated: ask whoever published it"

// spdx is the form of an SPDX licence identifier.
var spdx = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+-]*-[0-9][A-Za-z0-9.+-]*$|^(MIT|ISC|Zlib|Unlicense|0BSD)$`)

// licenseURL is the licence as croissant.json states it.
func (d Draft) licenseURL() string {
	switch {
	case d.License == "":
		return noLicense
	case spdx.MatchString(d.License):
		return "https://spdx.org/licenses/" + d.License + ".html"
	}
	return d.License
}

// card renders the data set card. Its front matter says to Hugging Face which of
// the files are the data set: the shards hold the same images again.
func (d Draft) card(images int) []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("---\npretty_name: %s\n", line("Synthetic images of "+d.Class))
	switch known, ok := hubLicenses[d.License]; {
	case ok:
		p("license: %s\n", known)
	case d.License == "":
		p("license: unknown\n")
	default:
		p("license: other\nlicense_name: %s\n", line(d.License))
	}
	p("task_categories:\n- image-classification\ntags:\n- synthetic\n- defect\n")
	p("configs:\n- config_name: default\n  data_files:\n  - split: train\n    path:\n    - %s\n    - %s/**\n---\n\n", MetadataName, ImageDir)
	p("# Synthetic images of %s\n\n", d.Class)
	p("%d generated images of the defect class `%s`, made by defectforge. They are no photographs.\n\n", images, d.Class)
	p("Licence: %s.\n\n", strings.TrimSuffix(clean(cmp.Or(d.License, noLicense)), "."))
	p("## Loading them\n\n```python\nfrom datasets import load_dataset\nimages = load_dataset(\"this folder\", split=\"train\")\n\n"+
		"from torchvision.datasets import ImageFolder\nimages = ImageFolder(\"this folder/%s\")\n\n", ImageDir)
	p("import webdataset\n"+
		"images = webdataset.WebDataset(\"this folder/%s/%s-000000.tar\").decode(\"pil\").to_tuple(\"png\", \"json\")\n\n",
		ShardDir, undotted(d.Class))
	p("import mlcroissant\nimages = mlcroissant.Dataset(\"this folder/%s\").records(\"samples\")\n```\n\n", CroissantName)
	p("`%s` lists every file with its size and SHA-256; `%s` has a line for each image.\n", ManifestName, MetadataName)
	if d.About != "" {
		p("\n%s\n", strings.TrimSpace(d.About))
	}
	if len(d.Attributes) > 0 {
		p("\n## Attributes\n\n| attribute | value |\n| --- | --- |\n")
		for _, k := range slices.Sorted(maps.Keys(d.Attributes)) {
			p("| %s | %s |\n", clean(k), clean(d.Attributes[k]))
		}
	}
	return b.Bytes()
}

// clean is text that stays within a table's cell.
func clean(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ").Replace(s)
}
