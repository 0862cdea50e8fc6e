#!/usr/bin/env bash
# failover-test.sh: the database's leader goes while clients write through the service, and every write counts.
#
#   DATABASE_URL=postgresql://postgres:...@haproxy:5432/postgres KILL_LEADER='ssh db1 sudo kill-postgres' deploy/failover-test.sh
#
# On a cluster of PostgreSQL that fails over by itself (Patroni, CloudNativePG, ...). It makes a database of its own
# there, starts one service on it with default settings, has CLIENTS write snapshots with idempotency keys and send
# again what was not acknowledged, runs KILL_LEADER, and waits until the new leader and then all of them write
# again. Every acknowledged write has to be there, none twice, by the same process of the service as before, and each client has
# to be acknowledged a write within LIMIT seconds since the new leader took one. The last lines are the figures.
#
#   DATABASE_URL   the address of whoever leads, as the service has it: through a proxy or a service, or with
#                  several hosts and target_session_attrs=read-write. The role has to be able to make databases
#   KILL_LEADER    the command that makes the leader go: kill it, cut it off, or switch over
#   PROBE_URL      how psql asks whether there is a leader, where that is another way; default: DATABASE_URL
#   CLIENTS        default: 20
#   LIMIT          default: 5
#   PATIENCE       how many seconds the cluster may take for a new leader; default: 120
#   PROGRAMS       the folder of migrator and service; default: target/debug
#
# Needs psql and perl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C
# shellcheck source=deploy/psql.sh
. deploy/psql.sh

say() { printf 'failover-test: %s\n' "$*"; }
die() {
  say "$*" >&2
  exit 1
}

if [ -z "${DATABASE_URL:-}" ] || [ -z "${KILL_LEADER:-}" ]; then
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$0" >&2
  die 'DATABASE_URL and KILL_LEADER are needed; nothing was tried'
fi
command -v psql >/dev/null || die 'psql is not installed'
PROGRAMS=$(cd "${PROGRAMS:-target/debug}" && pwd)
NAME=bedplate_failover_$$
# of_database URL: the same with the database of this test, into $REPLY. Nothing is ever run on another one.
of_database() {
  local address=${1%%\?*} query='' scheme rest
  if [ "$address" != "$1" ]; then query="?${1#*\?}"; fi
  scheme=${address%%://*} rest=${address#*://}
  case $scheme in postgres | postgresql | postgresql+*) ;; *) die 'DATABASE_URL and PROBE_URL begin with postgresql://' ;; esac
  REPLY="postgresql://${rest%%/*}/$NAME$query"
}
SERVER_URL=${PROBE_URL:-$DATABASE_URL}
of_database "$DATABASE_URL"
OWN_URL=$REPLY
of_database "$SERVER_URL"
PROBE_URL=$REPLY
PATIENCE=${PATIENCE:-120}
export CLIENTS=${CLIENTS:-20} LIMIT=${LIMIT:-5} PASSWORD="of the failover test $RANDOM"

# What the caller's shell holds for a running Bedplate stays out.
while read -r name; do unset "$name"; done < <(env | sed -n 's/^\(\(BEDPLATE\|DATABASE\|POSTGRES\|HTTP\|LOG\|AUTH\|ADMIN\|ARCHIVE\|METRICS\|TELEMETRY\|MIGRATOR\|OTEL\)_[A-Z0-9_]*\)=.*/\1/p' | grep -v HTTP_PROXY)

