#!/usr/bin/env bash
# backup.sh: backups of the PostgreSQL database, and the way back.
#
#   once              takes a backup, reads it back whole, and deletes the oldest above BACKUP_KEEP
#   schedule          the same now, if the newest is older than BACKUP_INTERVAL, and then at each interval
#   list              the backups there are, oldest first
#   healthy           fails when the newest is older than BACKUP_INTERVAL and an hour
#   restore FILE      puts the database back to what it was (a name of `list`, a path, or `latest`)
#
# With Compose: docker compose run --rm backup once, ... restore latest. Stop the service first, and have the
# migrator look at the database afterwards, as `restore` says.
#
# A restore is one transaction: until it commits the database is what it was, and where it fails it stays so. What
# is there goes, whatever it is and whatever made it: what the owner has in the first schema of its search path (as a
# rule `public`), and the other schemas that the backup makes. Where DATABASE_SCHEMA names one, that one alone is
# backed up, goes and comes back. Before that it is backed up (--no-backup: not) into a file that ends in
# -before-restore.dump. Those are counted by themselves, and a restore deletes no other backup. Other connections are
# refused (--force: they are not). The roles that the backup gives rights to have to exist: deploy/postgres/10-roles.sh
# makes them.
#
#   DATABASE_URL      or DATABASE_URL_FILE: postgresql://owner:password@host:5432/bedplate; or psql's own
#   PGHOST, PGUSER, PGDATABASE, PGPASSWORD (or PGPASSWORD_FILE), ... The role is the schema's owner.
#   DATABASE_SCHEMA   the schema of the tables, where the service and the migrator have it too; default: all there are
#   BACKUP_FOLDER     default: /backups
#   BACKUP_KEEP       how many are kept, and how many of those before a restore; default: 14
#   BACKUP_INTERVAL   seconds, or 90m, 24h, 7d; default: 24h
#
# Needs bash and PostgreSQL's own pg_dump, pg_restore and psql, not older than the server.
set -euo pipefail
umask 077

FOLDER=${BACKUP_FOLDER:-/backups}
KEEP=${BACKUP_KEEP:-14}
SCHEMA=${DATABASE_SCHEMA:-}

say() { printf 'backup: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}
usage() {
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}" >&2
  exit 2
}

# seconds DURATION: how many they are.
seconds() {
  local number=${1%[smhd]}
  case $number in '' | *[!0-9]*) die "$1 is no duration; it is written 3600, 90m, 24h or 7d" ;; esac
  case $1 in
    *m) echo $((number * 60)) ;;
    *h) echo $((number * 3600)) ;;
    *d) echo $((number * 86400)) ;;
    *) echo "$number" ;;
  esac
}

# ---- Where the database is -----------------------------------------------------------------------------

