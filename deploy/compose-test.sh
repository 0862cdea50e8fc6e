#!/usr/bin/env bash
# compose-test.sh [SOURCE]: tries docker-compose.yml on a real Docker engine, from a clone of SOURCE (default: this
# repository, what is committed), as somebody would who has just cloned it:
#
#   images    both build, each is at most 40 MB with its base, not root, without a shell
#   up        `docker compose up --detach --wait` ends with everything healthy; the smoke test passes
#   start     a service that is started anew is ready within 300 ms (the quickest of five; START_LIMIT moves it)
#   data      `down` and `up` keep the data and the passwords
#   scale     three replicas behind one address; each of them answers; one is taken away and no request is lost
#   outage    the database is killed and away for 20 s: no request fails that a retry does not cure, and the
#             service is not restarted
#   backup    the profile takes one; `restore` brings back what was deleted, and what was lost with its volume
#   stop      the service drains: `docker compose stop` ends it with 0
#
# Needs Docker with Compose 2.20 and git. Everything it makes is in the project `bedplate-test` and is taken away
# again, but for the images. KEEP=yes leaves it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s compose-test: %s\n' "$(date +%T)" "$*"; }
die() {
  say "$*" >&2
  exit 1
}

if ! command -v docker >/dev/null || ! docker info >/dev/null 2>&1; then
  die 'there is no Docker engine here (docker info fails): nothing was tried'
fi
docker compose version >/dev/null 2>&1 || die 'docker has no Compose 2 (docker compose version fails): nothing was tried'

SOURCE=${1:-$PWD}
WORK=$(mktemp -d)
export COMPOSE_PROJECT_NAME=bedplate-test DOCKER_BUILDKIT=1
# Ports that a running Bedplate does not have.
export PUBLISH_HTTP=18080 PUBLISH_METRICS=19464 PUBLISH_POSTGRES=15432
URL=http://127.0.0.1:18080
LOOP=

clean_up() {
  local status=$?
  if [ -n "$LOOP" ]; then kill "$LOOP" 2>/dev/null || true; fi
  if [ "$status" -ne 0 ]; then
    docker compose --profile backup ps --all || true
    docker compose --profile backup logs --no-color --tail 15 || true
  fi
  if [ "${KEEP:-}" != yes ]; then docker compose --profile backup down --volumes --timeout 30 >/dev/null 2>&1 || true; fi
  cd /
  rm -rf "$WORK"
  exit "$status"
}
git clone --quiet "$SOURCE" "$WORK/bedplate"
cd "$WORK/bedplate"
docker compose --profile backup down --volumes >/dev/null 2>&1 || true
trap clean_up EXIT

