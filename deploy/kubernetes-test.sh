#!/usr/bin/env bash
# kubernetes-test.sh [STEP...]: tries k8s/overlays/development on the cluster that kubectl talks to, in a
# namespace of its own, bedplate-test, which it makes and removes again. Without a STEP all of them, in order:
#
#   ready       four replicas are scheduled at once on an empty database: all become ready, one migrates
#   rolling     a rolling update under load loses no request
#   deletion    deleting pods under load, one after the other, loses no request
#   loss        a service that is killed (SIGKILL) loses no accepted write; it prints what clients notice
#   migration   a bad migration: the old pods go on serving, the new one stays in Init and says why
#   zero        down to zero replicas and up again
#   outage      the database is away for 60 s: no pod is started anew; readiness takes all out and back in
#   job         the component migration-job: pods wait until the Job has migrated, and go on
#
# Needs kubectl 1.21 or later and a cluster of 1.20 or later with the images bedplate-migrator:dev,
# bedplate-service:dev and bedplate-migrator:bad on its nodes (`kind load docker-image` or the like), where
# postgres:17 is too or can be pulled. `kubernetes-test.sh images` builds the three with Docker; the last is a
# release whose newest migration fails. KEEP=yes leaves the namespace.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
NAMESPACE=bedplate-test
# In the repository, because kustomize takes no absolute path.
WORK=$ROOT/target/kubernetes-test
STEPS=(ready rolling deletion loss migration zero outage job)

say() { printf '%s kubernetes-test: %s\n' "$(date +%T)" "$*"; }
die() {
  say "$*" >&2
  exit 1
}
FAILED=0
CHECKED=0
pass() {
  CHECKED=$((CHECKED + 1))
  say "ok    $*"
}
fail() {
  CHECKED=$((CHECKED + 1))
  FAILED=$((FAILED + 1))
  say "FAIL  $*"
}
# check WHAT COMMAND...: passes when the command succeeds.
check() {
  local what=$1
  shift
  if "$@"; then pass "$what"; else fail "$what"; fi
}

k() { kubectl --namespace "$NAMESPACE" "$@"; }
seconds() { date +%s.%N; }
since() { awk -v from="$1" -v to="$(seconds)" 'BEGIN { printf "%.1f", to - from }'; }

# eventually SECONDS COMMAND...: until it succeeds; fails when the time is over.
eventually() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.3
  done
}

# ---- Images ------------------------------------------------------------------------------------------

images() {
  export DOCKER_BUILDKIT=1
  local context database
  docker build --target migrator --tag bedplate-migrator:dev "$ROOT"
  docker build --target service --tag bedplate-service:dev "$ROOT"
  # The bad release is compiled where the good one was, so that only the migrator is compiled again: with both
  # packages named, its dependencies have the features that they have there.
  docker build --target build --tag bedplate-build:dev "$ROOT"
  context=$(mktemp -d)
  for database in postgres sqlite; do
    mkdir -p "$context/migrations/$database" "$context/undo/$database"
    # What comes before the mistake has to be rolled back with it.
    printf '%s\n' 'CREATE TABLE half_done (id bigint NOT NULL PRIMARY KEY);' \
      'INSERT INTO there_is_no_such_table (id) VALUES (1);' >"$context/migrations/$database/V900__fail.sql"
    echo 'DROP TABLE half_done;' >"$context/undo/$database/D900__fail.sql"
  done
  docker build --tag bedplate-migrator:bad --file - "$context" <<'END'
FROM bedplate-build:dev AS build
COPY migrations migrator/migrations
COPY undo migrator/undo
RUN --mount=type=cache,id=bedplate-cargo,target=/usr/local/cargo/registry,sharing=locked \
    host=$(rustc --print host-tuple) \
    && cargo build --release --locked --target "$host" --package migrator --package service --bin migrator \
    && cp "target/$host/release/migrator" /out/
FROM bedplate-migrator:dev
COPY --from=build /out/migrator /usr/local/bin/migrator
END
  rm -r "$context"
  docker image rm bedplate-build:dev >/dev/null
}

# ---- What is applied ---------------------------------------------------------------------------------

