#!/usr/bin/env bash
# run.sh: measures a release build on this machine and prints Markdown tables.
#
# Everything is loopback, beside a PostgreSQL that is started for it and gone at the end. What is compared
# is measured in turns (A B C A B C ...), and a table shows medians. An aim that is missed is a `no` in a
# table, not an exit status: a rate says little on a machine that does something else as well.
#
#   RUNS=15          how often each program is started
#   ROUNDS=3         how often each route of each server is loaded, and
#   SECONDS_EACH=4   for how long
#   TRIES=200        how often each kind of login is tried
#   SNAPSHOTS        how many there are when one day of them is read: a million, with LONG=1 ten
#   LIMIT            seconds after which it gives up, builds not counted (default: enough for the above)
#   MIGRATORS        other migrators to compare with: refinery, sqlx and alembic, installed into the target folder
#                    where they are not on PATH (minutes, once); empty for none
#   PEERS            a folder of peer servers to compare with; default ../shared/peers beside the
#                    repository. It holds `axum-sqlx` (Rust) and `fastapi` (Python), which keep the same
#                    routes; one that is missing or cannot be built is left out. Its `seed.sql` fills the
#                    databases for the routes of accounts and snapshots, which are left out without it.
#
# Needs Linux, bash 5, wrk, and what deploy/development/throwaway-postgres.sh needs.
set -euo pipefail
export LC_ALL=C

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$bench/../.." && pwd)
throwaway=$repository/deploy/development/throwaway-postgres.sh

RUNS=${RUNS:-15}
ROUNDS=${ROUNDS:-3}
SECONDS_EACH=${SECONDS_EACH:-4}
TRIES=${TRIES:-200}
LIMIT=${LIMIT:-$((300 + RUNS * 8 + ROUNDS * SECONDS_EACH * 40 + ROUNDS * 40 + TRIES / 2 + ${LONG:-0} * 900 + RUNS * 60))}
CONNECTIONS=32
POOL=16
IDLE_SECONDS=5

say() { printf 'bench: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

case $RUNS$ROUNDS$SECONDS_EACH$TRIES$LIMIT in
  *[!0-9]*) die 'RUNS, ROUNDS, SECONDS_EACH, TRIES and LIMIT are whole numbers' ;;
esac
[ -r /proc/self/status ] || die 'this needs Linux: times and memory are read from /proc'
[ -n "${EPOCHREALTIME:-}" ] || die 'this needs bash 5 or later'

# The caller's own settings must not reach the programs.
for name in $(compgen -e); do
  case $name in
    HTTP_PROXY) ;;
    BEDPLATE_* | DATABASE_* | POSTGRES_* | HTTP_* | LOG_* | AUTH_* | ADMIN_* | METRICS_* | TELEMETRY_* | MIGRATOR_* | OTEL_* | PG*)
      unset "$name"
      ;;
  esac
done

# shellcheck source=deploy/bench/values.sh
. "$bench/values.sh"
# shellcheck source=deploy/bench/builds.sh
. "$bench/builds.sh"
# shellcheck source=deploy/bench/servers.sh
. "$bench/servers.sh"
# shellcheck source=deploy/bench/starts.sh
. "$bench/starts.sh"
# shellcheck source=deploy/bench/migrators.sh
. "$bench/migrators.sh"
# shellcheck source=deploy/bench/routes.sh
. "$bench/routes.sh"
# shellcheck source=deploy/bench/load.sh
. "$bench/load.sh"
# shellcheck source=deploy/bench/logins.sh
. "$bench/logins.sh"
# shellcheck source=deploy/bench/snapshots.sh
. "$bench/snapshots.sh"

# ---- Coming and going --------------------------------------------------------------------------------

work=''

# end_commands: asks all that runs below this script to end, so that nothing is waited for.
end_commands() {
  local process
  for process in $(tree $$); do
    case $process in "$$" | "$BASHPID") ;; *) kill -TERM "$process" 2>/dev/null || true ;; esac
  done
}

clean_up() {
  local status=$? name
  trap '' INT TERM HUP
  end_commands
  for name in "${!pid[@]}"; do end "$name"; done
  if [ -n "$work" ]; then
    "$throwaway" stop "$work/postgres" >/dev/null 2>&1 || true
    rm -rf "$work"
  fi
  exit "$status"
}