secret() { docker compose run --rm --no-TTY secrets show "$1"; }
smoke() { SMOKE_WAIT=30 SMOKE_PASSWORD="$(secret admin-password)" deploy/smoke-test.sh "$@" >"$WORK/smoke" || { cat "$WORK/smoke"; die 'the smoke test fails'; }; tail -n 1 "$WORK/smoke"; }
query() { docker compose exec --no-TTY postgres psql --no-psqlrc --tuples-only --no-align --username=postgres --dbname=bedplate --command "$1"; }
container() { docker compose ps --quiet "$1" | head -n 1; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

say 'images'
docker compose build
for program in migrator service; do
  image=bedplate-$program:${VERSION:-dev}
  size=$(docker image inspect --format '{{.Size}}' "$image")
  say "$image has $((size / 1000000)) MB"
  [ "$size" -le 40000000 ] || die "$image is larger than 40 MB: $size bytes"
  [ "$(docker image inspect --format '{{.Config.User}}' "$image")" = 65532:65532 ] || die "$image runs as root"
  for label in title source licenses version revision; do
    [ -n "$(docker image inspect --format "{{index .Config.Labels \"org.opencontainers.image.$label\"}}" "$image")" ] ||
      die "$image has no label $label"
  done
  if docker run --rm --entrypoint /bin/sh "$image" -c true 2>/dev/null; then die "$image has a shell"; fi
done

say 'up'
docker compose up --detach --wait
smoke "$URL" http://127.0.0.1:19464/metrics
for service in postgres service gateway; do
  state=$(docker inspect --format '{{.State.Health.Status}}' "$(container "$service")")
  [ "$state" = healthy ] || die "$service is $state"
done
curl --silent --fail "$URL/docs" >/dev/null || die 'there is no Swagger UI'
docker compose run --rm --no-TTY migrator wait --for schema
# What one reader may not see is not there: the service has no file of the owner.
mounted=$(docker inspect --format '{{range .Mounts}}{{.Name}} {{end}}' "$(container service)")
case $mounted in *secrets-migrator* | *secrets-postgres*) die "the service sees secrets that are not its own: $mounted" ;; esac
if docker inspect --format '{{json .Config.Env}}' "$(container service)" | grep -q "$(secret service-password)"; then
  die 'a password is in the environment'
fi

# What the engine needs to make the container is its own: some hundred ms. The service's time is from Docker's
# StartedAt, or from its first line in the log where Docker wrote that down late, to when it listens and its probe has
# found the database ready. `make bench` measures the same without containers.
say 'start'
docker compose stop --timeout 30 service
id=$(docker compose ps --all --quiet service | head -n 1)
[ "$(docker inspect --format '{{.State.ExitCode}}' "$id")" = 0 ] || die 'the service did not drain: it ended with another code than 0'
# logged ID SINCE MESSAGE: when the process that began then said this first, in ms since 1970.
logged() {
  local line
  line=$(docker logs --since "$2" "$1" 2>&1 | grep -m 1 "\"message\":\"$3" || true)
  [ -n "$line" ] || return 1
  line=${line#*\"timestamp\":\"}
  echo $(($(date -d "${line%%\"*}" +%s%N) / 1000000))
}
best=
for ((round = 1; round <= 5; round++)); do
  [ "$round" = 1 ] || docker stop --time 30 "$id" >/dev/null
  asked=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
  docker start "$id" >/dev/null
  began=$(($(date -d "$(docker inspect --format '{{.State.StartedAt}}' "$id")" +%s%N) / 1000000))
  ready=
  for ((second = 0; second < 200; second++)); do
    if listening=$(logged "$id" "$asked" listening) && ready=$(logged "$id" "$asked" 'the database is ready'); then break; fi
    sleep 0.1
  done
  [ -n "$ready" ] || die 'the service is not ready after 20 s'
  [ "$ready" -ge "$listening" ] || ready=$listening
  first=$(logged "$id" "$asked" '')
  [ "$first" -ge "$began" ] || began=$first
  took=$((ready - began))
  say "ready $took ms after it was started"
  if [ -z "$best" ] || [ "$took" -lt "$best" ]; then best=$took; fi
done
[ "$best" -le "${START_LIMIT:-300}" ] || die "the quickest of five starts took $best ms, more than ${START_LIMIT:-300}"

say 'data'
before=$(query 'SELECT count(*) FROM metrics_snapshot')
admin=$(secret admin-password)
docker compose down --timeout 30
docker compose up --detach --wait
[ "$(secret admin-password)" = "$admin" ] || die 'the password was changed'
after=$(query 'SELECT count(*) FROM metrics_snapshot')
if [ "$before" = 0 ] || [ "$after" -lt "$before" ]; then die "there were $before snapshots and are $after"; fi
smoke "$URL"

say 'scale'
docker compose up --detach --wait --scale service=3 --no-recreate
mapfile -t replicas < <(docker compose ps --quiet service)
[ "${#replicas[@]}" = 3 ] || die "there are ${#replicas[@]} replicas"
smoke "$URL"
# answered ID: how many requests the replica has answered that nobody else sends.
answered() { docker logs "$1" 2>&1 | grep -c 'whoami 401' || true; }
# ask_on FILE: asks until there is $WORK/enough, and writes down each answer that is not the right one.
ask_on() {
  local code count=0
  : >"$1"
  while [ ! -e "$WORK/enough" ]; do
    code=$(curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' "$URL/api/v1/auth/whoami" || true)
    [ "$code" = 401 ] || echo "$code" >>"$1"
    count=$((count + 1))
  done
  echo "$count" >"$1.count"
}
ask_on "$WORK/lost" &
LOOP=$!
for replica in "${replicas[@]}"; do
  before=$(answered "$replica")
  for ((second = 0; second < 30; second++)); do
    [ "$(answered "$replica")" -le "$before" ] || break
    sleep 1
  done
  [ "$second" -lt 30 ] || die "the replica $replica gets no requests"
done
docker compose up --detach --wait --scale service=1 --no-recreate
sleep 2
touch "$WORK/enough"
wait "$LOOP"
LOOP=
rm "$WORK/enough"
say "three replicas, then one, under $(cat "$WORK/lost.count") requests: $(wc -l <"$WORK/lost") lost"
[ ! -s "$WORK/lost" ] || die "requests were lost: $(sort "$WORK/lost" | uniq -c | tr '\n' ' ')"

say 'outage'
token=$(curl --silent --fail --header 'Content-Type: application/json' \
  --data "{\"username\":\"admin\",\"password\":\"$admin\"}" "$URL/api/v1/auth/login" | sed 's/.*"token":"\([^"]*\)".*/\1/')
id=$(container service)
restarts=$(docker inspect --format '{{.RestartCount}} {{.State.StartedAt}}' "$id")
# client NUMBER: 1 to 4 write, each time with a key of its own, 5 reads, 6 signs in. Each request is sent until it is
# answered: what stays is what a retry does not cure. Its figures are in $WORK/client.NUMBER.
client() {
  local sent=0 slowest=0 retried=0 begin took tries code request
  # Where the test ends early, the folder goes, and this with it.
  while [ -e "$WORK/outage" ]; do
    sent=$((sent + 1)) begin=$(milliseconds) tries=0
    case $1 in
      5) request=("$URL/api/v1/metrics/latest?metric_type=outage") ;;
      6) request=(--data "{\"username\":\"admin\",\"password\":\"$admin\"}" "$URL/api/v1/auth/login") ;;
      *)
        request=(--header "Idempotency-Key: compose-test-$1-$sent" --data
          "{\"items\":[{\"timestamp\":\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\",\"source\":\"compose-test\",\"metric_type\":\"outage\",\"metric_data\":{\"number\":\"$1-$sent\"}}]}"
          "$URL/api/v1/metrics/snapshots")
        ;;
    esac
    while :; do
      code=$(curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' --header "Authorization: Bearer $token" \
        --header 'Content-Type: application/json' "${request[@]}" || true)
      [ "$code" != 200 ] || break
      tries=$((tries + 1))
      # What says that it is worth another try; anything else is none of an outage.
      case $code in 503 | 504 | 429 | 409) ;; *) echo "$1:$code" >>"$WORK/odd" ;; esac
      [ "$tries" -lt 300 ] || { echo "$1:never" >>"$WORK/odd" && break; }
      sleep 0.2
    done
    [ "$tries" = 0 ] || retried=$((retried + 1))
    took=$(($(milliseconds) - begin))
    [ "$took" -le "$slowest" ] || slowest=$took
    echo "$sent $slowest $retried" >"$WORK/client.$1"
    # A user has a hundred sessions at most: more of them would end the one of the others.
    if [ "$1" = 6 ]; then sleep 1; else sleep 0.05; fi
  done
}
touch "$WORK/outage"
(
  for number in 1 2 3 4 5 6; do client "$number" & done
  wait
) &
LOOP=$!
sleep 3
docker kill --signal KILL "$(container postgres)" >/dev/null
killed=$(milliseconds)
for ((second = 0; second < 20; second++)); do
  [ "$(curl --silent --max-time 2 --output /dev/null --write-out '%{http_code}' "$URL/livez")" = 200 ] || die 'the service is not alive without its database'
  sleep 1