# overlay REPLICAS [COMPONENT]: development in the test's namespace, rendered into $WORK/resources.yaml.
overlay() {
  mkdir -p "$WORK"
  cat >"$WORK/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: $NAMESPACE
resources: [../../k8s/overlays/development]
components: [${2:+../../k8s/components/$2}]
replicas: [{ name: bedplate, count: $1 }]
images:
  - { name: bedplate-migrator, newTag: dev }
patches:
  - target: { kind: Namespace }
    options: { allowNameChange: true }
    patch: |
      - { op: replace, path: /metadata/name, value: $NAMESPACE }
END
  kubectl kustomize "$WORK" >"$WORK/resources.yaml"
}

remove_namespace() { kubectl delete namespace "$NAMESPACE" --ignore-not-found --timeout=180s >/dev/null; }

ready_pods() {
  k get pods --selector app.kubernetes.io/name=bedplate,app.kubernetes.io/component=service \
    --output 'jsonpath={range .items[*]}{.metadata.name} {.metadata.deletionTimestamp} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' |
    awk 'NF == 2 && $2 == "True" { print $1 }'
}
pods() { k get pods --selector app.kubernetes.io/name=bedplate,app.kubernetes.io/component=service --output name "$@"; }
are_ready() { [ "$(ready_pods | wc -l)" = "$1" ]; }
no_pods() { [ -z "$(pods)" ]; }
restarts() {
  pods --output 'jsonpath={range .items[*]}{.status.containerStatuses[?(@.name=="service")].restartCount}{"\n"}{end}' |
    awk '{ sum += $1 } END { print sum + 0 }'
}
query() {
  k exec postgres-0 -- psql --no-psqlrc --username=postgres --dbname=bedplate --tuples-only --no-align --command "$1"
}
rolled_out() { k rollout status deployment/bedplate --timeout="$1" >/dev/null; }

# deployed: there is a deployment with four ready replicas; a step that is tried alone makes it first.
deployed() {
  if ! k get deployment bedplate >/dev/null 2>&1; then
    overlay 4
    kubectl apply --filename "$WORK/resources.yaml" >/dev/null
  fi
  rolled_out 300s || die "the deployment does not become ready: $(k get pods)"
}

# ---- Load --------------------------------------------------------------------------------------------

LOAD=
# load_starts NAME: eight clients in a pod, through the Service.
load_starts() {
  LOAD=client-$1-$(date +%H%M%S)
  k delete pods --selector app.kubernetes.io/name=client --wait=false >/dev/null
  k create configmap client --from-file="$ROOT/deploy/kubernetes-test/client.pl" --dry-run=client --output yaml |
    k apply --filename - >/dev/null
  k apply --filename - >/dev/null <<END
apiVersion: v1
kind: Pod
metadata: { name: $LOAD, labels: { app.kubernetes.io/name: client } }
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext: { runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, seccompProfile: { type: RuntimeDefault } }
  containers:
    - name: client
      image: postgres:17
      imagePullPolicy: IfNotPresent
      command: [perl, /client/client.pl, bedplate, "80"]
      env:
        - { name: SOURCE, value: $LOAD }
        - { name: USERNAME, value: admin }
        - { name: PASSWORD, valueFrom: { secretKeyRef: { name: $(secret bedplate-owner), key: admin-password } } }
      volumeMounts:
        - { name: script, mountPath: /client }
        - { name: temporary, mountPath: /tmp }
      securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
  volumes:
    - { name: script, configMap: { name: client } }
    - { name: temporary, emptyDir: {} }
END
  eventually 90 load_runs || die "the clients do not start: $(k logs "$LOAD" --tail=3 2>&1)"
  sleep 2
}
load_runs() { k logs "$LOAD" | grep -q 'signed in'; }
# The name of a generated Secret ends in a hash.
secret() { k get secrets --output name | sed -n "s|^secret/\($1-.*\)|\1|p" | head -n 1; }

