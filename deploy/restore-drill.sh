#!/usr/bin/env bash
# restore-drill.sh: loses a database and brings it back, with the shipped commands, and compares.
#
# Two roles, the migrator, the service; data through the API; deploy/backup/backup.sh takes a backup while the
# service runs; more data, which must not come back; the database's server is destroyed with its files; an empty
# one takes its place, the backup is restored, and every table has to be what it was, the schema's history among
# them. Then the migrator must find nothing to do and the service be ready, and answer as before.
#
# It runs beside a throwaway PostgreSQL (deploy/development/throwaway-postgres.sh) with the programs in
# PROGRAMS, default target/debug. Needs curl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C

POSTGRES=./deploy/development/throwaway-postgres.sh
if [ -z "${TEST_POSTGRES_BIN:-}" ]; then exec "$POSTGRES" run "$0" "$@"; fi

PROGRAMS=$(cd "${PROGRAMS:-target/debug}" && pwd)
PATH=$PROGRAMS:$TEST_POSTGRES_BIN:$PATH
SERVICE=

say() { printf 'restore-drill: %s\n' "$*"; }
die() {
  say "$*" >&2
  exit 1
}

WORK=$(mktemp -d /tmp/bedplate-drill.XXXXXX)
chmod 711 "$WORK"
clean_up() {
  local status=$?
  if [ -n "$SERVICE" ]; then
    kill -KILL "$SERVICE" 2>/dev/null || true
  fi
  "$POSTGRES" stop "$WORK/first" </dev/null >/dev/null 2>&1 || true
  "$POSTGRES" stop "$WORK/second" </dev/null >/dev/null 2>&1 || true
  if [ "$status" -ne 0 ] && [ -s "$WORK/service.log" ]; then tail -n 5 "$WORK/service.log" >&2; fi
  rm -rf "$WORK"
  exit "$status"
}
trap clean_up EXIT

# What the caller's shell holds for a running Bedplate stays out.
while read -r name; do unset "$name"; done < <(env | sed -n 's/^\(\(BEDPLATE\|DATABASE\|POSTGRES\|HTTP\|LOG\|AUTH\|ADMIN\|ARCHIVE\|METRICS\|TELEMETRY\|MIGRATOR\|OTEL\|BACKUP\|PG\)[A-Z0-9_]*\)=.*/\1/p' | grep -v HTTP_PROXY)
printf 'of the owner, with %% and /' >"$WORK/owner-password"
printf 'of the service' >"$WORK/service-password"
printf 'of the drill, correct horse' >"$WORK/admin-password"
mkdir "$WORK/backups"

