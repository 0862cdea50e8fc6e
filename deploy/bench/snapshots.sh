# shellcheck shell=bash disable=SC2004,SC2016,SC2034,SC2154 # shared with run.sh and servers.sh
# snapshots.sh: snapshots in bulk: how fast a stream of them is stored, what memory that takes, and what one day
# costs to read when there are many.

# Rows of a stream, and of the table that one day is read from. LONG=1 reads it from ten million.
STREAM=1000000
if [ -n "${LONG:-}" ]; then SNAPSHOTS=${SNAPSHOTS:-10000000}; fi
SNAPSHOTS=${SNAPSHOTS:-1000000}
DAYS=90
DAY_OF_MANY="metric_type=cpu&from=2025-02-01T00:00:00Z&to=2025-02-02T00:00:00Z"

# fresh_snapshots KEY ARGUMENT...: a migrated database with partitions and a service on it.
fresh_snapshots() {
  local key=$1
  shift
  database_url[$key]=$base_url/$key
  free_port
  port[$key]=$REPLY
  label[$key]="Bedplate, $key"
  ready_path[$key]=/readyz
  sql "CREATE DATABASE $key"
  up_with_password "${database_url[$key]}" >"$work/log/up" 2>&1 || die "$(cat "$work/log/up")"
  DATABASE_URL=${database_url[$key]} "$release/service" partitions ensure "$@" >"$work/log/partitions" 2>&1 ||
    die "partitions: $(cat "$work/log/partitions")"
  run_sql "$key" <<'SQL'
INSERT INTO session (id, user_id, token_hash, expires_at)
SELECT gen_random_uuid(), id, sha256('bench-token'), now() + interval '1 year' FROM users WHERE is_admin;
SQL
  launch "$key" /dev/null
  await "$key" /dev/null
}

# run_sql KEY: what stands on its input.
run_sql() {
  psql -qAtX -v ON_ERROR_STOP=1 "${database_url[$1]}" 2>"$work/log/sql" || die "$(cat "$work/log/sql")"
}

# store_stream ROWS: the first so many lines of the stream, as one request; seconds into $REPLY.
store_stream() {
  local begin=${EPOCHREALTIME/./} answer
  answer=$(head -n "$1" "$work/stream.ndjson" | curl -sS -T - -X POST -H "Authorization: Bearer $TOKEN" \
    -H 'Content-Type: application/x-ndjson' "http://127.0.0.1:${port[streams]}/api/v1/metrics/snapshots")
  case $answer in
    "{\"accepted\":$1,\"rejected\":0,"*) ;;
    *) die "a stream of $1 snapshots was answered with $answer" ;;
  esac
  REPLY=$(awk -v time=$((${EPOCHREALTIME/./} - begin)) 'BEGIN { print time / 1e6 }')
}

# copy_stream: the same rows by psql, into the same table; seconds into $REPLY.
copy_stream() {
  local begin=${EPOCHREALTIME/./}
  psql -qX -v ON_ERROR_STOP=1 "${database_url[streams]}" \
    -c "\\copy metrics_snapshot (timestamp, source, metric_type, metric_data) FROM '$work/stream.copy'" \
    2>"$work/log/sql" || die "$(cat "$work/log/sql")"
  REPLY=$(awk -v time=$((${EPOCHREALTIME/./} - begin)) 'BEGIN { print time / 1e6 }')
}

empty_snapshots() { run_sql streams <<<'TRUNCATE metrics_snapshot; CHECKPOINT;'; }

