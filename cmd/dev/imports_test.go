package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/defectforge/defectforge/"

// pkg is the part of `go list -json` that the rules look at.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// rule forbids packages below from (module-relative, "..." for all below it) to
// import anything that begins with one of the prefixes, unless allowed.
type rule struct {
	from   string
	forbid []string
	except []string // import prefixes that are fine all the same
	unless []string // packages the rule does not bind
	tests  bool     // whether tests are bound as well
	why    string
}

var (
	temporal = []string{"go.temporal.io/"}
	gorgonia = []string{"gorgonia.org/", "go4.org/unsafe/assume-no-moving-gc"}
	stack    = []string{"go.temporal.io/server", "github.com/temporalio/ui-server", "github.com/versity/"}
)

// commands is where the rooms beside the commands are.
const commands = "cmd/defectforge/internal/"

// rules are the arrows of the design: only cmd wires things together.
var rules = []rule{
	{from: "workflows/...", forbid: []string{module}, except: []string{module + "activities/step", module + "model/spec"},
		why: "workflows know activities by their contract only"},
	{from: "activities/step", forbid: []string{module}, except: []string{module + "model/spec"}, tests: true,
		why: "the contract carries no implementation"},
	{from: "activities/...", forbid: []string{module + "workflows", module + "cmd", module + "config", module + "deploy"}, tests: true,
		why: "activities know neither who calls them nor how they are configured"},
	{from: "activities/ledger", forbid: []string{module}, tests: true,
		except: []string{module + "activities/step", module + "model/spec", module + "model/checkpoint", module + "model/quality",
			module + "storage"},
		why: "the ledger knows what lies in the bucket, not who makes it"},
	{from: "activities/ledger", forbid: []string{module + "storage/release"}, tests: true, why: "releases have an owner of their own"},
	{from: "activities/retention", forbid: []string{module + "activities", module + "model"}, except: []string{module + "activities/step", module + "activities/ledger"},
		why: "a clean-up knows documents, not stages"},
	{from: "activities/campaign", forbid: []string{module + "activities", module + "model"}, except: []string{module + "activities/step", module + "activities/ledger",
		module + "activities/report", module + "model/spec"}, why: "a campaign knows records and outcomes, not stages"},
	{from: "activities/report", forbid: []string{module + "storage", module + "activities/retention", module + "activities/campaign"}, tests: true,
		why: "reports are rendered of what they are given"},
	{from: "model/...", forbid: append([]string{module + "activities", module + "workflows", module + "storage", module + "config",
		module + "cmd", module + "deploy", "github.com/minio/"}, temporal...), tests: true,
		why: "the model knows no Temporal and no store"},
	{from: "model/spec", forbid: []string{module}, why: "plain data"},
	{from: "storage/...", forbid: append([]string{module + "model", module + "activities", module + "workflows", module + "config",
		module + "cmd", module + "deploy"}, temporal...), tests: true, why: "the store knows nothing of what it keeps"},
	{from: "storage/release", forbid: []string{module, "github.com/", "golang.org/", "google.golang.org/", "aead.dev/"}, except: []string{module + "storage"},
		why: "readers of a release link nothing heavy; signatures are checked by storage/release/sign"},
	{from: "storage/release", forbid: []string{module + "storage/s3", module + "storage/memory", module + "storage/instrumented"},
		why: "a release is read from whatever bucket the caller has"},
	{from: "storage/folder", forbid: []string{module, "github.com/", "golang.org/"}, except: []string{module + "storage"},
		why: "readers of a pulled release link it"},
	{from: "storage/memory", forbid: []string{module, "github.com/", "golang.org/"}, except: []string{module + "storage"},
		why: "a driver knows the contract and nothing else of this house"},
	{from: "storage", forbid: []string{module, "github.com/"}, why: "drivers are sub-packages; readers of a release link this one"},
	{from: "config", forbid: []string{module}, except: []string{module + "model/spec"}, why: "configuration is values"},
	{from: "deploy/devstack/...", forbid: []string{module}, except: []string{module + "deploy/devstack"}, tests: true,
		why: "the embedded stack serves anybody"},
	{from: "...", forbid: gorgonia, unless: []string{"model/graph"}, tests: true, why: "Gorgonia stays behind model/graph"},
	{from: "...", forbid: stack, unless: []string{"deploy/devstack"}, why: "only devstack links the servers"},
	{from: commands + "console", forbid: []string{module}, tests: true, why: "the console knows nothing of what is shown"},
	{from: commands + "client", forbid: []string{module}, tests: true,
		except: []string{module + "activities/step", module + "workflows"},
		why:    "a client of the workflows knows their contract, neither how it was connected nor how anything is shown"},
	{from: commands + "progress", forbid: []string{module}, tests: true,
		except: []string{module + "activities/step", module + "workflows", module + commands + "client", module + commands + "console"},
		why:    "a view shows what the client found"},
	{from: commands + "process/...", forbid: []string{module + commands + "progress", "github.com/spf13/"}, tests: true,
		why: "the process knows no command"},
	{from: "cmd/dev", forbid: []string{module + "cmd"}, tests: true, why: "only cmd/defectforge wires its rooms together"},
	{from: "...", forbid: []string{"github.com/minio/"}, unless: []string{"storage/s3", "deploy/devstack"},
		why: "S3 is spoken by one driver"},
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("list packages: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("list packages: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("read package list: %v", err)
		}
		all = append(all, p)
	}
}

