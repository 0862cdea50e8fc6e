#!/usr/bin/env bash
# throwaway.sh: a coordinator and two workers with Citus for trying, gone when the command ends.
#
#   run COMMAND...   starts them in temporary folders, on free ports of 127.0.0.1, and ends with COMMAND's exit
#                    status. COMMAND sees CITUS_DATABASE_URL, the superuser's address of the coordinator's
#                    database `postgres`, to which the workers are known, and TEST_POSTGRES_BIN
#   available        succeeds where the programs of PostgreSQL that are found have Citus
#
# The programs are found as deploy/development/throwaway-postgres.sh finds them.
set -euo pipefail
export LC_ALL=C
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
POSTGRES=$HERE/../development/throwaway-postgres.sh

say() { printf 'citus: %s\n' "$*" >&2; }

available() {
  local config
  config=$("$POSTGRES" find)/pg_config
  [ -x "$config" ] && [ -f "$("$config" --sharedir)/extension/citus.control" ]
}

# node NAME: starts one and prints where it listens.
node() {
  local url
  # Each database of a test has a worker process of its own on each machine. What the coordinator says to a
  # worker needs no password.
  url=$(TEST_POSTGRES_SETTINGS="shared_preload_libraries = 'citus'
max_worker_processes = 64
max_prepared_transactions = 300
wal_level = logical
citus.node_conninfo = 'sslmode=disable'" "$POSTGRES" start "$WORK/$1")
  if [ "$1" != coordinator ]; then
    sed -i '1i host all all 127.0.0.1/32 trust' "$WORK/$1/data/pg_hba.conf"
  fi
  psql --no-psqlrc --quiet --dbname "$url" --command 'SELECT pg_reload_conf()' >/dev/null
  url=${url#*@}
  printf '%s' "${url%/*}"
}

inside() {
  local coordinator first second
  # Whoever runs this stops the servers, and then removes the folder.
  WORK=$TEST_POSTGRES_RUN/citus
  mkdir "$WORK"
  chmod 711 "$WORK"
  PATH=$TEST_POSTGRES_BIN:$PATH
  coordinator=$(node coordinator) first=$(node first) second=$(node second)
  export CITUS_DATABASE_URL=postgresql://postgres:postgres@$coordinator/postgres
  DATABASE_URL=$CITUS_DATABASE_URL "$HERE/citus.sh" prepare "$first" "$second"
  say "Citus $(psql --no-psqlrc -Atc "SELECT extversion FROM pg_extension WHERE extname = 'citus'" "$CITUS_DATABASE_URL") at $CITUS_DATABASE_URL"
  "$@"
}

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
  run)
    [ $# -ge 1 ] || exit 2
    exec "$POSTGRES" run "$HERE/throwaway.sh" inside "$@"
    ;;
  inside) inside "$@" ;;
  available) available ;;
  *)
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
