#!/usr/bin/env bash
# throwaway-pgbouncer.sh run COMMAND...: a pgbouncer before the throwaway PostgreSQL, gone when COMMAND ends.
#
# It stands before the server of TEST_POSTGRES_URL, that is, within `throwaway-postgres.sh run`, and pools
# transactions as deploy/pgbouncer/pgbouncer.ini says. COMMAND sees
#   TEST_POOLER_PORT   its port on 127.0.0.1; the users and databases are those of the server
# The program comes from PGBOUNCER or PATH; where there is none this says so and fails. It carries the service's
# prepared statements from 1.21 on.
#
#   throwaway-pgbouncer.sh find    prints its path, installs nothing
set -euo pipefail
export LC_ALL=C

SHIPPED=$(cd "$(dirname "${BASH_SOURCE[0]}")/../pgbouncer" && pwd)/pgbouncer.ini

say() { printf 'throwaway-pgbouncer: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}
usage() {
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}" >&2
  exit 2
}

find_pgbouncer() {
  # Debian keeps it where only root's PATH looks.
  PATH=$PATH:/usr/sbin command -v "${PGBOUNCER:-pgbouncer}" ||
    die "there is no pgbouncer here: nothing was tried through it. Install 1.21 or later (Debian 13, Ubuntu 24.04:" \
      "sudo apt-get install pgbouncer; macOS: brew install pgbouncer), or set PGBOUNCER to the program"
}

# It refuses to run as root, as PostgreSQL does.
as_server() {
  if [ "$(id -u)" != 0 ]; then
    exec "$@"
  elif command -v setpriv >/dev/null; then
    exec setpriv --reuid="$SERVER_USER" --regid="$(id -g "$SERVER_USER")" --clear-groups env HOME=/ "$@"
  else
    # shellcheck disable=SC2016 # the inner shell expands them
    exec su -s /bin/sh "$SERVER_USER" -c 'exec "$0" "$@"' -- "$@"
  fi
}

is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

FOLDER=
PROCESS=
# Called by the trap.
# shellcheck disable=SC2317,SC2329
clean_up() {
  local status=$?
  if [ -n "$PROCESS" ]; then
    kill -TERM "$PROCESS" 2>/dev/null || true
    wait "$PROCESS" 2>/dev/null || true
  fi
  if [ "$status" -ne 0 ] && [ -s "$FOLDER/log" ]; then
    say "its last words: $(grep -E 'WARNING|ERROR|FATAL' "$FOLDER/log" | tail -n 5 || true)"
  fi
  rm -rf "$FOLDER"
  exit "$status"
}

# settings SERVER_PORT PORT
settings() {
  printf '%s\n' '[databases]' "* = host=127.0.0.1 port=$1 $(sed -n 's/^bedplate = .*\(connect_query=.*\)/\1/p' "$SHIPPED")"
  # It is for the cluster's databases, and the rest is what is shipped, but where it listens and how it knows who may come in.
  sed -n '/^\[pgbouncer\]/,$p' "$SHIPPED" | grep -vE '^(listen|auth)_'
  printf '%s\n' 'listen_addr = 127.0.0.1' "listen_port = $2" 'unix_socket_dir =' 'auth_type = scram-sha-256' \
    "auth_file = $FOLDER/users.txt" 'auth_user = postgres' 'auth_dbname = postgres' \
    "auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename = \$1"
}

run() {
  local program server_port port second
  program=$(find_pgbouncer)
  [ -n "${TEST_POSTGRES_URL:-}" ] || die 'TEST_POSTGRES_URL is not set; run this within throwaway-postgres.sh run'
  server_port=${TEST_POSTGRES_URL##*:}
  server_port=${server_port%%/*}
  SERVER_USER=postgres
  id postgres >/dev/null 2>&1 || SERVER_USER=nobody
  FOLDER=$(mktemp -d /tmp/bedplate-pgbouncer.XXXXXX)
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  until port=$((20000 + RANDOM % 12000)) && is_free "$port"; do :; done
  printf '"postgres" "postgres"\n' >"$FOLDER/users.txt"
  settings "$server_port" "$port" >"$FOLDER/pgbouncer.ini"
  if [ "$(id -u)" = 0 ]; then chown -R "$SERVER_USER" "$FOLDER"; fi
  (as_server "$program" "$FOLDER/pgbouncer.ini") >"$FOLDER/log" 2>&1 &
  PROCESS=$!
  for ((second = 0; second < 100; second++)); do
    is_free "$port" || break
    kill -0 "$PROCESS" 2>/dev/null || die "it did not start: $(tail -n 5 "$FOLDER/log")"
    sleep 0.1
  done
  export TEST_POOLER_PORT=$port
  say "$("$program" --version | head -n 1) at 127.0.0.1:$port"
  "$@"
}

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
  find) find_pgbouncer ;;
  run)
    [ $# -ge 1 ] || usage
    run "$@"
    ;;
  *) usage ;;
esac