// covers reports whether pattern ("a/b" or "a/b/...") names the package.
func covers(pattern, name string) bool {
	if pattern == "..." {
		return true
	}
	if dir, deep := strings.CutSuffix(pattern, "/..."); deep {
		return name == dir || strings.HasPrefix(name, dir+"/")
	}
	return name == pattern
}

func hasPrefix(name string, prefixes []string) bool {
	for _, p := range prefixes {
		trimmed := strings.TrimSuffix(p, "/")
		if name == trimmed || strings.HasPrefix(name, trimmed+"/") {
			return true
		}
	}
	return false
}

// violations lists the imports of p that r forbids.
func (r rule) violations(p pkg) []string {
	name := strings.TrimPrefix(p.ImportPath, module)
	if !covers(r.from, name) {
		return nil
	}
	for _, u := range r.unless {
		if covers(u+"/...", name) {
			return nil
		}
	}
	imports := p.Imports
	if r.tests {
		imports = append(append(append([]string{}, imports...), p.TestImports...), p.XTestImports...)
	}
	var bad []string
	for _, i := range imports {
		// A package's own external tests import it.
		if i == p.ImportPath || !hasPrefix(i, r.forbid) || hasPrefix(i, r.except) {
			continue
		}
		bad = append(bad, i)
	}
	return bad
}

// TestImportArrows proves that imports point the way the design says.
func TestImportArrows(t *testing.T) {
	all := list(t)
	for _, r := range rules {
		used := false
		for _, p := range all {
			used = used || covers(r.from, strings.TrimPrefix(p.ImportPath, module))
			for _, bad := range r.violations(p) {
				t.Errorf("%s imports %s: %s", strings.TrimPrefix(p.ImportPath, module), strings.TrimPrefix(bad, module), r.why)
			}
		}
		if !used {
			t.Errorf("rule for %s binds no package: the tree has changed", r.from)
		}
	}
}

// TestImportRulesCanFail plants a violation of each rule and expects it found.
func TestImportRulesCanFail(t *testing.T) {
	for _, r := range rules {
		from := strings.TrimSuffix(r.from, "/...")
		if r.from == "..." {
			from = "planted"
		}
		planted := pkg{ImportPath: module + from, Imports: []string{path.Join(r.forbid[0], "planted")}}
		if len(r.violations(planted)) != 1 {
			t.Errorf("rule for %s does not see an import of %s", r.from, planted.Imports[0])
		}
	}
}