# load_ends: the clients' figures in REQUESTS, REFUSED, ACCEPTED, LONGEST, GAP; what failed, in $WORK/client.log.
load_ends() {
  k exec "$LOAD" -- touch /tmp/stop
  eventually 60 load_is_over || die "the clients do not end: $(k logs "$LOAD" --tail=3)"
  k logs "$LOAD" >"$WORK/$LOAD.log"
  local line
  line=$(tail -n 1 "$WORK/$LOAD.log")
  [[ $line =~ ^requests=([0-9]+)\ failed=([0-9]+)\ accepted=([0-9]+)\ longest_ms=([0-9]+)\ outage_ms=([0-9]+)$ ]] ||
    die "the clients ended with: $line"
  REQUESTS=${BASH_REMATCH[1]} REFUSED=${BASH_REMATCH[2]} ACCEPTED=${BASH_REMATCH[3]}
  LONGEST=${BASH_REMATCH[4]} GAP=${BASH_REMATCH[5]}
  STORED=$(query "SELECT count(*) FROM metrics_snapshot WHERE source = '$LOAD'")
  say "      $REQUESTS requests, $REFUSED failed, the longest took $LONGEST ms; $ACCEPTED writes accepted, $STORED stored"
  sed -n 's/^[0-9:]* client [0-9]*, \(kept\|new\): //p' "$WORK/$LOAD.log" | cut -c1-100 | sed 's/,"title.*//' | sort | uniq -c
}
load_is_over() { [ "$(k get pod "$LOAD" --output 'jsonpath={.status.phase}')" = Succeeded ]; }
nothing_lost() {
  check "$1: all $REQUESTS requests were answered" test "$REFUSED" = 0 -a "$REQUESTS" -gt 100
  accepted_kept "$1"
}
accepted_kept() { check "$1: all $ACCEPTED accepted writes are in the database" test "$STORED" -ge "$ACCEPTED" -a "$ACCEPTED" -gt 50; }

# every_pod_answered: each pod's own count of the clients' writes; asked through the API server.
every_pod_answered() {
  local pod count
  for pod in $(ready_pods); do
    count=$(k get --raw "/api/v1/namespaces/$NAMESPACE/pods/$pod:9464/proxy/metrics" |
      awk '/^http_server_request_duration_seconds_count.*POST.*snapshots/ { sum += $NF } END { print sum + 0 }')
    [ "$count" -gt 0 ] || { say "$pod answered nothing"; return 1; }
  done
}

# ---- The steps ---------------------------------------------------------------------------------------

ready() {
  remove_namespace
  overlay 4
  local began twice failures migrators pod
  began=$(seconds)
  kubectl apply --filename "$WORK/resources.yaml" >/dev/null
  check "the development overlay becomes ready, PostgreSQL included" rolled_out 300s
  say "      after $(since "$began") s"
  check "four pods are ready" are_ready 4
  check "no container was started twice" test "$(restarts)" = 0
  twice=$(query "SELECT count(*) FROM (SELECT FROM migrator_journal WHERE outcome = 'applied' GROUP BY version HAVING count(*) > 1) AS twice")
  failures=$(query "SELECT count(*) FROM migrator_journal WHERE outcome = 'failed'")
  check "each migration was applied once" test "$twice" = 0 -a "$failures" = 0 -a \
    "$(query "SELECT count(*) FROM migrator_journal WHERE outcome = 'applied'")" = "$(query 'SELECT count(*) FROM refinery_schema_history')"
  migrators=0
  for pod in $(pods); do
    if k logs "$pod" --container migrator | grep -q '^applied [1-9]'; then migrators=$((migrators + 1)); fi
  done
  check "one of four migrators applied them ($migrators did)" test "$migrators" = 1
}

rolling() {
  deployed
  local began before
  before=$(pods | sort)
  load_starts rolling
  check "each pod answers some of the clients" every_pod_answered
  began=$(seconds)
  k rollout restart deployment/bedplate >/dev/null
  check "the rolling update ends" rolled_out 300s
  say "      after $(since "$began") s for four pods, one at a time"
  eventually 90 old_gone "$before" || fail "the old pods are still there"
  sleep 1
  load_ends
  nothing_lost "rolling update"
}
old_gone() { [ -z "$(comm -12 <(echo "$1") <(pods | sort))" ]; }

deletion() {
  deployed
  local pod began
  load_starts deletion
  for pod in $(ready_pods | head -n 2); do
    began=$(seconds)
    k delete pod "$pod" --wait=true --timeout=120s >/dev/null
    say "      $pod ended $(since "$began") s after it was deleted"
    eventually 120 are_ready 4 || fail "no pod took its place"
  done
  sleep 1
  load_ends
  nothing_lost "deleted pods"
}

loss() {
  deployed
  local pod began
  load_starts loss
  pod=$(ready_pods | head -n 1)
  began=$(seconds)
  kill_service "$pod"
  eventually 60 is_restarted "$pod" || fail "$pod was not killed"
  eventually 120 are_ready 4 || fail "$pod does not come back"
  say "      four pods are ready again after $(since "$began") s"
  sleep 2
  load_ends
  say "      clients saw failures for $GAP ms"
  accepted_kept "killed service"
}
is_restarted() { [ "$(k get pod "$1" --output 'jsonpath={.status.containerStatuses[0].restartCount}')" -ge 1 ]; }

