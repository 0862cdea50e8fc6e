# shellcheck shell=bash disable=SC2154 # shared with run.sh and servers.sh
# load.sh: memory, and rates under load.

# key_of SERVER PATH: what the values of both are kept under.
key_of() { printf '%s%s' "$1" "${2//[^a-z0-9]/.}"; }

# load SERVER PATH SECONDS: "requests requests/s p50 p99 failures". wrk that dies is a failure.
load() {
  local result script=report.lua
  case $2 in /api/*) script=routes.lua ;; esac
  result=$(wrk -t1 -c"$CONNECTIONS" -d"${3}s" --timeout 10s -s "$bench/$script" \
    "http://127.0.0.1:${port[$1]}$2" | sed -n 's/^RESULT //p') || true
  printf '%s\n' "${result:-0 0 0 0 1}"
}

# measure_load SERVER PATH: one turn.
measure_load() {
  local key before requests rate p50 p99 failures
  key=$(key_of "$1" "$2")
  before=$(processor_time "${pid[$1]}")
  read -r requests rate p50 p99 failures < <(load "$1" "$2" "$SECONDS_EACH")
  record "rate.$key" "$rate"
  record "p50.$key" "$p50"
  record "p99.$key" "$p99"
  record "failures.$key" "$failures"
  if [ "$requests" -gt 0 ]; then
    record "processor.$key" "$(awk -v time=$(($(processor_time "${pid[$1]}") - before)) -v n="$requests" 'BEGIN { print time / n }')"
  fi
}

# measure_pgbench KEY FILE [OPTION...]
measure_pgbench() {
  local rate
  rate=$(pgbench -n -M prepared -c "$POOL" -j 1 -T "$SECONDS_EACH" -f "$2" "${@:3}" "${database_url[postgresql]}" \
    2>"$work/log/pgbench" | awk '/^tps/ { print $3 }')
  record "rate.$1" "${rate:-0}"
}

paths_of() {
  case $1 in
    postgresql | sqlite) printf '%s\n' /livez /readyz /health/db ;;
    *) printf '%s\n' /livez /health/db ;;
  esac
  if [ "$1" != sqlite ]; then printf '%s\n' "${routes[@]}"; fi
}

measure_servers() {
  local round name path
  echo 'SELECT 1;' >"$work/select.sql"
  # The log goes where it costs nothing to keep.
  for name in "${servers[@]}"; do
    launch "$name" /dev/null
    await "$name" /dev/null
  done
  sleep "$IDLE_SECONDS"
  for name in "${servers[@]}"; do
    record "idle.$name" "$(resident "${pid[$name]}" VmRSS)"
    record "idle-peak.$name" "$(resident "${pid[$name]}" VmHWM)"
  done
  for name in "${servers[@]}"; do
    for path in $(paths_of "$name"); do
      ask "${port[$name]}" "$(one_of "$path")"
      # wrk only counts answers above 399; anything but 2xx makes a row void.
      case $REPLY in 2??) ;; *) record "failures.$(key_of "$name" "$path")" 1 ;; esac
      load "$name" "$path" 1 >/dev/null # fills pools and caches
    done
  done
  for ((round = 1; round <= ROUNDS; round++)); do
    for path in /livez /readyz /health/db "${routes[@]}"; do
      for name in "${servers[@]}"; do
        case " $(paths_of "$name" | tr '\n' ' ')" in *" $path "*) measure_load "$name" "$path" ;; esac
      done
    done
    measure_pgbench pgbench "$work/select.sql"
    if [ ${#routes[@]} -gt 0 ]; then measure_pgbench pgbench-account "$work/account.sql" -D "id=$account"; fi
  done
  for name in "${servers[@]}"; do
    is_alive "${pid[$name]}" || die "${label[$name]} died under load"
    record "loaded.$name" "$(resident "${pid[$name]}" VmRSS)"
    record "loaded-peak.$name" "$(resident "${pid[$name]}" VmHWM)"
    end "$name"
  done
}

memory_table() {
  local name idle peak verdict under_load
  heading "Memory in MB: idle $IDLE_SECONDS s after ready, and with all of the load below behind it"
  row server 'idle' 'peak until then' 'aim, idle' 'after the load' 'peak under load' 'aim, peak'
  row --- ---: ---: --- ---: ---: ---
  for name in "${servers[@]}"; do
    idle=$(value "idle.$name" median 1) verdict=
    peak=$(value "loaded-peak.$name" median 1) under_load=
    case $name in
      postgresql | sqlite) verdict=$(aim "$idle" '<' 20) under_load=$(aim "$peak" '<' 40) ;;
    esac
    row "${label[$name]}" "$idle" "$(value "idle-peak.$name" median 1)" "$verdict" \
      "$(value "loaded.$name" median 1)" "$peak" "$under_load"
  done
}

# rate SERVER PATH: the median, – for a row that is void or was not measured.
rate() {
  local key
  key=$(key_of "$1" "$2")
  case $(value "failures.$key" sum) in 0) value "rate.$key" median ;; *) printf '–' ;; esac
}

load_tables() {
  local name path key first
  for path in /livez /readyz /health/db "${routes[@]}"; do
    heading "$(title_of "$path"): wrk -t1 -c$CONNECTIONS, $ROUNDS x $SECONDS_EACH s"
    row server requests/s 'p50 ms' 'p99 ms' 'processor µs per request' "to Bedplate's"
    row --- ---: ---: ---: ---: ---:
    first=$(rate postgresql "$path")
    for name in "${servers[@]}"; do
      key=$(key_of "$name" "$path")
      [ -s "$work/values/failures.$key" ] || continue
      if [ "$(value "failures.$key" sum)" != 0 ]; then
        row "${label[$name]}" "void: $(value "failures.$key" sum) failures" '' '' '' ''
      else
        row "${label[$name]}" "$(rate "$name" "$path")" "$(value "p50.$key" median 2)" "$(value "p99.$key" median 2)" \
          "$(value "processor.$key" median 1)" "$(ratio "$(rate "$name" "$path")" "$first")"
      fi
    done
    if [ "$path" = /health/db ]; then
      row "*beside it: \`pgbench -M prepared -c $POOL -j 1\` of \`SELECT 1\`*" "$(value rate.pgbench median)" – – – \
        "$(ratio "$(value rate.pgbench median)" "$first")"
    elif [ "$path" = "$ONE_ACCOUNT" ]; then
      row "*beside it: \`pgbench -M prepared -c $POOL -j 1\` of one account, without a session*" \
        "$(value rate.pgbench-account median)" – – – "$(ratio "$(value rate.pgbench-account median)" "$first")"
    fi
  done
  printf '\n%s\n' "Requests for Bedplate's \`/health/db\` share the query that is under way, so it may exceed \`pgbench\`."
}

ratio_table() {
  local name path to_livez to_axum
  heading Ratios
  row ratio value aim
  row --- ---: ---
  for name in postgresql sqlite; do
    to_livez=$(ratio "$(rate "$name" /readyz)" "$(rate "$name" /livez)")
    row "\`/readyz\` to \`/livez\`, ${label[$name]}" "$to_livez" "$(aim "$to_livez" '>=' 0.9)"
  done
  to_axum=$(ratio "$(rate postgresql /livez)" "$(rate axum /livez)")
  row "\`/livez\` to axum's, ${label[postgresql]}" "$to_axum" "$(aim "$to_axum" '>=' 0.9)"
  if [ ${#routes[@]} -eq 0 ]; then return; fi
  local -A least=([$ONE_ACCOUNT]=2 [$LIST_OF_ACCOUNTS]=1.5 [$NEWEST_OF_A_DAY]=1.5 [$FIGURES_OF_A_DAY]=1 [$WRITE_SNAPSHOTS]=1)
  for path in "${routes[@]}"; do
    to_axum=$(ratio "$(rate postgresql "$path")" "$(rate axum "$path")")
    row "\`$(title_of "$path")\` to axum's" "$to_axum" "$(aim "$to_axum" '>=' "${least[$path]}")"
  done
}
