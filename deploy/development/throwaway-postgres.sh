#!/usr/bin/env bash
# throwaway-postgres.sh: a PostgreSQL server for tests, gone when they end.
#
#   start DIR [PORT]   makes a cluster in DIR and starts it, or starts the one that is there again, with
#                      its data; prints its URL. Without PORT: the one it had, else a free one.
#   standby DIR OF     makes a standby in DIR of the cluster in OF, which runs, and starts it; prints its URL.
#                      `start` and `stop` work on it as on any other
#   stop DIR           stops it; the data stay
#   url DIR            prints its URL
#   find               prints the folder of the server's programs; installs nothing
#   run COMMAND...     runs COMMAND beside a cluster in a temporary folder, stops and removes that, and
#                      ends with COMMAND's exit status. COMMAND sees
#                        TEST_POSTGRES_URL   the superuser's URL
#                        TEST_POSTGRES_BIN   the folder of the server's programs
#                      and a `start` in it is quicker, because it copies a cluster that is ready made.
#
# The superuser is postgres, its password postgres (scram), on 127.0.0.1 and on a socket in DIR. fsync is
# off: the data survive the death of the server, not that of the machine. TEST_POSTGRES_SETTINGS has further
# lines of its settings. As root the server runs as user
# postgres, which must be able to reach DIR: give it a folder below /tmp, not below root's home. The
# programs come from TEST_POSTGRES_BIN, PATH or the usual places; where there are none, apt-get installs
# them if that is possible without a password. POSTGRES_VERSION=17 takes those of PostgreSQL 17 and no
# others: TEST_POSTGRES_BIN_17 may name their folder.
set -euo pipefail
export LC_ALL=C

SELF=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$(basename "${BASH_SOURCE[0]}")

