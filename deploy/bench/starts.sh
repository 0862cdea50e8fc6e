# shellcheck shell=bash disable=SC2154 # shared with run.sh and servers.sh
# starts.sh: how long a run of the migrator takes, and the start of a server.

# timed KEY COMMAND...: its wall-clock time in milliseconds.
timed() {
  local key=$1 begin end
  shift
  begin=${EPOCHREALTIME/./}
  "$@" </dev/null >"$work/log/timed" 2>&1 || die "failed: $* $(cat "$work/log/timed")"
  end=${EPOCHREALTIME/./}
  record "$key" "$(((end - begin) / 1000)).$(printf '%03d' $(((end - begin) % 1000)))"
}

up() { DATABASE_URL=$1 "$release/migrator" up; }
up_with_password() { ADMIN_PASSWORD=correct-horse-battery up "$1"; }

same_sql() {
  local file files=()
  for file in "${migrations[@]}"; do files+=(-f "$file"); done
  psql -qX -v ON_ERROR_STOP=1 -1 "$1" "${files[@]}" -f "$work/admin.sql"
}

measure_migrator() {
  local round key migrations=()
  # In the order of their numbers.
  mapfile -t migrations < <(printf '%s\n' "$repository"/migrator/migrations/postgres/V*.sql | sort -V)
  cat >"$work/admin.sql" <<'SQL'
INSERT INTO users (id, username, password_hash, user_type, is_admin)
VALUES (gen_random_uuid(), 'admin', 'no hash is made here', 'local', true);
SQL
  for ((round = 1; round <= RUNS; round++)); do
    timed nothing.postgresql up "${database_url[postgresql]}"
    timed nothing.sqlite up "${database_url[sqlite]}"
    timed nothing.psql psql -qX "${database_url[postgresql]}" -c 'SELECT 1'
    for key in up up_with_password same_sql; do
      sql 'CREATE DATABASE empty'
      timed "empty.postgresql.$key" "$key" "$base_url/empty"
      sql 'DROP DATABASE empty WITH (FORCE)'
    done
    for key in up up_with_password; do
      timed "empty.sqlite.$key" "$key" "sqlite:///$work/empty.db"
      rm -f "$work"/empty.db*
    done
  done

  heading "migrator up: wall clock in ms, $RUNS runs each"
  row what median least most aim
  row --- ---: ---: ---: ---
  time_row nothing.postgresql 30 'nothing to do, PostgreSQL'
  time_row nothing.sqlite 30 'nothing to do, SQLite'
  time_row nothing.psql - "*beside it: \`psql -c 'SELECT 1'\`*"
  time_row empty.postgresql.up - 'from empty, PostgreSQL, a password made'
  time_row empty.postgresql.up_with_password - "from empty, PostgreSQL, \`ADMIN_PASSWORD\` set"
  time_row empty.postgresql.same_sql - "*beside it: \`psql -f\` of the same SQL and an INSERT*"
  time_row empty.sqlite.up - 'from empty, SQLite, a password made'
  time_row empty.sqlite.up_with_password - "from empty, SQLite, \`ADMIN_PASSWORD\` set"
}

# time_row KEY LIMIT CELL...: a row that begins with CELL...; LIMIT is - where there is no aim.
time_row() {
  local key=$1 limit=$2 median verdict=
  shift 2
  median=$(value "$key" median 1)
  if [ "$limit" != - ]; then verdict=$(aim "$median" '<=' "$limit"); fi
  row "$@" "$median" "$(value "$key" least 1)" "$(value "$key" most 1)" "$verdict"
}

measure_starts() {
  local round name begin time limit
  for ((round = 1; round <= RUNS; round++)); do
    for name in "${servers[@]}"; do
      begin=${EPOCHREALTIME/./}
      launch "$name" "$work/log/$name"
      await "$name" "$work/log/$name"
      time=$((${EPOCHREALTIME/./} - begin))
      record "start.$name" "$((time / 1000)).$(printf '%03d' $((time % 1000)))"
      end "$name"
    done
  done

  heading "Process start to the first 200, on a migrated database: ms, $RUNS runs each"
  row server asked median least most aim
  row --- --- ---: ---: ---: ---
  for name in "${servers[@]}"; do
    limit=-
    case $name in postgresql | sqlite) limit=100 ;; esac
    time_row "start.$name" "$limit" "${label[$name]}" "\`${ready_path[$name]}\`"
  done
}
