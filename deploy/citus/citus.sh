#!/usr/bin/env bash
# citus.sh: the snapshots on several machines, by Citus (https://www.citusdata.com). README.md says when and how.
#
#   prepare WORKER...   makes the database on the workers (HOST or HOST:PORT) where it is missing, the extension
#                       on all machines, and makes the workers known to the coordinator. As a superuser.
#                       COORDINATOR_HOST names the coordinator as its workers reach it: default the host in
#                       DATABASE_URL
#   distribute          distributes metrics_snapshot by its source. As the owner of the table. SHARDS says over
#                       how many shards, default 32
#   undistribute        takes it back to the coordinator. As the owner of the table
#   status              says what lies where
#
# DATABASE_SCHEMA is the schema of the tables, where the service has it too.
# DATABASE_URL is the address of the database on the coordinator, in PostgreSQL's own spelling
# (postgresql://user:password@host:port/name). Each command may be given again. Needs psql.
set -euo pipefail
export LC_ALL=C
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/psql.sh
. "$HERE/../psql.sh"

say() { printf 'citus: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}
usage() {
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}" >&2
  exit 2
}

# on URL ARGUMENTS...: psql there, in the schema DATABASE_SCHEMA where one is named. Nobody is asked for a password.
on() (
  without_password "$1"
  shift
  if [ -n "${DATABASE_SCHEMA:-}" ]; then export PGOPTIONS="-c search_path=\"$DATABASE_SCHEMA\""; fi
  psql --no-psqlrc --no-password --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$REPLY" "$@"
)

# The parts of DATABASE_URL: what stands before host and port, these, the name, and what follows it.
split_url() {
  [[ ${DATABASE_URL:-} =~ ^(postgres(ql)?://([^@/]*@)?)([^/?,]+)/([^?]+)(\?.*)?$ ]] ||
    die "DATABASE_URL has to be postgresql://user:password@host:port/name, with one host"
  HEAD=${BASH_REMATCH[1]} PLACE=${BASH_REMATCH[4]} NAME=${BASH_REMATCH[5]} TAIL=${BASH_REMATCH[6]}
}

# url_at HOST:PORT [NAME]
url_at() { printf '%s%s/%s%s' "$HEAD" "$1" "${2:-$NAME}" "$TAIL"; }

host_of() { printf '%s' "${1%:*}"; }
port_of() { case $1 in *:*) printf '%s' "${1##*:}" ;; *) printf 5432 ;; esac; }

# make_extension URL
make_extension() {
  on "$1" --command "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS citus" ||
    die "the extension cannot be made at ${1##*@}: is Citus installed there, and in shared_preload_libraries?"
}

prepare() {
  local worker owner
  make_extension "$DATABASE_URL"
  owner=$(on "$DATABASE_URL" --command "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
  for worker in "$@"; do
    # The owner makes tables there, too. How that role signs in is a matter of pg_hba.conf or pg_dist_authinfo.
    on "$(url_at "$worker" postgres)" --set name="$NAME" --set owner="$owner" <<'SQL'
SET client_min_messages = warning;
SELECT format('CREATE ROLE %I LOGIN', :'owner')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'owner') \gexec
SELECT format('CREATE DATABASE %I TEMPLATE template0', :'name')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
ALTER DATABASE :"name" OWNER TO :"owner";
SQL
    make_extension "$(url_at "$worker")"
  done
  # The coordinator has to be known before the workers are.
  on "$DATABASE_URL" --set host="${COORDINATOR_HOST:-$(host_of "$PLACE")}" --set port="$(port_of "$PLACE")" <<'SQL' >/dev/null
SELECT citus_set_coordinator_host(:'host', :'port'::integer)
WHERE NOT EXISTS (SELECT FROM pg_dist_node WHERE groupid = 0);
SQL
  for worker in "$@"; do
    on "$DATABASE_URL" --set host="$(host_of "$worker")" --set port="$(port_of "$worker")" <<'SQL' >/dev/null
SELECT citus_add_node(:'host', :'port'::integer);
SQL
  done
}

distribute() { on "$DATABASE_URL" --set shards="${SHARDS:-32}" --file "$HERE/distribute.sql" >/dev/null; }
undistribute() { on "$DATABASE_URL" --file "$HERE/undistribute.sql" >/dev/null; }

status() {
  psql --no-psqlrc --no-password --set ON_ERROR_STOP=1 --dbname "$DATABASE_URL" <<'SQL'
\pset footer off
SELECT nodename AS host, nodeport AS port, CASE groupid WHEN 0 THEN 'coordinator' ELSE 'worker' END AS role,
       isactive AS is_active
FROM pg_dist_node ORDER BY groupid;
SELECT n.nodename AS host, n.nodeport AS port, count(*) AS shards, pg_size_pretty(sum(s.shard_size)) AS size
FROM citus_shards AS s JOIN pg_dist_node AS n USING (nodename, nodeport)
WHERE s.table_name = 'metrics_snapshot'::regclass
   OR s.table_name IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'metrics_snapshot'::regclass)
GROUP BY 1, 2 ORDER BY 1, 2;
SQL
}

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
  prepare) [ $# -ge 1 ] || usage ;;
  distribute | undistribute | status) [ $# -eq 0 ] || usage ;;
  *) usage ;;
esac
command -v psql >/dev/null || die "psql is not installed"
split_url
"$verb" "$@"