# Ends the whole thing, the command that it waits for included, when it takes too long.
watch_over() {
  local sleeper
  sleep "$LIMIT" &
  sleeper=$!
  trap 'kill "$sleeper" 2>/dev/null; exit' TERM
  wait "$sleeper"
  say "not done after $LIMIT seconds, giving up"
  kill -TERM $$
  end_commands
}

start_postgres() {
  local url bin name
  # The server's user has to enter it.
  chmod 711 "$work"
  url=$("$throwaway" start "$work/postgres")
  base_url=${url%/*}
  # Debian's /usr/bin/psql is a wrapper in Perl: the programs beside the server start quicker.
  bin=$(readlink "/proc/$(head -n 1 "$work/postgres/data/postmaster.pid")/exe")
  PATH=${bin%/*}:$PATH
  for name in psql pgbench; do
    command -v "$name" >/dev/null || die "$name is not installed (Debian, Ubuntu: sudo apt-get install postgresql)"
  done
}

sql() { psql -qAtX -v ON_ERROR_STOP=1 "$base_url/postgres" -c "$1" 2>"$work/log/sql" || die "$(cat "$work/log/sql")"; }

# ---- All of it ---------------------------------------------------------------------------------------

load_average() { cut -d' ' -f1 /proc/loadavg; }

# A build that had something to do leaves a load behind that is nobody else's.
load_after_builds() { if [ $SECONDS -gt 15 ]; then printf ' (%s after the builds)' "$(load_average)"; fi; }

first_line() {
  local revision postgres wrk
  revision=$(git -C "$repository" describe --always --dirty 2>/dev/null) || revision='no revision'
  postgres=$(sql 'SHOW server_version')
  wrk=$({ wrk --version || true; } 2>&1 | awk 'NR == 1 { print $2 }')
  printf '%s cores, load %s before%s; %s (%s), %s, PostgreSQL %s (fsync off), wrk %s, Linux %s.\n' \
    "$(nproc)" "$load_before" "$(load_after_builds)" "$("$release/service" --version)" "$revision" \
    "$(rustc --version | cut -d' ' -f1,2)" "${postgres%% *}" "$wrk" "$(uname -r)"
}

# choose_servers: into $servers, each with its database, migrated, and its port.
choose_servers() {
  local name
  servers=(postgresql sqlite)
  database_url=([postgresql]=$base_url/bedplate [sqlite]=sqlite:///$work/bedplate.db)
  sql 'CREATE DATABASE bedplate'
  for name in postgresql sqlite; do
    up "${database_url[$name]}" >"$work/log/up" 2>&1 || die "$(cat "$work/log/up")"
  done
  if [ -n "$axum_program$fastapi_python" ]; then sql 'CREATE DATABASE peers'; fi
  if [ -n "$axum_program" ]; then
    servers+=(axum)
    database_url[axum]=$base_url/peers
  fi
  if [ -n "$fastapi_python" ]; then
    servers+=(fastapi)
    database_url[fastapi]=$base_url/peers
    (cd "$PEERS/fastapi" && DATABASE_URL=$base_url/peers "${fastapi_python%/*}/alembic" upgrade head) \
      >"$work/log/alembic" 2>&1 || die "alembic: $(tail -n 3 "$work/log/alembic")"
  fi
  for name in "${servers[@]}"; do
    free_port
    port[$name]=$REPLY
  done
}

load_before=$(load_average)
target=${CARGO_TARGET_DIR:-$repository/target}
case $target in /*) ;; *) target=$repository/$target ;; esac
release=$target/release
PEERS=${PEERS:-$repository/../shared/peers}
if [ -d "$PEERS" ]; then PEERS=$(cd "$PEERS" && pwd); fi
need_wrk
build
build_peers
install_migrators

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
# A server that closes while it is asked: `ask` notices without it.
trap : PIPE
work=$(mktemp -d "${TMPDIR:-/tmp}/bedplate-bench.XXXXXX")
mkdir "$work/values" "$work/log"
watch_over &
# Away from any .env file.
cd "$work"
start_postgres
choose_servers

first_line
measure_migrator
measure_migrators
measure_starts
seed
measure_servers
memory_table
load_tables
ratio_table
measure_logins
measure_snapshots