say() { printf 'throwaway-postgres: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}
usage() {
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$SELF" >&2
  exit 2
}

# ---- The server's programs ---------------------------------------------------------------------------

# Programs of another version than the one that is asked for are passed over.
is_server() {
  [ -x "$1/initdb" ] && [ -x "$1/pg_ctl" ] && [ -x "$1/postgres" ] || return 1
  [ -z "${POSTGRES_VERSION:-}" ] || [ "$(version_of "$1")" = "$POSTGRES_VERSION" ]
}

# version_of BIN: the number before the point. A release that is not finished says 19beta1 or 19devel.
version_of() { "$1/postgres" --version 2>/dev/null | sed -n 's/^.*) \([0-9]\{1,\}\).*/\1/p'; }

# resolve FILE: where it really lies. A symlink in PATH does not stand beside the other programs.
resolve() { readlink -f "$1" 2>/dev/null || printf '%s\n' "$1"; }

# server_places: where a server may lie, the best first. What is not there is passed over.
server_places() {
  local program named=TEST_POSTGRES_BIN_${POSTGRES_VERSION:-}
  printf '%s\n' "${TEST_POSTGRES_BIN:-}" "${!named:-}"
  for program in initdb postgres; do
    if program=$(command -v "$program"); then dirname "$(resolve "$program")"; fi
  done
  # The newest of those that are installed side by side.
  { find /usr/lib/postgresql /usr/local/pgsql /usr/pgsql-* -maxdepth 2 -name bin 2>/dev/null || true; } | sort -rV
  if command -v pg_config >/dev/null; then pg_config --bindir || true; fi
  { find /opt/homebrew/opt /usr/local/opt -maxdepth 1 -name 'postgresql*' 2>/dev/null || true; } | sort -rV | sed 's#$#/bin#'
}

# find_server: the folder of the server's programs on stdout, or failure.
find_server() {
  local places bin
  places=$(server_places)
  while read -r bin; do
    if is_server "$bin"; then
      printf '%s\n' "$bin"
      return
    fi
  done <<<"$places"
  return 1
}

install_server() {
  local become=() package=postgresql${POSTGRES_VERSION:+-$POSTGRES_VERSION}
  if [ "$(id -u)" != 0 ]; then become=(sudo -n); fi
  if ! command -v apt-get >/dev/null || ! ${become[@]+"${become[@]}"} true 2>/dev/null; then
    die "no PostgreSQL server${POSTGRES_VERSION:+ of version $POSTGRES_VERSION} found. Install one (Debian, Ubuntu:" \
      "sudo apt-get install $package; Fedora: sudo dnf install postgresql-server; macOS: brew install postgresql@${POSTGRES_VERSION:-17})" \
      "or set TEST_POSTGRES_BIN${POSTGRES_VERSION:+_$POSTGRES_VERSION} to the folder that holds initdb and pg_ctl"
  fi
  say "installing PostgreSQL${POSTGRES_VERSION:+ $POSTGRES_VERSION} with apt-get"
  # RUNLEVEL=1 keeps the package from starting a server of its own.
  become+=(env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive)
  "${become[@]}" apt-get update -q </dev/null >&2 || say "apt-get update failed, going on with the lists there are"
  "${become[@]}" apt-get install -y -q --no-install-recommends "$package" </dev/null >&2 ||
    die "apt-get could not install the package $package (see above)" \
      "${POSTGRES_VERSION:+; https://apt.postgresql.org has those that the distribution lacks}"
}

server_bin() {
  if ! find_server; then
    install_server
    find_server || die "the package postgresql${POSTGRES_VERSION:+-$POSTGRES_VERSION} brought no server's programs"
  fi
}

# ---- The user that the server runs as ----------------------------------------------------------------

# PostgreSQL refuses to run as root.
SERVER_USER=
if [ "$(id -u)" = 0 ]; then
  SERVER_USER=postgres
fi

# as_server COMMAND...: runs it as the server's user, from a folder that this user can enter.
as_server() (
  cd /
  if [ -z "$SERVER_USER" ]; then
    "$@"
  elif command -v setpriv >/dev/null; then
    setpriv --reuid="$SERVER_USER" --regid="$(id -g "$SERVER_USER")" --clear-groups env HOME=/ "$@"
  else
    # shellcheck disable=SC2016 # the inner shell expands them
    su -s /bin/sh "$SERVER_USER" -c 'exec "$0" "$@"' -- "$@"
  fi
)

# Called once the programs are there: the package has made the user postgres by then.
choose_server_user() {
  if [ -n "$SERVER_USER" ] && ! id "$SERVER_USER" >/dev/null 2>&1; then
    SERVER_USER=nobody
  fi
}

own() { if [ -n "$SERVER_USER" ]; then chown -R "$SERVER_USER" "$1"; fi; }

# ---- One cluster -------------------------------------------------------------------------------------

absolute() {
  case $1 in
    /*) printf '%s\n' "${1%/}" ;;
    *) printf '%s/%s\n' "$PWD" "${1%/}" ;;
  esac
}

port_of() { cat "$1/port" 2>/dev/null || die "there is no cluster in $1"; }
url_of() {
  local port
  port=$(port_of "$1")
  printf 'postgresql://postgres:postgres@127.0.0.1:%s/postgres\n' "$port"
}

# pid_of DIR: the server's first process, or failure when that is gone. One that was killed and only waits
# to be reaped is gone: kill -0 and pg_ctl would still take it for running.
pid_of() {
  local pid=
  read -r pid 2>/dev/null <"$1/data/postmaster.pid" || return 1
  case $(ps -o stat= -p "$pid" 2>/dev/null || sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) in
    '' | Z*) return 1 ;;
  esac
  printf '%s\n' "$pid"
}

# is_running DIR: asked twice, because a process that was killed takes a moment to die.
is_running() { pid_of "$1" >/dev/null && sleep 0.1 && pid_of "$1" >/dev/null; }

# children_of PID: the processes of a server besides its first.
children_of() {
  if [ -r "/proc/$1/task/$1/children" ]; then
    cat "/proc/$1/task/$1/children"
  else
    ps -A -o pid=,ppid= 2>/dev/null | awk -v parent="$1" '$2 == parent { print $1 }'
  fi
}

# init_data DATA: an empty cluster that reads its settings from ../settings.conf.
init_data() {
  local data=$1 locale=C
  # Where it exists: the locale that orders like C and still knows the case of all letters.
  if locale -a 2>/dev/null | grep -qix 'C\.utf-\{0,1\}8'; then locale=C.UTF-8; fi
  printf 'postgres\n' >"${data%/*}/password"
  own "${data%/*}"
  as_server "$BIN/initdb" -D "$data" -U postgres -A scram-sha-256 -E UTF8 --locale="$locale" \
    --pwfile="${data%/*}/password" --no-sync >"${data%/*}/initdb.log" 2>&1 ||
    die "initdb failed: $(cat "${data%/*}/initdb.log")"
  printf "include '../settings.conf'\n" >>"$data/postgresql.conf"
}

# make_data DIR: DIR/data, copied from the template of the surrounding `run` where there is one.
make_data() {
  local dir=$1
  if [ -d "${TEST_POSTGRES_TEMPLATE:-}/data" ]; then
    # Into another name first, so that a copy cut short is never taken for a cluster.
    rm -rf "$dir/data.new"
    cp -Rp "$TEST_POSTGRES_TEMPLATE/data" "$dir/data.new"
    mv "$dir/data.new" "$dir/data"
  else
    init_data "$dir/data"
  fi
}

write_settings() {
  local dir=$1 sockets=$1
  # The path of a Unix socket has room for about a hundred bytes.
  if [ ${#dir} -gt 85 ]; then sockets=; fi
  cat >"$dir/settings.conf" <<END
port = $2
listen_addresses = '127.0.0.1'
unix_socket_directories = '${sockets//\'/\'\'}'
max_connections = 300
fsync = off
full_page_writes = off
${TEST_POSTGRES_SETTINGS:-}
END
}

# Ports below those that the kernel gives to outgoing connections.
is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() {
  local port tries=0
  while [ $((tries += 1)) -le 100 ]; do
    port=$((20000 + RANDOM % 12000))
    if is_free "$port"; then
      printf '%s\n' "$port"
      return
    fi
  done
  die "found no free port"
}

# launch DIR: starts the server of DIR. Fails with 1 when its port is taken, and dies of what else is wrong.
launch() {
  local dir=$1 tries=0
  while :; do
    : >"$dir/start.log"
    if as_server "$BIN/pg_ctl" start -D "$dir/data" -w -t 60 -l "$dir/log" >"$dir/start.log" 2>&1; then
      return 0
    fi
    if tail -n 20 "$dir/log" 2>/dev/null | grep -q 'Address already in use'; then
      return 1
    fi
    # After a kill -9 the old server's processes need a moment to notice and to let go of its memory.
    if [ $((tries += 1)) -gt 20 ] || ! tail -n 5 "$dir/log" 2>/dev/null | grep -qE 'still in use|lock file'; then
      die "the server did not start: $(cat "$dir/start.log"; tail -n 20 "$dir/log" 2>/dev/null)"
    fi
    sleep 0.25
  done
}

# forget_killed DIR: ends what is left of a server whose first process is gone. Its pid file goes too when
# that process is not reaped yet, because PostgreSQL would take it for running.
forget_killed() {
  local pid='' cwd
  read -r pid 2>/dev/null <"$1/data/postmaster.pid" || return 0
  for cwd in /proc/[0-9]*/cwd; do
    if [ "$cwd" -ef "$1/data" ]; then
      cwd=${cwd#/proc/}
      kill -KILL "${cwd%/cwd}" 2>/dev/null || true
    fi
  done
  if kill -0 "$pid" 2>/dev/null; then
    rm -f "$1/data/postmaster.pid" "$1"/.s.PGSQL.*
  fi
}

start() {
  local dir port=${2:-} fixed=${2:-} tries=0
  dir=$(absolute "$1")
  case $port in *[!0-9]*) die "$port is no port" ;; esac
  if [ -f "$dir/data/PG_VERSION" ]; then
    if is_running "$dir"; then
      url_of "$dir"
      return
    fi
    port=${port:-$(cat "$dir/port" 2>/dev/null || true)}
    fixed=$port
  else
    mkdir -p "$dir"
    own "$dir"
    as_server test -w "$dir" ||
      die "user $SERVER_USER, who runs the server, cannot reach $dir: choose a folder below /tmp, or open those above it"
    make_data "$dir"
  fi
  if [ -n "${TEST_POSTGRES_RUN:-}" ]; then printf '%s\n' "$dir" >>"$TEST_POSTGRES_RUN/clusters"; fi
  forget_killed "$dir"
  : >"$dir/log"
  own "$dir"
  while :; do
    port=${fixed:-$(free_port)}
    printf '%s\n' "$port" >"$dir/port"
    write_settings "$dir" "$port"
    if launch "$dir"; then break; fi
    if [ -n "$fixed" ] || [ $((tries += 1)) -ge 20 ]; then die "port $port is taken"; fi
    : >"$dir/log"
  done
  url_of "$dir"
}

standby() {
  local dir url
  dir=$(absolute "$1")
  url=$(url_of "$(absolute "$2")")
  [ ! -e "$dir/data" ] || die "there is a cluster in $dir already"
  mkdir -p "$dir"
  own "$dir"
  as_server "$BIN/pg_basebackup" -D "$dir/data" -d "$url" -R -X stream -c fast --no-sync >"$dir/backup.log" 2>&1 ||
    die "pg_basebackup failed: $(cat "$dir/backup.log")"
  start "$dir"
}

stop() {
  local dir pid all
  dir=$(absolute "$1")
  pid=$(pid_of "$dir") || return 0
  # A server that somebody froze would never see the request to end.
  all=$(children_of "$pid")
  # shellcheck disable=SC2086 # several ids
  kill -CONT "$pid" $all 2>/dev/null || true
  as_server "$BIN/pg_ctl" stop -D "$dir/data" -w -t 15 -m fast >/dev/null 2>&1 && return 0
  as_server "$BIN/pg_ctl" stop -D "$dir/data" -w -t 5 -m immediate >/dev/null 2>&1 && return 0
  pid_of "$dir" >/dev/null || return 0
  say "the server in $dir (pid $pid) does not end, killing it"
  # shellcheck disable=SC2086
  kill -KILL "$pid" $all 2>/dev/null || true
}

# ---- A command beside a cluster ----------------------------------------------------------------------

# temporary_folder: one that the server's user can enter too.
temporary_folder() {
  local base folder
  for base in "${TMPDIR:-/tmp}" /tmp; do
    folder=$(mktemp -d "$base/bedplate-postgres.XXXXXX") || continue
    chmod 711 "$folder"
    if as_server test -x "$folder"; then
      printf '%s\n' "$folder"
      return
    fi
    rmdir "$folder"
  done
  die "user $SERVER_USER, who runs the server, can reach neither ${TMPDIR:-/tmp} nor /tmp"
}

RUN_FOLDER=
RUN_CHILD=

clean_up() {
  local status=$? dir
  trap '' INT TERM HUP
  [ -n "$RUN_FOLDER" ] || exit "$status"
  # Also those that the command started and left behind.
  sort -u "$RUN_FOLDER/clusters" 2>/dev/null | while read -r dir; do
    [ ! -d "$dir/data" ] || stop "$dir" </dev/null || true
  done
  rm -rf "$RUN_FOLDER"
  exit "$status"
}

# A signal goes on to the command with all it started; the clean-up follows when that has ended.
forward() { if [ -n "$RUN_CHILD" ]; then kill -"$1" -- "-$RUN_CHILD" 2>/dev/null || true; else exit "$2"; fi; }

run() {
  local status=0
  trap clean_up EXIT
  trap 'forward INT 130' INT
  trap 'forward TERM 143' TERM
  trap 'forward HUP 129' HUP
  RUN_FOLDER=$(temporary_folder)
  mkdir "$RUN_FOLDER/template"
  init_data "$RUN_FOLDER/template/data"
  # The folder says which version it is from here on.
  unset POSTGRES_VERSION
  export TEST_POSTGRES_TEMPLATE=$RUN_FOLDER/template TEST_POSTGRES_RUN=$RUN_FOLDER TEST_POSTGRES_BIN=$BIN
  TEST_POSTGRES_URL=$(start "$RUN_FOLDER/main")
  export TEST_POSTGRES_URL
  say "PostgreSQL $(as_server "$BIN/postgres" --version | awk '{ print $3 }') at $TEST_POSTGRES_URL"
  # With job control the command is a process group of its own, so that a signal reaches all of it, and
  # Ctrl-C is not ignored in it as it is in other background jobs.
  set -m
  "$@" <&0 &
  RUN_CHILD=$!
  set +m
  # A signal ends `wait` early, with a status above 128.
  while :; do
    status=0
    wait "$RUN_CHILD" || status=$?
    kill -0 "$RUN_CHILD" 2>/dev/null || break
  done
  RUN_CHILD=
  exit "$status"
}

# ---- The command line --------------------------------------------------------------------------------

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
  start) [ $# -eq 1 ] || [ $# -eq 2 ] || usage ;;
  standby) [ $# -eq 2 ] || usage ;;
  stop | url) [ $# -eq 1 ] || usage ;;
  find) [ $# -eq 0 ] || usage ;;
  run) [ $# -ge 1 ] || usage ;;
  *) usage ;;
esac
case ${POSTGRES_VERSION:-} in *[!0-9]*) die "POSTGRES_VERSION=$POSTGRES_VERSION is none; expected a number such as 17" ;; esac
if [ "$verb" = find ]; then
  find_server || die "there is no PostgreSQL server${POSTGRES_VERSION:+ of version $POSTGRES_VERSION} here"
  exit
fi
if [ "$verb" = url ]; then
  url_of "$(absolute "$1")"
  exit
fi
BIN=$(server_bin)
choose_server_user
"$verb" "$@"
