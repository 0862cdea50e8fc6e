# shellcheck shell=bash disable=SC2034,SC2154 # shared with run.sh, values.sh and starts.sh
# migrators.sh: our migrator beside refinery_cli, sqlx-cli, Alembic and psql, with the same thousand migrations.
# Each of the others is taken from PATH, or installed once from its registry into the target folder; one that
# cannot be is left out, with a word. MIGRATORS= (empty) leaves all of them out.

MIGRATORS=${MIGRATORS-refinery sqlx alembic}
MIGRATIONS=${MIGRATIONS:-1000}
# How long an installation may take, in seconds.
INSTALL_LIMIT=1500
declare -A migrator_name=(
  [ours]='**migrator**' [refinery]='refinery_cli' [sqlx]='sqlx-cli' [alembic]='Alembic' [psql]='*psql -f*'
)
declare -A migrator_program=()
# In the order of the tables.
migrators=(ours)

# install_migrators: into $migrators and $migrator_program those that there are.
install_migrators() {
  local name log=$target/bench/install.log tools=$target/bench/tools
  mkdir -p "$tools"
  for name in $MIGRATORS; do
    if migrator_program[$name]=$(command -v "$name"); then
      migrators+=("$name")
      continue
    fi
    say "installing ${migrator_name[$name]}"
    if install_migrator "$name" "$tools" >"$log" 2>&1; then
      migrator_program[$name]=$tools/$name/bin/$name
      migrators+=("$name")
    else
      say "${migrator_name[$name]} cannot be installed, going on without it: $(tail -n 1 "$log")"
    fi
  done
  migrators+=(psql)
}

# install_migrator NAME FOLDER: the program NAME into FOLDER/NAME/bin, unless it is there.
install_migrator() {
  local name=$1 root=$2/$1
  if [ -x "$root/bin/$name" ]; then return; fi
  case $name in
    refinery)
      timeout "$INSTALL_LIMIT" cargo install --locked --root "$root" --no-default-features --features postgresql refinery_cli
      ;;
    sqlx)
      timeout "$INSTALL_LIMIT" cargo install --locked --root "$root" --no-default-features --features postgres sqlx-cli
      ;;
    alembic)
      python3 -m venv --clear "$root" &&
        timeout 300 "$root/bin/pip" install --quiet --disable-pip-version-check alembic 'psycopg[binary]'
      ;;
  esac
}

# write_migrations: the same tables and indexes as files of each of them.
write_migrations() {
  local folder=$work/migrations number padded sql before=None
  mkdir -p "$folder"/{refinery,sqlx,alembic/versions}
  for ((number = 1; number <= MIGRATIONS; number++)); do
    sql="CREATE TABLE item_$number (
    id   bigint NOT NULL,
    name text   NOT NULL,
    CONSTRAINT item_${number}_pkey PRIMARY KEY (id)
);
CREATE INDEX idx_item_${number}_name ON item_$number (name);"
    printf '%s\n' "$sql" >"$folder/refinery/V${number}__create_item_$number.sql"
    printf -v padded '%06d' "$number"
    printf '%s\n' "$sql" >"$folder/sqlx/${padded}_create_item_$number.sql"
    printf 'from alembic import op\nrevision = "%s"\ndown_revision = %s\n\n\ndef upgrade():\n    op.execute("""%s""")\n' \
      "$padded" "$before" "$sql" >"$folder/alembic/versions/${padded}_create_item_$number.py"
    before="\"$padded\""
  done
  printf '[alembic]\nscript_location = %s/alembic\n' "$folder" >"$folder/alembic.ini"
  cat >"$folder/alembic/env.py" <<'PY'
import os

from alembic import context
from sqlalchemy import create_engine, pool

url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1)
with create_engine(url, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
PY
}