# decode TEXT: without the percent signs of a URL.
decode() {
  local text=${1//\\/\\\\}
  printf '%b' "${text//%/\\x}"
}

# PostgreSQL's programs take a URL as an argument, where every user of the machine can read its password: it
# becomes their variables instead.
use_url() {
  local rest=${1#*://} authority user host hosts='' ports='' pair name value
  case $1 in postgres://* | postgresql://* | postgresql+*://*) ;; *) die 'DATABASE_URL is no postgresql:// URL' ;; esac
  local query=
  if [[ $rest == *\?* ]]; then query=${rest#*\?}; fi
  rest=${rest%%\?*}
  authority=${rest%%/*}
  if [[ $rest == */* && -n ${rest#*/} ]]; then
    PGDATABASE=$(decode "${rest#*/}")
    export PGDATABASE
  fi
  if [[ $authority == *@* ]]; then
    user=${authority%@*}
    authority=${authority##*@}
    PGUSER=$(decode "${user%%:*}")
    export PGUSER
    if [[ $user == *:* ]]; then
      PGPASSWORD=$(decode "${user#*:}")
      export PGPASSWORD
    fi
  fi
  while read -r -d , host; do
    local port=5432
    if [[ $host =~ ^(.*):([0-9]+)$ ]]; then
      host=${BASH_REMATCH[1]}
      port=${BASH_REMATCH[2]}
    fi
    host=${host#[}
    hosts+=,$(decode "${host%]}")
    ports+=,$port
  done <<<"$authority,"
  export PGHOST=${hosts#,} PGPORT=${ports#,}
  while read -r -d '&' pair; do
    value=$(decode "${pair#*=}")
    name=${pair%%=*}
    case $name in
      '') ;;
      # As asyncpg has it.
      ssl) export PGSSLMODE=$value ;;
      connect_timeout) export PGCONNECT_TIMEOUT=$value ;;
      dbname) export PGDATABASE=$value ;;
      sslmode | sslrootcert | sslcert | sslkey | sslcrl | sslcrldir | sslsni | sslnegotiation | ssl_min_protocol_version | \
        ssl_max_protocol_version | channel_binding | gssencmode | krbsrvname | requirepeer | target_session_attrs | hostaddr | \
        host | port | user | password | options)
        name=PG${name//_/}
        export "${name^^}=$value"
        ;;
      # Left out, it would be less safe than it says.
      ssl* | gss* | krb* | require* | channel* | passfile | service*)
        die "the parameter $name of the URL cannot be handed to PostgreSQL's programs; leave it out, or say it in the variable that they know it by" ;;
      *) say "the parameter $name of the URL is not for PostgreSQL's programs and left out" ;;
    esac
  done <<<"$query&"
}

find_database() {
  if [ -n "${DATABASE_URL_FILE:-}" ]; then DATABASE_URL=$(<"$DATABASE_URL_FILE"); fi
  if [ -n "${DATABASE_URL:-}" ]; then use_url "$DATABASE_URL"; fi
  unset DATABASE_URL
  if [ -n "${PGPASSWORD_FILE:-}" ]; then
    PGPASSWORD=$(<"$PGPASSWORD_FILE")
    export PGPASSWORD
  fi
  export PGAPPNAME=bedplate-backup PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-10}
}

# ask QUERY: :'schema' in it is DATABASE_SCHEMA, or nothing.
ask() { psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --set schema="$SCHEMA" <<<"$1"; }

# tables: how many there are of what a backup has.
tables() {
  ask "SELECT count(*) FROM pg_tables WHERE pg_has_role(tableowner, 'USAGE') AND CASE :'schema'
    WHEN '' THEN schemaname <> 'information_schema' AND schemaname !~ '^pg_' ELSE schemaname = :'schema' END"
}

# ---- Backups -------------------------------------------------------------------------------------------

# The name says when it was taken, so that the order of names is the order of time.
files() { find "$FOLDER" -maxdepth 1 -type f -name 'bedplate-*.dump' 2>/dev/null | sort; }
# What was taken before a restore is there to undo it, and asked for by its name: it takes no backup's place.
backups() { files | grep -v -e '-before-restore\.dump$' || true; }
before_restores() { files | grep -e '-before-restore\.dump$' || true; }
newest() { backups | tail -n 1; }

# lock: until this process ends nobody else adds a backup or deletes one.
lock() {
  [ -w "$FOLDER" ] || die "$FOLDER cannot be written to"
  exec 9>"$FOLDER/.lock"
  flock --nonblock 9 || die 'another backup is being taken, or restored'
}

# take [SUFFIX]: a file that has such a name is whole, and can be read.
take() {
  local file partial
  rm -f "$FOLDER"/.*.partial
  file=$FOLDER/bedplate-$(date -u +%Y%m%dT%H%M%SZ)${1:-}.dump
  partial=$FOLDER/.${file##*/}.partial
  # Within quotation marks nothing of a pattern stands for something else.
  pg_dump --format=custom --file="$partial" ${SCHEMA:+--schema="\"$SCHEMA\""} ||
    die 'pg_dump failed (see above); no backup was made'
  pg_restore --file=/dev/null "$partial" || die 'the backup cannot be read back (see above); it was not kept'
  sync "$partial"
  mv "$partial" "$file"
  say "$file, $(stat -c %s "$file") bytes"
}

# prune [SPARED]: of the names that it reads, deletes the first ones above BACKUP_KEEP, but never SPARED.
prune() {
  local old
  head -n "-$KEEP" | while read -r old; do
    if [ "$old" -ef "${1:-}" ]; then continue; fi
    rm -f "$old"
    say "$old was the oldest of more than $KEEP, and is deleted"
  done
}

once() {
  lock
  take
  backups | prune
  before_restores | prune
}

# due: how many seconds are left until the next one.
due() {
  local last left
  last=$(newest)
  [ -n "$last" ] || { echo 0; return; }
  left=$(($(stat -c %Y "$last") + INTERVAL - $(date +%s)))
  echo $((left > 0 ? left : 0))
}

# Asleep it still ends at once when it is told to.
rest() {
  sleep "$1" &
  wait $!
}

schedule() {
  # shellcheck disable=SC2046 # several ids
  trap 'kill $(jobs -p) 2>/dev/null || true; exit 0' TERM INT
  local left
  # While the database cannot be asked, there are none.
  until [ "$(tables || echo 0)" -gt 0 ]; do
    say "there is nothing in the ${SCHEMA:+schema $SCHEMA of the }database yet"
    rest 5
  done
  while :; do
    left=$(due)
    if [ "$left" -gt 0 ]; then
      say "the next one in $left s"
      rest "$left"
    # In a process of its own: a failure ends that one, and not the schedule.
    elif ! ("${BASH_SOURCE[0]}" once); then
      say 'trying again in 5 minutes'
      rest 300
    fi
  done
}

healthy() {
  local last
  last=$(newest)
  [ -n "$last" ] || die 'there is no backup yet'
  [ $(($(date +%s) - $(stat -c %Y "$last"))) -le $((INTERVAL + 3600)) ] || die "the newest is ${last##*/}, and too old"
}

# ---- The way back --------------------------------------------------------------------------------------

# made FILE: what a backup makes that lies in no schema, schemas among it, as `KIND|name`, by the remarks that
# pg_restore writes. Extensions stay as they are: a backup makes those that are missing.
made() {
  pg_restore --schema-only --file=- "$1" |
    sed -nE 's/^-- Name: (.*); Type: (SCHEMA|SERVER|FOREIGN DATA WRAPPER|PUBLICATION|EVENT TRIGGER); Schema: -; Owner:.*$/\2|\1/p'
}

# Drops what a backup that makes :'made' takes the place of. Of the schema that stays it is what the role owns and
# no extension brought, whatever it is: other migrations than those of the backup may have made it. What is in a
# schema hangs on it (pg_depend), as DROP SCHEMA finds it.
emptying() {
  cat <<'SQL'
SET LOCAL lock_timeout = '30s';
SET LOCAL client_min_messages = warning;
-- Event triggers first, which would see the rest go. The schema `public` is in every database; one in which an
-- extension lives would take it along.
SELECT format('DROP %s IF EXISTS %I CASCADE', kind, name)
  FROM unnest(string_to_array(:'made', E'\n')) AS line
 CROSS JOIN LATERAL (SELECT split_part(line, '|', 1) AS kind, substr(line, strpos(line, '|') + 1) AS name) AS made
 WHERE kind <> 'SCHEMA' OR (name <> 'public' AND name !~ '^pg_'
   AND NOT EXISTS (SELECT FROM pg_extension WHERE extnamespace = (SELECT oid FROM pg_namespace WHERE nspname = name)))
 ORDER BY kind <> 'EVENT TRIGGER' \gexec
-- All of it is read before the first of it goes; what has gone with another one by then is no error.
SELECT format('DROP %s IF EXISTS %s CASCADE',
    CASE WHEN type IN ('function', 'procedure', 'aggregate') THEN 'routine'
      WHEN type = 'statistics object' THEN 'statistics' ELSE type END, identity)
  FROM pg_depend d CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0)
 WHERE refclassid = 'pg_namespace'::regclass AND deptype = 'n'
   AND refobjid = (SELECT oid FROM pg_namespace
     WHERE nspname = CASE WHEN :'schema' = '' THEN current_schema() WHEN :'schema' = 'public' THEN 'public' END)
   AND type NOT IN ('extension', 'default acl', 'publication namespace')
   -- Who has no entry belongs to the superuser that came with the server.
   AND pg_has_role(coalesce((SELECT o.refobjid FROM pg_shdepend o WHERE o.classid = d.classid AND o.objid = d.objid
         AND o.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND o.objsubid = 0 AND o.deptype = 'o'),
       10), 'USAGE')
   -- Those of an extension stay; a column's sequence goes with its table, what a type brings with the type.
   AND NOT EXISTS (SELECT FROM pg_depend o WHERE o.classid = d.classid AND o.objid = d.objid AND o.objsubid = 0
     AND o.deptype IN ('e', 'i', 'a')) \gexec
-- What follows is the backup's: nothing in it means these.
\unset schema
\unset made
SQL
}

# entries FILE: the list of what is brought back. A backup of `public` alone makes it like another, and it is there.
entries() { pg_restore --list "$1" | grep -v -e ' SCHEMA - public ' -e ' COMMENT - SCHEMA public '; }

restore() {
  local file=$1 force=$2 backup=$3 others extensions made list count history version
  case $file in
    latest) file=$(newest) ;;
    */*) ;;
    *) file=$FOLDER/$file ;;
  esac
  # A folder that cannot be written to is one where nobody adds a backup or deletes one.
  if [ -n "$backup" ] || [ -w "$FOLDER" ]; then lock; fi
  [ -f "$file" ] || die "there is no backup ${file:-in $FOLDER}"
  pg_restore --file=/dev/null "$file" || die "$file cannot be read (see above); nothing was changed"
  list=$(entries "$file") || die "$file cannot be read (see above); nothing was changed"
  made=${SCHEMA:+SCHEMA|$SCHEMA}
  [ -n "$SCHEMA" ] || made=$(made "$file") || die "$file cannot be read (see above); nothing was changed"
  others=$(ask "SELECT string_agg(DISTINCT usename || ' (' || application_name || ')', ', ') FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()")
  if [ -n "$others" ] && [ -z "$force" ]; then
    die "connected are $others: stop what uses the database first (docker compose stop service), or say --force"
  fi
  extensions=$(ask "SELECT string_agg(extname, ', ') FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace
    WHERE nspname = :'schema' AND nspname <> 'public'")
  [ -z "$extensions" ] ||
    die "in the schema $SCHEMA live the extensions $extensions, which would go with it: move them elsewhere first (ALTER EXTENSION ... SET SCHEMA)"
  count=$(tables)
  if [ "$count" -gt 0 ] && [ -n "$backup" ]; then take -before-restore; fi
  # COMMIT comes after the last byte of the backup: whatever ends early, ends without it.
  {
    echo 'BEGIN;'
    emptying
    pg_restore --no-owner --use-list=<(printf '%s\n' "$list") --file=- "$file" && echo 'COMMIT;'
  } | psql --no-psqlrc --quiet --output=/dev/null --set ON_ERROR_STOP=1 --set schema="$SCHEMA" --set made="$made" ||
    die "the restore failed (see above); the database is what it was"
  # Not before: what a failing restore deletes may be what the next one needs.
  if [ -n "$backup" ]; then before_restores | prune "$file"; fi
  history=${SCHEMA:+:\"schema\".}refinery_schema_history
  version=$(ask "SELECT max(version) FROM $history" 2>/dev/null) || version='which is not known: the history is in another schema'
  say "${file##*/} is restored, up to version $version"
  say 'now run the migrator (docker compose run --rm migrator), then start the service'
}

# ---- The command line ----------------------------------------------------------------------------------

case $SCHEMA in pg_* | *[[:space:]\"\'\\]*) die "DATABASE_SCHEMA is $SCHEMA; it is a name of letters, digits, _, - and \$" ;; esac
case $KEEP in '' | 0 | *[!0-9]*) die "BACKUP_KEEP is $KEEP; it is a number from 1 on" ;; esac
INTERVAL=$(seconds "${BACKUP_INTERVAL:-24h}")
verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
  once | schedule)
    [ $# -eq 0 ] || usage
    find_database
    "$verb"
    ;;
  list)
    [ $# -eq 0 ] || usage
    files | while read -r file; do printf '%12d  %s\n' "$(stat -c %s "$file")" "${file##*/}"; done
    ;;
  healthy)
    [ $# -eq 0 ] || usage
    healthy
    ;;
  restore)
    file='' force='' backup=yes
    for word in "$@"; do
      case $word in
        --force) force=yes ;;
        --no-backup) backup='' ;;
        -*) usage ;;
        *) [ -z "$file" ] || usage; file=$word ;;
      esac
    done
    [ -n "$file" ] || usage
    find_database
    restore "$file" "$force" "$backup"
    ;;
  *) usage ;;
esac