done
[ "$(curl --silent --max-time 2 --output /dev/null --write-out '%{http_code}' "$URL/readyz" || true)" = 503 ] || die 'the service says that it is ready without its database'
docker compose start postgres
until [ "$(curl --silent --max-time 2 --output /dev/null --write-out '%{http_code}' "$URL/readyz" || true)" = 200 ]; do
  [ $(($(milliseconds) - killed)) -lt 90000 ] || die 'the service is not ready again'
  sleep 0.1
done
say "away for 20 s; ready again $(($(milliseconds) - killed)) ms after the kill"
sleep 3
rm "$WORK/outage"
wait "$LOOP"
LOOP=
read -r sent slowest retried < <(cat "$WORK"/client.* | awk '{ n += $1; r += $3 } $2 > s { s = $2 } END { print n, s, r }')
written=$(cat "$WORK"/client.[1-4] | awk '{ n += $1 } END { print n }')
stored=$(query "SELECT count(*) || ' ' || count(DISTINCT metric_data->>'number') FROM metrics_snapshot WHERE metric_type = 'outage'")
say "$sent requests of six clients, $retried of them more than once, the slowest in $slowest ms; $written writes; stored, and of these different: $stored"
[ ! -e "$WORK/odd" ] || die "answers that are none of an outage: $(sort "$WORK/odd" | uniq -c | tr '\n' ' ')"
[ "$retried" -ge 6 ] || die "the outage was met by $retried requests; each client should have met it"
[ "$stored" = "$written $written" ] || die 'a write was lost, or is there twice'
[ "$(docker inspect --format '{{.RestartCount}} {{.State.StartedAt}}' "$id")" = "$restarts" ] || die 'the service was restarted'