# Four types of ten sources over the last five days, as lines of JSON and as psql copies them.
make_streams() {
  run_sql streams <<SQL
CREATE TEMPORARY TABLE made AS
SELECT date_trunc('second', now()) - interval '5 days' + n * (interval '5 days' / $STREAM) AS timestamp,
       'host-' || lpad((n / 4 % 10)::text, 2, '0') AS source,
       (ARRAY['cpu', 'memory', 'disk', 'network'])[n % 4 + 1] AS metric_type,
       jsonb_build_object('value', round((50 + 40 * sin(n / 5000.0) + n % 7)::numeric, 2), 'unit', 'percent') AS metric_data
FROM generate_series(1, $STREAM) AS n;
\\copy made TO '$work/stream.copy'
\\copy (SELECT to_jsonb(made)::text FROM made) TO '$work/stream.ndjson' (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')
SQL
}

measure_streams() {
  local round rows
  fresh_snapshots streams --from "$(date -ud '6 days ago' +%F)" --to "$(date -ud '2 days' +%F)"
  make_streams
  for rows in 10000 "$STREAM"; do
    store_stream "$rows"
    record "stream-peak.$rows" "$(resident "${pid[streams]}" VmHWM)"
  done
  for ((round = 1; round <= ROUNDS; round++)); do
    empty_snapshots
    store_stream "$STREAM"
    record stream.service "$(awk -v rows="$STREAM" -v time="$REPLY" 'BEGIN { print rows / time }')"
    empty_snapshots
    copy_stream
    record stream.copy "$(awk -v rows="$STREAM" -v time="$REPLY" 'BEGIN { print rows / time }')"
  done
  record stream-peak.all "$(resident "${pid[streams]}" VmHWM)"
  end streams
  sql 'DROP DATABASE streams'
}

# fill KEY CONDITION: the rows whose moment fulfils it.
fill() {
  run_sql "$1" <<SQL
INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data)
SELECT moment, 'host-' || lpad((n / 4 % 10)::text, 2, '0'), (ARRAY['cpu', 'memory', 'disk', 'network'])[n % 4 + 1],
       jsonb_build_object('value', round((50 + 40 * sin(n / 5000.0) + n % 7)::numeric, 2), 'unit', 'percent')
FROM (SELECT n, timestamptz '2025-01-01T00:00:00Z' + n * (interval '$DAYS days' / $SNAPSHOTS) AS moment
      FROM generate_series(0, $SNAPSHOTS - 1) AS n) AS made
WHERE $2;
VACUUM ANALYZE metrics_snapshot;
SQL
}

measure_days() {
  local round key path
  fresh_snapshots many --from 2025-01-01 --to 2025-04-02
  fresh_snapshots single --from 2025-02-01 --to 2025-02-02
  fill many true
  fill single "moment >= '2025-02-01T00:00:00Z' AND moment < '2025-02-02T00:00:00Z'"
  for ((round = 0; round <= ROUNDS; round++)); do
    for path in "/api/v1/metrics/snapshots?$DAY_OF_MANY&limit=100" \
      "/api/v1/metrics/aggregate?$DAY_OF_MANY&step=3600s&fn=avg,max,count&path=value"; do
      for key in many single; do
        # The first turn fills the caches.
        if [ "$round" = 0 ]; then load "$key" "$path" 1 >/dev/null; else measure_load "$key" "$path"; fi
      done
    done
  done
  end many
  end single
}

stream_table() {
  local to_copy service copy first last
  service=$(value stream.service median) copy=$(value stream.copy median)
  to_copy=$(ratio "$service" "$copy")
  heading "$STREAM snapshots into PostgreSQL, median of $ROUNDS"
  row how rows/s "to \`psql \\copy\`" aim
  row --- ---: ---: ---
  row '`application/x-ndjson`, one request' "$service" "$to_copy" "$(aim "$to_copy" '>=' 0.8)"
  row "*beside it: \`psql \\copy\` of the same rows into the same table*" "$copy" 1.00 ''
  first=$(value stream-peak.10000 median 1) last=$(value "stream-peak.$STREAM" median 1)
  printf '\nPeak memory %s MB after 10000 rows, %s MB after %s (%s), %s MB after all of them.\n' "$first" "$last" \
    "$STREAM" "$(aim "$last" '<=' "$(awk -v a="$first" 'BEGIN { printf "%.1f", a + (a / 10 > 4 ? a / 10 : 4) }')")" \
    "$(value stream-peak.all median 1)"
}

days_table() {
  local path many single times name
  heading "One day of $SNAPSHOTS snapshots of $DAYS days (LONG=1: of ten million), and of a table that holds that day alone"
  row 'GET' 'requests/s' 'of that day alone' 'times as long' aim
  row --- ---: ---: ---: ---
  for path in "/api/v1/metrics/snapshots?$DAY_OF_MANY&limit=100" \
    "/api/v1/metrics/aggregate?$DAY_OF_MANY&step=3600s&fn=avg,max,count&path=value"; do
    many=$(rate many "$path") single=$(rate single "$path")
    times=$(ratio "$single" "$many")
    name=${path#/api/v1/metrics/}
    row "the day's ${name%%\?*}" "$many" "$single" "$times" "$(aim "$times" '<=' 1.5)"
  done
}

measure_snapshots() {
  measure_streams
  stream_table
  measure_days
  days_table
}