WORK=$(mktemp -d /tmp/bedplate-failover.XXXXXX)
SERVICE=
# Called by the trap.
# shellcheck disable=SC2317,SC2329
clean_up() {
  local status=$?
  touch "$WORK/stop"
  if [ -n "$SERVICE" ]; then kill -TERM "$SERVICE" 2>/dev/null || true; fi
  wait || true
  if [ "$status" -ne 0 ] && [ -s "$WORK/service.log" ]; then tail -n 20 "$WORK/service.log" >&2; fi
  sql "$SERVER_URL" "DROP DATABASE IF EXISTS $NAME WITH (FORCE)" >/dev/null 2>&1 || true
  rm -rf "$WORK"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

sql() (
  without_password "$1"
  PGCONNECT_TIMEOUT=2 timeout 10 psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$REPLY" --command "$2"
)

# probe: writes to the database itself, all the time, and notes when it could.
probe() {
  local result
  without_password "$PROBE_URL"
  until [ -e "$WORK/stop" ]; do
    result=ok
    PGCONNECT_TIMEOUT=2 timeout 2 psql --no-psqlrc --quiet --dbname "$REPLY" \
      --command 'UPDATE failover_test.probe SET times = times + 1' >/dev/null 2>&1 || result=no
    printf '%s %s\n' "$EPOCHREALTIME" "$result" >>"$WORK/probe"
    sleep 0.05
  done
}

# wrote_since TIME: whether each client was acknowledged a write that it began after that.
wrote_since() {
  local client
  for ((client = 1; client <= CLIENTS; client++)); do
    awk -v since="$1" '$1 > since && $3 == 200 { found = 1; exit } END { exit !found }' "$WORK/client-$client" 2>/dev/null || return 1
  done
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || die "not within the time: $what"
    sleep 0.2
  done
}

# new_leader: whether somebody took a write after nobody did.
new_leader() {
  awk -v since="$(<"$WORK/killed")" '$1 > since && $2 == "no" { gone = 1 } gone && $2 == "ok" { found = 1; exit } END { exit !found }' "$WORK/probe"
}
is_listening() { ADDRESS=$(sed -n '/"listening"/s/.*"address":"\([^"]*\)".*/\1/p' "$WORK/service.log" | head -n 1) && [ -n "$ADDRESS" ]; }
is_ready() { [ "$(exec 3<>"/dev/tcp/${ADDRESS%:*}/${ADDRESS#*:}" && printf 'GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3 && head -c 12 <&3)" = 'HTTP/1.1 200' ]; }

say "a database of its own, and the service on it"
env DATABASE_URL="$OWN_URL" ADMIN_PASSWORD="$PASSWORD" LOG_LEVEL=warn "$PROGRAMS/migrator" up >/dev/null
sql "$PROBE_URL" 'CREATE SCHEMA failover_test; CREATE TABLE failover_test.probe AS SELECT 0 AS times'
env DATABASE_URL="$OWN_URL" HTTP_ADDRESS=127.0.0.1:0 TELEMETRY_PROMETHEUS_ADDRESS=off METRICS_COLLECT_INTERVAL=off \
  LOG_FORMAT=json HTTP_DRAIN_DELAY=0s "$PROGRAMS/service" >"$WORK/service.log" 2>&1 &
SERVICE=$!
wait_for 20 'the service listens' is_listening
wait_for 20 'the service is ready' is_ready
export ADDRESS

say "$CLIENTS clients write"
probe &
deploy/failover-test/client.pl load "$WORK" &
began=$EPOCHREALTIME
wait_for 20 'each client writes' wrote_since "$began"
sleep 3

say "the leader goes: $KILL_LEADER"
printf '%s\n' "$EPOCHREALTIME" >"$WORK/killed"
bash -c "$KILL_LEADER" </dev/null >"$WORK/kill.log" 2>&1 || die "KILL_LEADER failed: $(<"$WORK/kill.log")"
# An orderly change may be over before anybody was refused a write.
sleep 3
if grep -q ' no$' <(awk -v since="$(<"$WORK/killed")" '$1 > since' "$WORK/probe"); then
  wait_for "$PATIENCE" 'there is a new leader' new_leader
fi
back=$EPOCHREALTIME
wait_for 40 'each client writes again' wrote_since "$back"
sleep 3
touch "$WORK/stop"
kill -0 "$SERVICE" 2>/dev/null || die 'the service ended'
[ "$(grep -c '"listening"' "$WORK/service.log")" = 1 ] || die 'the service was started again'
kill -TERM "$SERVICE"
wait || true
SERVICE=

sql "$PROBE_URL" "SELECT source, metric_data ->> 'number', count(*) FROM metrics_snapshot GROUP BY 1, 2" | tr '|' ' ' >"$WORK/rows"
deploy/failover-test/client.pl figures "$WORK" || die 'that is not what was promised'
say 'passed: the same process of the service served all of it'
