# shellcheck shell=bash disable=SC2034,SC2154 # shared with run.sh, servers.sh and load.sh
# routes.sh: the routes of accounts and snapshots, asked with a session that is looked up for each request.

ONE_ACCOUNT=/api/v1/users/
LIST_OF_ACCOUNTS='/api/v1/users?limit=50'
# One whole day of the seeded thirty, which nothing is written into.
DAY="metric_type=cpu&from=$(date -ud '11 days ago' +%FT00:00:00Z)&to=$(date -ud '10 days ago' +%FT00:00:00Z)"
NEWEST_OF_A_DAY="/api/v1/metrics/snapshots?$DAY&limit=100"
FIGURES_OF_A_DAY="/api/v1/metrics/aggregate?$DAY&step=3600s&fn=avg,max,count&path=value"
WRITE_SNAPSHOTS=/api/v1/metrics/snapshots
# How many snapshots one request writes.
export BATCH=1000
# What is measured of them: nothing as long as the databases are empty.
routes=()
# That of the peers' seed.
export TOKEN=bench-token

title_of() {
  case $1 in
    "$ONE_ACCOUNT") printf 'GET %s{id}' "$1" ;;
    "$WRITE_SNAPSHOTS") printf 'POST %s, %s at once' "$1" "$BATCH" ;;
    *) printf 'GET %s' "$1" ;;
  esac
}

# one_of PATH: what a single request asks for.
one_of() {
  case $1 in
    "$ONE_ACCOUNT") printf '%s%s' "$1" "$account" ;;
    # What is written by the load is only read here.
    "$WRITE_SNAPSHOTS") printf '%s' "$NEWEST_OF_A_DAY" ;;
    *) printf '%s' "$1" ;;
  esac
}

# seed: the same accounts and one session, into every database on PostgreSQL.
seed() {
  local url
  account=''
  if [ ! -f "$PEERS/seed.sql" ]; then
    say 'there is no seed.sql beside the peer servers (PEERS): measuring neither accounts nor snapshots'
    return
  fi
  say 'filling the databases'
  for url in $(printf '%s\n' "${database_url[@]}" | grep '^postgres' | sort -u); do
    if [ "$url" = "${database_url[postgresql]}" ]; then
      DATABASE_URL=$url "$release/service" partitions ensure --from "$(date -ud '32 days ago' +%F)" \
        --to "$(date -ud '2 days' +%F)" >"$work/log/seed" 2>&1 || die "partitions: $(cat "$work/log/seed")"
    fi
    psql -qX -v ON_ERROR_STOP=1 "$url" -c 'SET client_min_messages = warning' \
      -f "$PEERS/seed.sql" >"$work/log/seed" 2>&1 || die "seed.sql: $(tail -n 3 "$work/log/seed")"
  done
  export IDS_FILE=$work/ids
  psql -qAtX "${database_url[postgresql]}" -c 'SELECT id FROM users ORDER BY md5(id::text) LIMIT 1000' >"$IDS_FILE"
  read -r account <"$IDS_FILE"
  echo 'SELECT id, username, email, user_type, eve_character_id, is_active, is_blocked, is_admin, is_test_user,
    created_at, updated_at, last_login, version FROM users WHERE id = :id;' | tr '\n' ' ' >"$work/account.sql"
  # Writing comes last, because it makes the tables larger.
  routes=("$ONE_ACCOUNT" "$LIST_OF_ACCOUNTS" "$NEWEST_OF_A_DAY" "$FIGURES_OF_A_DAY" "$WRITE_SNAPSHOTS")
}
