# shellcheck shell=bash disable=SC2154 # shared with run.sh and builds.sh
# servers.sh: the servers that are measured: how each is started, asked, looked at and ended.

# Nobody ever writes to it: reading from it is a pause without a process.
exec {never}<> <(:)

declare -A label=(
  [postgresql]='Bedplate, PostgreSQL' [sqlite]='Bedplate, SQLite'
  [axum]='axum + sqlx, PostgreSQL' [fastapi]='FastAPI, PostgreSQL' [logins]='Bedplate, logins'
)
# Which path answers 200 once the server can use its database.
declare -A ready_path=([postgresql]=/readyz [sqlite]=/readyz [logins]=/readyz [axum]=/health/db [fastapi]=/health/db)
declare -A database_url=() port=() pid=()

# free_port: into $REPLY, below those that the kernel gives to outgoing connections.
free_port() {
  local tries=0
  while [ $((tries += 1)) -le 100 ]; do
    REPLY=$((20000 + RANDOM % 12000))
    if ! { true 3<>"/dev/tcp/127.0.0.1/$REPLY"; } 2>/dev/null; then return; fi
  done
  die 'found no free port'
}

# launch SERVER LOG: starts it; its process id goes into pid[SERVER].
launch() {
  local name=$1 log=$2
  case $name in
    postgresql | sqlite | logins | streams | many | single)
      DATABASE_URL=${database_url[$name]} HTTP_ADDRESS=127.0.0.1:${port[$name]} HTTP_DRAIN_DELAY=0s \
        TELEMETRY_PROMETHEUS_ADDRESS=127.0.0.1:0 METRICS_COLLECT_INTERVAL=off DATABASE_POOL_SIZE=$POOL DATABASE_MAX_OVERFLOW=0 \
        "$release/service" </dev/null >"$log" 2>&1 &
      ;;
    axum)
      DATABASE_URL=${database_url[$name]} PORT=${port[$name]} POOL=$POOL \
        "$axum_program" </dev/null >"$log" 2>&1 &
      ;;
    fastapi)
      DATABASE_URL=${database_url[$name]} PORT=${port[$name]} POOL=$POOL PYTHONPATH=$PEERS/fastapi \
        "$fastapi_python" -m app </dev/null >"$log" 2>&1 &
      ;;
  esac
  pid[$name]=$!
}

# is_alive PID: a process that only waits to be reaped is not.
is_alive() {
  local state=
  { read -r _ _ state _ <"/proc/$1/stat"; } 2>/dev/null && [ "$state" != Z ]
}

# tree PID: it and all that it started.
tree() {
  local child children=()
  printf '%s\n' "$1"
  # The file is one line without an end.
  { read -r -a children <"/proc/$1/task/$1/children"; } 2>/dev/null || true
  for child in "${children[@]}"; do tree "$child"; done
}

# ask PORT PATH: the status of the answer to whoever has $TOKEN into $REPLY; 000 where nobody answers.
ask() {
  REPLY=000
  {
    printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n' \
      "$2" "$TOKEN" >&3 &&
      IFS=' ' read -r -t 5 _ REPLY _ <&3
  } 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$1" || REPLY=000
}

# await SERVER LOG: returns at the first 200. It asks as soon as the last answer is there, with a
# millisecond in between so that it does not take the core that the server starts on.
await() {
  local name=$1 until=$((SECONDS + 20))
  while :; do
    ask "${port[$name]}" "${ready_path[$name]}"
    [ "$REPLY" != 200 ] || return 0
    if ! is_alive "${pid[$name]}" || [ $SECONDS -ge $until ]; then
      [ ! -f "$2" ] || tail -n 20 "$2" >&2
      die "${label[$name]} did not become ready (last status $REPLY)"
    fi
    read -r -t 0.001 -u "$never" || true
  done
}

# end SERVER: asks it to end, and kills what is left of it ten seconds later.
end() {
  local first=${pid[$1]:-} all process until=$((SECONDS + 10))
  [ -n "$first" ] || return 0
  unset "pid[$1]"
  all=$(tree "$first")
  kill -TERM "$first" 2>/dev/null || true
  for process in $all; do
    while is_alive "$process"; do
      if [ $SECONDS -ge $until ]; then
        say "${label[$1]} (process $process) does not end, killing it"
        kill -KILL "$process" 2>/dev/null || true
        break
      fi
      sleep 0.01
    done
  done
  wait "$first" 2>/dev/null || true
}

# resident PID VmRSS|VmHWM: MB, those of the processes added up, pages that they share counted in each.
resident() {
  local process
  for process in $(tree "$1"); do cat "/proc/$process/status" 2>/dev/null || true; done |
    awk -v key="$2:" '$1 == key { kib += $2 } END { printf "%.1f", kib * 1024 / 1e6 }'
}

# processor_time PID: microseconds that the processes have worked.
processor_time() {
  local process
  for process in $(tree "$1"); do cat "/proc/$process/stat" 2>/dev/null || true; done |
    awk -v ticks="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); sum += $12 + $13 } END { printf "%.0f", sum * 1e6 / ticks }'
}