# kill_service POD: SIGKILL, as the kernel does it when memory is short. The image has nothing that could, so a pod
# beside it does that sees all processes of the node; it is in the namespace `default`, because that of the test
# allows no such pods.
kill_service() {
  local id node
  id=$(k get pod "$1" --output 'jsonpath={.status.containerStatuses[0].containerID}')
  node=$(k get pod "$1" --output 'jsonpath={.spec.nodeName}')
  kubectl --namespace default delete pod bedplate-test-kill --ignore-not-found >/dev/null
  kubectl --namespace default apply --filename - >/dev/null <<END
apiVersion: v1
kind: Pod
metadata: { name: bedplate-test-kill }
spec:
  nodeName: $node
  hostPID: true
  restartPolicy: Never
  automountServiceAccountToken: false
  containers:
    - name: kill
      image: postgres:17
      imagePullPolicy: IfNotPresent
      securityContext: { privileged: true, runAsUser: 0 }
      command:
        - bash
        - -c
        - grep -ls ${id##*/} /proc/[0-9]*/cgroup | cut -d/ -f3 | xargs kill -9
END
  eventually 120 is_over || fail "the pod that kills did not end"
  kubectl --namespace default delete pod bedplate-test-kill --wait=false >/dev/null
}
is_over() { [ "$(kubectl --namespace default get pod bedplate-test-kill --output 'jsonpath={.status.phase}')" = Succeeded ]; }

migration() {
  deployed
  local image new code
  image=$(k get deployment bedplate --output 'jsonpath={.spec.template.spec.initContainers[0].image}')
  load_starts migration
  k set image deployment/bedplate migrator=bedplate-migrator:bad >/dev/null
  if eventually 120 bad_pod; then
    new=$BAD
    code=$(k get pod "$new" --output 'jsonpath={.status.initContainerStatuses[0].state.terminated.exitCode}{.status.initContainerStatuses[0].lastState.terminated.exitCode}')
    check "the new pod stays in Init, its migrator ended with 70 ($code)" test "${code:0:2}" = 70
    check "its log says which migration failed, and why" eventually 60 says_why "$new"
    check "and so does what k8s/README.md tells to ask" eventually 60 readme_says_why "$new"
    migrators_log "$new" | grep 'there_is_no_such_table' | tail -n 1 | cut -c1-400 || true
  else
    fail "no new pod fails its migration: $(k get pods)"
  fi
  check "the four old pods are ready all the while" are_ready 4
  check "nothing of the bad migration is left" test "$(query "SELECT to_regclass('half_done') IS NULL")" = t
  sleep 5
  load_ends
  nothing_lost "bad migration"
  k set image deployment/bedplate migrator="$image" >/dev/null
  check "the release before is rolled out again" rolled_out 180s
}
BAD=
# bad_pod: a pod whose init container failed; its name in BAD. (With a deletion's time at its end it is nobody's.)
bad_pod() {
  BAD=$(pods --output 'jsonpath={range .items[*]}{.metadata.name}{.metadata.deletionTimestamp} {.status.initContainerStatuses[0].image} {.status.initContainerStatuses[0].state.terminated.exitCode}{.status.initContainerStatuses[0].lastState.terminated.exitCode}{"\n"}{end}' |
    awk '$1 !~ /Z$/ && $2 ~ /:bad$/ && $3 ~ /^[1-9]/ { print $1; exit }')
  [ -n "$BAD" ]
}
# Its last run, and the one before: it is started again and again.
migrators_log() {
  k logs "$1" --container migrator --previous 2>/dev/null || true
  k logs "$1" --container migrator 2>/dev/null || true
}
# Asked for the deployment, kubectl takes a pod that is ready, whose migrator has nothing to say about it.
readme_says_why() {
  k logs --selector app.kubernetes.io/component=service --container migrator --prefix | grep ERROR |
    grep "pod/$1/migrator.*there_is_no_such_table"
}
says_why() { migrators_log "$1" | awk '/V900__fail/ { which = 1 } /there_is_no_such_table/ { why = 1 } END { exit !(which && why) }'; }

zero() {
  deployed
  local users began
  users=$(query 'SELECT count(*) FROM users')
  k scale deployment/bedplate --replicas=0 >/dev/null
  check "no pod is left" eventually 120 no_pods
  began=$(seconds)
  k scale deployment/bedplate --replicas=4 >/dev/null
  check "four pods are ready again" eventually 120 are_ready 4
  say "      after $(since "$began") s"
  check "the data are what they were" test "$(query 'SELECT count(*) FROM users')" = "$users"
}

outage() {
  deployed
  local before began after
  before=$(restarts)
  load_starts outage
  # Nobody reaches it any more: new connections are refused, those that are open are ended.
  k patch service postgres --patch '{"spec":{"selector":{"app.kubernetes.io/name":"nobody"}}}' >/dev/null
  eventually 30 no_database || fail "the Service of PostgreSQL still has an address"
  query "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'bedplate_service'" >/dev/null
  began=$(seconds)
  check "readiness takes every pod out" eventually 30 are_ready 0
  say "      after $(since "$began") s"
  while [ "$(since "$began" | cut -d. -f1)" -lt 60 ]; do sleep 1; done
  check "after 60 s without the database no pod was started anew" test "$(restarts)" = "$before"
  check "and none is ready" are_ready 0
  k patch service postgres --patch '{"spec":{"selector":{"app.kubernetes.io/name":"postgres"}}}' >/dev/null
  after=$(seconds)
  check "readiness takes every pod back in" eventually 60 are_ready 4
  say "      $(since "$after") s after the database was back"
  sleep 3
  check "no pod was started anew" test "$(restarts)" = "$before"
  load_ends
  say "      clients saw failures for $GAP ms"
  accepted_kept "database away"
}
no_database() { [ -z "$(k get endpoints postgres --output 'jsonpath={.subsets[*].addresses[*].ip}')" ]; }

job() {
  remove_namespace
  overlay 2 migration-job
  # Without the Job at first. A cluster before 1.25 does not know podFailurePolicy, and leaves it out.
  awk 'BEGIN { RS = "---\n"; ORS = RS } !/kind: Job\n/' "$WORK/resources.yaml" >"$WORK/without-job.yaml"
  awk 'BEGIN { RS = "---\n" } /kind: Job\n/' "$WORK/resources.yaml" >"$WORK/job.yaml"
  kubectl apply --filename "$WORK/without-job.yaml" >/dev/null
  check "PostgreSQL is ready" k wait --for=condition=Ready --timeout=180s pod/postgres-0
  check "the pods' init containers wait for the schema" eventually 60 are_waiting 2
  sleep 5
  check "they go on waiting, without being started anew" are_waiting 2
  kubectl apply --validate=false --filename "$WORK/job.yaml" >/dev/null
  check "the Job completes" k wait --for=condition=Complete --timeout=120s job/bedplate-migrator
  check "the init containers go on, and the pods become ready" eventually 60 are_ready 2
  k logs job/bedplate-migrator | grep '^applied' || fail "the Job did not say what it applied"
  check "no secret of the owner is in the pods" test -z "$(pods --output 'jsonpath={.items[*].spec.volumes[?(@.name=="owner")].name}')"
}
are_waiting() {
  [ "$(pods --output 'jsonpath={range .items[*]}{.status.initContainerStatuses[0].state.running.startedAt} {.status.initContainerStatuses[0].restartCount}{"\n"}{end}' |
    grep -c ' 0$')" = "$1" ]
}

# ---- The command line --------------------------------------------------------------------------------

command -v kubectl >/dev/null || die 'kubectl is not installed: nothing was tried'
case ${1:-} in
  images)
    images
    exit
    ;;
  -h | --help)
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
    exit
    ;;
esac
kubectl get nodes >/dev/null || die 'kubectl reaches no cluster: nothing was tried'

clean_up() {
  local status=$?
  if [ "$status" != 0 ]; then
    k get pods --output wide || true
    k get events --sort-by=.lastTimestamp 2>/dev/null | tail -n 15 || true
  fi
  [ "${KEEP:-}" = yes ] || remove_namespace || true
  exit "$status"
}
trap clean_up EXIT
[ $# -gt 0 ] || set -- "${STEPS[@]}"
for step in "$@"; do
  case " ${STEPS[*]} " in *" $step "*) ;; *) die "there is no step $step" ;; esac
  say "== $step"
  "$step"
done
if [ "$FAILED" -gt 0 ]; then
  say "$FAILED of $CHECKED checks failed"
  exit 1
fi
say "all $CHECKED checks passed"