# migrate NAME: brings the database $many up to date with it.
migrate() {
  local folder=$work/migrations file arguments=()
  export DATABASE_URL=$base_url/$many
  case $1 in
    ours) "$release/migrator" --migrations "$folder/refinery" up ;;
    refinery) "${migrator_program[refinery]}" migrate -e DATABASE_URL -p "$folder/refinery" ;;
    sqlx) "${migrator_program[sqlx]}" migrate run --source "$folder/sqlx" ;;
    alembic) "${migrator_program[alembic]}" -c "$folder/alembic.ini" upgrade head ;;
    psql)
      for file in "$folder"/sqlx/*.sql; do arguments+=(-c BEGIN -f "$file" -c COMMIT); done
      psql -qX -v ON_ERROR_STOP=1 "$DATABASE_URL" "${arguments[@]}"
      ;;
  esac
}

# fresh_many: a new database in $many. Those before it stay until all is measured: right after thousands of files were
# deleted, a file system may take twice as long to make others (ext4 looks for inodes past those).
many=many_0
fresh_many() {
  many=many_$((${many#many_} + 1))
  sql "CREATE DATABASE $many"
  sql CHECKPOINT
}

# peak KEY COMMAND...: the most memory that it had at once, in MB, looked at every few milliseconds.
peak() {
  local key=$1 process line most=0
  shift
  "$@" </dev/null >"$work/log/peak" 2>&1 &
  process=$!
  while kill -0 "$process" 2>/dev/null; do
    for line in $(tree "$process"); do
      line=$(awk '/^VmHWM/ { print $2 }' "/proc/$line/status" 2>/dev/null) || continue
      if [ "${line:-0}" -gt "$most" ]; then most=$line; fi
    done
  done
  wait "$process" || die "failed: $* $(tail -n 3 "$work/log/peak")"
  record "$key" "$(awk -v kilobytes="$most" 'BEGIN { printf "%.1f", kilobytes * 1024 / 1e6 }')"
}

# fastest KEY_PREFIX: the least median of the other migrators.
fastest() {
  local name least=–
  for name in "${migrators[@]}"; do
    case $name in ours | psql) continue ;; esac
    least=$(printf '%s\n' "$least" "$(value "$1.$name" median 1)" | grep -v – | sort -g | head -n 1 || true)
  done
  printf '%s' "${least:-–}"
}

measure_migrators() {
  local round name rounds=$((RUNS < 5 ? RUNS : 5)) what migrator_aims=()
  write_migrations
  for ((round = 1; round <= rounds; round++)); do
    for name in "${migrators[@]}"; do
      fresh_many
      timed "many.$name" migrate "$name"
      if [ "$name" = psql ]; then continue; fi
      timed "none.$name" migrate "$name"
      timed "none.$name" migrate "$name"
    done
  done
  for name in "${migrators[@]}"; do
    if [ "$name" = psql ]; then continue; fi
    fresh_many
    peak "peak.$name" migrate "$name"
  done
  for ((round = ${many#many_}; round > 0; round--)); do sql "DROP DATABASE many_$round WITH (FORCE)"; done
  unset DATABASE_URL

  heading "$MIGRATIONS migrations (a table and an index each) on PostgreSQL, $rounds runs in turns, medians"
  row program 'from empty, ms' 'nothing to do, ms' 'peak memory, MB'
  row --- ---: ---: ---:
  for name in "${migrators[@]}"; do
    row "${migrator_name[$name]}" "$(value "many.$name" median 0)" "$(value "none.$name" median 1)" \
      "$(value "peak.$name" median 1)"
  done
  for what in many none peak; do
    migrator_aims+=("$what" "$(ratio "$(value "$what.ours" median 1)" "$(fastest "$what")")")
  done
  heading 'The migrator beside them'
  row ratio value aim
  row --- ---: ---
  row 'from empty, to the fastest of the others' "${migrator_aims[1]}" "$(aim "${migrator_aims[1]}" '<=' 1)"
  row 'nothing to do, to the fastest of the others' "${migrator_aims[3]}" "$(aim "${migrator_aims[3]}" '<=' 1)"
  row 'peak memory, to the least of the others' "${migrator_aims[5]}" "$(aim "${migrator_aims[5]}" '<=' 1)"
  what=$(ratio "$(value many.ours median 1)" "$(value many.psql median 1)")
  row "from empty, to \`psql -f\` of the same files, a transaction each" "$what" "$(aim "$what" '<=' 1.3)"
}