say 'backup'
docker compose --profile backup up --detach --wait
for ((second = 0; second < 60; second++)); do
  [ -z "$(docker compose --profile backup exec --no-TTY backup /usr/local/bin/backup.sh list)" ] || break
  sleep 1
done
# `down` leaves a volume without a name behind, a new one each time.
for id in $(docker compose --profile backup ps --all --quiet); do
  mounted=$(docker inspect --format '{{.Name}} {{range .Mounts}}{{.Name}} {{end}}' "$id")
  if [[ $mounted =~ [0-9a-f]{64} ]]; then die "a volume has no name: $mounted"; fi
done
docker compose --profile backup run --rm --no-TTY backup once
docker compose --profile backup run --rm --no-TTY backup list
stored=$(query "SELECT count(*) FROM metrics_snapshot WHERE metric_type = 'outage'")
# The way back of deploy/README.md. The gateway stands alone for longer than its health check is patient.
docker compose stop --timeout 30 service
query "DELETE FROM metrics_snapshot WHERE metric_type = 'outage'" >/dev/null
docker compose --profile backup run --rm --no-TTY backup restore latest
sleep 25
state=$(docker inspect --format '{{.State.Health.Status}}' "$(container gateway)")
[ "$state" = healthy ] || die "without a service the gateway is $state: up --wait may fail on that"
docker compose up --detach --wait
[ "$(query "SELECT count(*) FROM metrics_snapshot WHERE metric_type = 'outage'")" = "$stored" ] || die 'the restored data are not what they were'
docker compose --profile backup down --timeout 30
docker volume rm "${COMPOSE_PROJECT_NAME}_postgres" >/dev/null
docker compose up --detach --wait postgres
docker compose --profile backup run --rm --no-TTY backup restore latest
docker compose up --detach --wait
[ "$(query "SELECT count(*) FROM metrics_snapshot WHERE metric_type = 'outage'")" = "$stored" ] || die 'the restored data are not what they were'
smoke "$URL"

say 'stop'
id=$(container service)
docker compose stop --timeout 30
[ "$(docker inspect --format '{{.State.ExitCode}}' "$id")" = 0 ] || die 'the service ended with another code than 0'
say 'passed'
