#!/usr/bin/env bash
# coming-from.sh: takes over the history of databases that other tools really made, on PostgreSQL and on SQLite:
# two migrations are theirs, the third is ours. Ends with failure when one is not taken over as it should be.
#
# Alembic comes from PyPI, pinned, into target/ (needs python3 with its module venv); sqlx, dbmate, migrate
# (golang-migrate) and goose are tried where they are in the PATH. What is not there is skipped, and named.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
TOOLS=$TARGET/coming-from
REQUIREMENTS=$HERE/coming-from-requirements.txt

say() { printf 'coming-from: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# prepare: the migrator, and Alembic where it can be had. What is there already is left alone.
prepare() {
  cargo build --quiet --locked --manifest-path "$ROOT/Cargo.toml" --package migrator
  cmp -s "$REQUIREMENTS" "$TOOLS/installed.txt" && return
  rm -rf "$TOOLS"
  command -v python3 >/dev/null || return 0
  python3 -m venv "$TOOLS" || return 0
  say "installing Alembic into $TOOLS"
  "$TOOLS/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$REQUIREMENTS" || return 0
  cp "$REQUIREMENTS" "$TOOLS/installed.txt"
}

if [ -z "${TEST_POSTGRES_URL:-}" ]; then
  prepare
  exec "$HERE/throwaway-postgres.sh" run "$HERE/coming-from.sh"
fi

FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# Away from whatever .env there is.
cd "$FOLDER"

# ends CODE WORDS COMMAND...: the command ends with this code and says these words.
ends() {
  local code=$1 words=$2 status=0
  shift 2
  "$@" >"$FOLDER/said" 2>&1 </dev/null || status=$?
  if [ "$status" != "$code" ] || { [ -n "$words" ] && ! grep -qF -- "$words" "$FOLDER/said"; }; then
    cat "$FOLDER/said" >&2
    die "$TOOL on $DATABASE: '$*' ended with $status and said the above; expected: $code, '$words'"
  fi
}

# theirs COMMAND...: what the other tool does, which has to work.
theirs() { ends 0 '' "$@"; }

ours() {
  local code=$1 words=$2
  shift 2
  ends "$code" "$words" "$TARGET/debug/migrator" --migrations "$MIGRATIONS" "$@"
}

# take_over: the history of which two are applied and the third is not.
take_over() {
  ours 0 'would record 2 as applied' import-history --dry-run
  ours 0 'recorded 2 as applied' import-history
  ours 65 'has a history here already' import-history
  ours 0 '1 pending' status
  ours 0 'applied 1' up
  ours 0 '' check --against-scratch
  ours 0 '' rehearse
}

# new_database NAME: an empty one, its URL as the migrator reads it in DATABASE_URL.
new_database() {
  MIGRATIONS=$FOLDER/$1-$DATABASE
  mkdir "$MIGRATIONS"
  FILE=$FOLDER/$1.db
  case $DATABASE in
    PostgreSQL)
      PSQL_URL=${TEST_POSTGRES_URL%/*}/coming_from_${1//-/_}
      "$TEST_POSTGRES_BIN/psql" --quiet --no-psqlrc "$TEST_POSTGRES_URL" --command "CREATE DATABASE coming_from_${1//-/_}"
      export DATABASE_URL=$PSQL_URL
      ;;
    SQLite)
      rm -f "$FILE"
      export DATABASE_URL=sqlite:///$FILE
      ;;
  esac
}

ONE='CREATE TABLE one (id integer PRIMARY KEY, name varchar(20) NOT NULL);'
TWO='CREATE TABLE two (id integer PRIMARY KEY, one_id integer REFERENCES one (id));'
THREE='CREATE INDEX two_one_id ON two (one_id);'
# write FILE SQL TAIL: a migration, what stands before it in HEAD.
write() { printf '%s%s\n%s' "$HEAD" "$2" "${3:-}" >"$MIGRATIONS/$1"; }

# ---- Each tool -----------------------------------------------------------------------------------------

# As coming-from.md tells it.
try_alembic() {
  local folder=$FOLDER/alembic-$DATABASE versions=$FOLDER/alembic-$DATABASE/versions url=$DATABASE_URL dialect=sqlite
  if [ "$DATABASE" = PostgreSQL ]; then
    dialect=postgres
    url=postgresql+psycopg://${DATABASE_URL#*://}
    # The spelling of SQLAlchemy's asynchronous driver is understood.
    export DATABASE_URL=postgresql+asyncpg://${DATABASE_URL#*://}
  fi
  MIGRATIONS=$folder/db
  mkdir -p "$MIGRATIONS/migrations/$dialect" "$MIGRATIONS/undo/$dialect" "$MIGRATIONS/schema"
  (cd "$folder" && theirs "$ALEMBIC" init --template generic environment)
  mv "$folder/environment/versions" "$versions"
  sed -i.original "s|^sqlalchemy.url.*|sqlalchemy.url = ${url//%/%%}|; s|^script_location.*|script_location = $folder/environment\\nversion_locations = $versions|" \
    "$folder/alembic.ini"
  cat >"$versions/a1_one.py" <<'PYTHON'
import sqlalchemy as sa
from alembic import op

revision, down_revision = "3f2a9c0d1b4e", None


def upgrade():
    op.create_table(
        "one",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(20), nullable=False, server_default="none", index=True),
        sa.Column("colour", sa.Enum("red", "green", name="colour")),
    )
PYTHON
  cat >"$versions/a2_two.py" <<'PYTHON'
import sqlalchemy as sa
from alembic import op

revision, down_revision = "77bc01aa9e55", "3f2a9c0d1b4e"


def upgrade():
    op.create_table(
        "two",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("one_id", sa.Integer, sa.ForeignKey("one.id", ondelete="CASCADE")),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
    )
PYTHON
  theirs "$ALEMBIC" --config "$folder/alembic.ini" upgrade head
  {
    echo '-- migrator: irreversible the history begins here'
    "$TARGET/debug/migrator" dump
  } >"$MIGRATIONS/migrations/$dialect/V1__baseline.sql"
  ! grep -q alembic_version "$MIGRATIONS/migrations/$dialect/V1__baseline.sql" ||
    die "Alembic's own table is in the baseline"
  ours 2 'revision 77bc01aa9e55' import-history
  ours 0 'recorded 1 as applied, as Alembic says' import-history --at 1
  ours 0 '' check --against-scratch
  # The next migration is made from the desired schema, and there is nothing to do before it says something new.
  "$TARGET/debug/migrator" dump >"$MIGRATIONS/schema/$dialect.sql"
  ends 0 'nothing to do' "$TARGET/debug/migrator" new index --folder "$MIGRATIONS" --autogenerate
  echo "$THREE" >>"$MIGRATIONS/schema/$dialect.sql"
  ends 0 'wrote' "$TARGET/debug/migrator" new index --folder "$MIGRATIONS" --autogenerate
  ours 0 'applied 1' up
  printf '%s\n' '-- migrator: irreversible the tool that it belonged to is gone' \
    '-- migrator: lint-allow compatible-from no release asks for it any more' \
    'DROP TABLE IF EXISTS alembic_version;' >"$MIGRATIONS/migrations/$dialect/V99991231235959__drop_alembic.sql"
  ours 0 'applied 1' up
  ours 0 '' check --against-scratch
  ours 0 '' rehearse
  # The same schema from nothing.
  "$TARGET/debug/migrator" dump >"$FOLDER/taken-over.sql"
  new_database "alembic-anew"
  MIGRATIONS=$folder/db
  ours 0 'applied 3' up
  "$TARGET/debug/migrator" dump >"$FOLDER/anew.sql"
  diff "$FOLDER/taken-over.sql" "$FOLDER/anew.sql" || die "Alembic on $DATABASE: the baseline makes another schema"
}

try_sqlx() {
  local url=$DATABASE_URL
  [ "$DATABASE" = PostgreSQL ] || url=sqlite://$FILE
  HEAD=''
  write 20240101120000_one.up.sql "$ONE"
  write 20240101120000_one.down.sql 'DROP TABLE one;'
  write 20240102120000_two.up.sql "$TWO"
  write 20240102120000_two.down.sql 'DROP TABLE two;'
  theirs sqlx database create --database-url "$url"
  theirs sqlx migrate run --source "$MIGRATIONS" --database-url "$url"
  write 20240103120000_three.up.sql "$THREE"
  write 20240103120000_three.down.sql 'DROP INDEX two_one_id;'
  # A file that sqlx would not run again is not taken over either.
  printf -- '-- changed\n' >>"$MIGRATIONS/20240102120000_two.up.sql"
  ours 65 'is not as sqlx ran it' import-history
  write 20240102120000_two.up.sql "$TWO"
  take_over
}

try_dbmate() {
  local url="$DATABASE_URL?sslmode=disable"
  [ "$DATABASE" = PostgreSQL ] || url=sqlite:$FILE
  HEAD=$'-- migrate:up\n'
  write 20240101120000_one.sql "$ONE" $'\n-- migrate:down\nDROP TABLE one;\n'
  write 20240102120000_two.sql "$TWO" $'\n-- migrate:down\nDROP TABLE two;\n'
  theirs dbmate --url "$url" --migrations-dir "$MIGRATIONS" --no-dump-schema up
  write 20240103120000_three.sql "$THREE" $'\n-- migrate:down\nDROP INDEX two_one_id;\n'
  take_over
}

try_migrate() {
  local url="$DATABASE_URL?sslmode=disable"
  [ "$DATABASE" = PostgreSQL ] || url=sqlite3://$FILE
  HEAD=''
  write 000001_one.up.sql "$ONE"
  write 000001_one.down.sql 'DROP TABLE one;'
  write 000002_two.up.sql "$TWO"
  write 000002_two.down.sql 'DROP TABLE two;'
  write 000003_three.up.sql 'CREATE TABLE three (id missing_function());'
  theirs migrate -path "$MIGRATIONS" -database "$url" up 2
  ends 1 '' migrate -path "$MIGRATIONS" -database "$url" up
  ours 65 'version 3 is dirty' import-history
  theirs migrate -path "$MIGRATIONS" -database "$url" force 2
  write 000003_three.up.sql "$THREE"
  write 000003_three.down.sql 'DROP INDEX two_one_id;'
  take_over
}

try_goose() {
  local driver=postgres url="$DATABASE_URL?sslmode=disable"
  [ "$DATABASE" = PostgreSQL ] || { driver=sqlite3; url=$FILE; }
  HEAD=$'-- +goose Up\n'
  write 00001_one.sql "$ONE" $'\n-- +goose Down\nDROP TABLE one;\n'
  write 00002_two.sql "$TWO" $'\n-- +goose Down\nDROP TABLE two;\n'
  write 00003_three.sql "$THREE" $'\n-- +goose Down\nDROP INDEX two_one_id;\n'
  theirs goose -dir "$MIGRATIONS" "$driver" "$url" up
  theirs goose -dir "$MIGRATIONS" "$driver" "$url" down
  take_over
}

ALEMBIC=$TOOLS/bin/alembic
TRIED=0
for TOOL in alembic sqlx dbmate migrate goose; do
  program=$TOOL
  [ "$TOOL" != alembic ] || program=$ALEMBIC
  if ! command -v "$program" >/dev/null; then
    say "$TOOL is not installed: skipped"
    continue
  fi
  for DATABASE in PostgreSQL SQLite; do
    new_database "$TOOL"
    "try_$TOOL"
    say "$TOOL on $DATABASE: taken over"
    TRIED=$((TRIED + 1))
  done
done
say "$TRIED databases were made by other tools and taken over"