# server NAME: an empty one with the two roles, as the production's are made.
server() {
  local url
  url=$("$POSTGRES" start "$WORK/$1")
  PORT=${url##*:}
  PORT=${PORT%%/*}
  env PGHOST=127.0.0.1 PGPORT="$PORT" PGUSER=postgres PGPASSWORD=postgres OWNER_PASSWORD_FILE="$WORK/owner-password" \
    SERVICE_PASSWORD_FILE="$WORK/service-password" deploy/postgres/10-roles.sh
}

# as_superuser PROGRAM ARGUMENTS...: one of PostgreSQL's own.
as_superuser() { env PGHOST=127.0.0.1 PGPORT="$PORT" PGUSER=postgres PGPASSWORD=postgres "$@"; }
# sql ROLE DATABASE STATEMENTS
sql() {
  as_superuser psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname="$2" --command="SET ROLE $1" \
    --command="$3"
}

as_owner() {
  env BEDPLATE_ENV=production POSTGRES_HOST=127.0.0.1 POSTGRES_PORT="$PORT" POSTGRES_DB=bedplate POSTGRES_USER=bedplate_owner \
    POSTGRES_PASSWORD_FILE="$WORK/owner-password" MIGRATOR_GRANT_TO=bedplate_service \
    ADMIN_PASSWORD_FILE="$WORK/admin-password" LOG_LEVEL=warn "$@"
}

backup() {
  env DATABASE_URL="postgresql://bedplate_owner:of%20the%20owner%2C%20with%20%25%20and%20%2F@127.0.0.1:$PORT/bedplate?sslmode=prefer" \
    BACKUP_FOLDER="$WORK/backups" deploy/backup/backup.sh "$@"
}

start_service() {
  env BEDPLATE_ENV=production POSTGRES_HOST=127.0.0.1 POSTGRES_PORT="$PORT" POSTGRES_DB=bedplate POSTGRES_USER=bedplate_service \
    POSTGRES_PASSWORD_FILE="$WORK/service-password" AUTH_SECRET=of-the-drill-0123456789-0123456789 HTTP_ADDRESS=127.0.0.1:0 \
    TELEMETRY_PROMETHEUS_ADDRESS=off LOG_FORMAT=json HTTP_DRAIN_DELAY=0s service >"$WORK/service.log" 2>&1 &
  SERVICE=$!
  local address='' second
  for ((second = 0; second < 100; second++)); do
    address=$(sed -n '/"listening"/s/.*"address":"\([^"]*\)".*/\1/p' "$WORK/service.log" | head -n 1)
    [ -z "$address" ] || break
    kill -0 "$SERVICE" 2>/dev/null || die 'the service ended'
    sleep 0.1
  done
  URL=http://$address
}

stop_service() {
  kill -TERM "$SERVICE"
  wait "$SERVICE" || die "the service ended with $?"
  SERVICE=
}

smoke() { SMOKE_WAIT=20 SMOKE_PASSWORD_FILE=$WORK/admin-password deploy/smoke-test.sh "$URL" >"$WORK/smoke" || { cat "$WORK/smoke"; die 'the smoke test fails'; }; }

# contents FILE: every row of every table, but those of the duties and sessions, which change by themselves.
contents() {
  env PGPASSWORD="$(<"$WORK/owner-password")" pg_dump --host=127.0.0.1 --port="$PORT" --username=bedplate_owner \
    --data-only --inserts --exclude-table-data=lease --exclude-table-data=session bedplate |
    grep '^INSERT\|^SELECT pg_catalog.setval' | sort >"$1"
}

# Each kind of thing that there may be in a schema, as a migration may make it.
EVERYTHING="CREATE TYPE mood AS ENUM ('good'); CREATE DOMAIN positive AS bigint CHECK (VALUE > 0); CREATE TYPE pair AS (one mood, two positive);
  CREATE TYPE span AS RANGE (subtype = bigint); CREATE SEQUENCE numbers;
  CREATE TABLE thing (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, old serial, pair pair, span span) PARTITION BY RANGE (id);
  CREATE TABLE thing_1 PARTITION OF thing FOR VALUES FROM (1) TO (100); INSERT INTO thing (span) VALUES (span(1, 2));
  CREATE STATISTICS statistics_of_thing ON id, old FROM thing; CREATE INDEX ON thing (old);
  CREATE VIEW view_of_thing AS SELECT * FROM thing; CREATE MATERIALIZED VIEW thing_then AS SELECT * FROM view_of_thing;
  CREATE FUNCTION plus(bigint, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT \$1 + \$2';
  CREATE FUNCTION better(pair) RETURNS mood LANGUAGE sql IMMUTABLE AS 'SELECT (\$1).one'; CREATE PROCEDURE nothing() LANGUAGE sql AS '';
  CREATE OPERATOR === (FUNCTION = plus, LEFTARG = bigint, RIGHTARG = bigint);
  CREATE AGGREGATE total(bigint) (SFUNC = plus, STYPE = bigint); CREATE FUNCTION more(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT \$1 + 1';
  CREATE AGGREGATE how_many(*) (SFUNC = more, STYPE = bigint, INITCOND = '0');
  CREATE COLLATION plain FROM \"C\"; CREATE CONVERSION to_latin FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;
  CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION search (COPY = simple);"

say 'a database with data'
server first
as_owner migrator up >/dev/null
sql bedplate_owner bedplate "$EVERYTHING"
sql bedplate_owner bedplate 'CREATE PUBLICATION "of things" FOR TABLE thing'
as_owner migrator up >/dev/null
start_service
smoke
contents "$WORK/before"
backup once
backup list
smoke
contents "$WORK/later"
if cmp -s "$WORK/before" "$WORK/later"; then die 'what was written after the backup is not in the tables'; fi
if backup restore latest 2>"$WORK/refused"; then die 'a restore under a running service was not refused'; fi
grep -q 'bedplate_service' "$WORK/refused" || die "the refusal does not say who is connected: $(cat "$WORK/refused")"
stop_service

# What the URL asks of the connection holds for a backup too; this server has no TLS.
for parameter in ssl=require sslmode=verify-full channel_binding=require ssl_min_protocol_version=TLSv9 sslpassword=x require_auth=none; do
  if env DATABASE_URL="postgresql+asyncpg://postgres:postgres@127.0.0.1:$PORT/bedplate?$parameter" BACKUP_FOLDER="$WORK/backups" \
    deploy/backup/backup.sh once 2>"$WORK/refused"; then
    die "a backup was made in spite of $parameter"
  fi
done
env DATABASE_URL="postgresql+asyncpg://postgres:wrong@:1/none?host=127.0.0.1&port=$PORT&password=postgres&dbname=bedplate&ssl=prefer&prepared_statement_cache_size=0" \
  BACKUP_FOLDER="$WORK" deploy/backup/backup.sh once 2>"$WORK/said" || die "not by the parameters of the URL: $(cat "$WORK/said")"

say 'the server is destroyed with its files'
"$POSTGRES" stop "$WORK/first"
rm -rf "${WORK:?}/first"

say 'an empty one, and the backup'
server second
backup restore latest
contents "$WORK/restored"
cmp "$WORK/before" "$WORK/restored" || { diff "$WORK/before" "$WORK/restored" | head -n 20; die 'the data are not what they were'; }
grep -q 'refinery_schema_history' "$WORK/restored" || die 'there is no history in it'
as_owner migrator status >"$WORK/status"
as_owner migrator up >/dev/null
contents "$WORK/migrated"
cmp "$WORK/before" "$WORK/migrated" || die 'the migrator found something to do'
start_service
smoke
stop_service

# A second time over what is there now: nothing is left of it but a backup.
say 'once more, over a database that has data'
backup restore latest
contents "$WORK/again"
cmp "$WORK/before" "$WORK/again" || die 'the second restore is not like the first'
[ "$(backup list | grep -c before-restore)" = 1 ] || die 'what was there before the second restore was not backed up'

# A file that ends in the middle changes nothing.
file=$(find "$WORK/backups" -name 'bedplate-*.dump' ! -name '*before*')
head -c "$(($(stat -c %s "$file") / 2))" "$file" >"$WORK/backups/bedplate-torn.dump"
if backup restore bedplate-torn.dump 2>/dev/null; then die 'a torn backup was restored'; fi
contents "$WORK/untouched"
cmp "$WORK/before" "$WORK/untouched" || die 'a torn backup changed something'

say 'as many backups as are kept, and the oldest of them is wanted'
cp "$file" "$WORK/whole"
# One that can be read and not be restored: it gives rights to a role that there is none of.
sql postgres postgres 'CREATE DATABASE unfit'
sql postgres postgres 'CREATE ROLE nobody_here'
sql postgres unfit 'CREATE TABLE unfit (id bigint); GRANT SELECT ON unfit TO nobody_here'
as_superuser pg_dump --format=custom --file="$WORK/unfit.dump" unfit
sql postgres postgres 'DROP DATABASE unfit'
sql postgres postgres 'DROP ROLE nobody_here'
kept() { (cd "$WORK/backups" && printf '%s\n' bedplate-*.dump | grep -v before-restore); }
rm "$WORK/backups"/bedplate-*
for day in 1 2 3; do cp "$WORK/whole" "$WORK/backups/bedplate-2020010${day}T000000Z.dump"; done
kept >"$WORK/kept"
export BACKUP_KEEP=3
for try in 1 2 3 4; do
  if backup restore "$WORK/unfit.dump" 2>"$WORK/failed"; then die 'what cannot be restored was restored'; fi
  grep -q 'the database is what it was' "$WORK/failed" || die "try $try: $(cat "$WORK/failed")"
  kept | cmp -s "$WORK/kept" - || die "a restore that failed has deleted backups: $(kept)"
  # As though there were a year between them: the names of one second are the same.
  mv "$WORK/backups"/bedplate-20[!0]*-before-restore.dump "$WORK/backups/bedplate-200${try}0101T000000Z-before-restore.dump"
done
backup restore bedplate-20200101T000000Z.dump
kept | cmp -s "$WORK/kept" - || die "a restore has deleted backups: $(kept)"
contents "$WORK/oldest"
cmp "$WORK/before" "$WORK/oldest" || die 'the oldest backup is not what was restored'
# Those of before the restores are counted by themselves, and the one that is restored stays.
restores() { (cd "$WORK/backups" && printf '%s\n' *-before-restore.dump); }
[ "$(restores | wc -l)" = 3 ] || die "of those before a restore there are $(restores)"
oldest=$(restores | head -n 1)
backup restore "$oldest"
restores | grep -qx "$oldest" || die "the restore of $oldest has deleted it: $(restores)"
# While one is under way, nothing is added and nothing deleted.
if flock "$WORK/backups/.lock" env DATABASE_URL=postgresql://127.0.0.1:9/none BACKUP_FOLDER="$WORK/backups" deploy/backup/backup.sh restore latest 2>"$WORK/failed"; then
  die 'a restore did not wait for its turn'
fi
grep -q 'another backup is being taken' "$WORK/failed" || die "beside another one: $(cat "$WORK/failed")"
backup once
kept | head -n 1 | grep -qx 'bedplate-20200102T000000Z.dump' || die "after one more backup there are $(kept)"
[ "$(kept | wc -l)" = 3 ] || die "after one more backup there are $(kept)"
unset BACKUP_KEEP

# rows SCHEMA: every row of its tables, but those that change by themselves.
rows() {
  as_superuser pg_dump --data-only --inserts --schema="\"$1\"" --exclude-table-data='*.lease' bedplate | grep '^INSERT' | sort
}
say 'a schema of its own, beside others in the same database'
export DATABASE_SCHEMA=Team-1
as_owner migrator up >/dev/null
sql bedplate_owner bedplate 'SET search_path = "Team-1"'"; $EVERYTHING"
rm "$WORK/backups"/bedplate-*
# What is taken by itself is taken of it too.
env DATABASE_URL="postgresql://postgres:postgres@127.0.0.1:$PORT/bedplate" BACKUP_FOLDER="$WORK/backups" \
  deploy/backup/backup.sh schedule >"$WORK/schedule" 2>&1 &
schedule=$!
for ((try = 0; try < 200; try++)); do
  [ -z "$(backup list)" ] || break
  sleep 0.1
done
kill "$schedule"
wait "$schedule" || die "the schedule ended with $?: $(cat "$WORK/schedule")"
[ "$(kept | wc -l)" = 1 ] || die "the schedule has taken $(kept): $(cat "$WORK/schedule")"
rows Team-1 >"$WORK/schema"
sql bedplate_owner bedplate 'CREATE TABLE "Team-1".later (id bigint); DELETE FROM "Team-1".users; CREATE TABLE public.of_others (id bigint)'
backup restore latest 2>"$WORK/said"
grep -q 'up to version [1-9]' "$WORK/said" || die "the restore does not say what it has restored: $(cat "$WORK/said")"
rows Team-1 | cmp "$WORK/schema" - || die 'the schema is not what it was'
[ "$(sql postgres bedplate "SELECT to_regclass('public.of_others'), to_regclass('\"Team-1\".later')")" = 'of_others|' ] ||
  die 'a restore of one schema has changed another, or has left something in its own'
as_owner migrator status >/dev/null
# Where there is none of it yet.
sql bedplate_owner bedplate 'DROP SCHEMA "Team-1" CASCADE'
backup restore latest 2>/dev/null
rows Team-1 | cmp "$WORK/schema" - || die 'the schema has not come back'
# The one that every database has, named. It is neither made nor dropped.
DATABASE_SCHEMA=public backup once 2>/dev/null
rows public >"$WORK/schema"
sql bedplate_owner bedplate 'DROP TABLE public.of_others; CREATE TABLE public.more (id bigint)'
DATABASE_SCHEMA=public backup restore latest 2>/dev/null
[ "$(sql postgres bedplate "SELECT to_regclass('public.of_others'), to_regclass('public.more')")" = 'of_others|' ] ||
  die 'the schema public is not what it was'
unset DATABASE_SCHEMA
# All of them at once.
backup once 2>/dev/null
sql bedplate_owner bedplate 'CREATE TABLE "Team-1".later (id bigint)'
backup restore latest 2>/dev/null
[ "$(sql postgres bedplate "SELECT to_regclass('public.of_others'), to_regclass('\"Team-1\".later')")" = 'of_others|' ] ||
  die 'the schemas are not what they were'

say "passed: $(wc -l <"$WORK/before") rows, $(grep -c 'refinery_schema_history' "$WORK/before") of them the schema's history, are what they were"
