# shellcheck shell=bash disable=SC2034,SC2154 # shared with run.sh, servers.sh and load.sh
# accounts.sh: the routes of accounts, asked with a session that is looked up for each request.

ONE_ACCOUNT=/api/v1/users/
LIST_OF_ACCOUNTS='/api/v1/users?limit=50'
# What is measured of them: nothing as long as the databases are empty.
account_paths=()
# That of the peers' seed.
export TOKEN=bench-token

title_of() { case $1 in "$ONE_ACCOUNT") printf '%s{id}' "$1" ;; *) printf '%s' "$1" ;; esac; }

# one_of PATH: what a single request asks for.
one_of() { case $1 in "$ONE_ACCOUNT") printf '%s%s' "$1" "$account" ;; *) printf '%s' "$1" ;; esac; }

# seed: the same accounts and one session, into every database on PostgreSQL.
seed() {
  local url
  account=''
  if [ ! -f "$PEERS/seed.sql" ]; then
    say 'there is no seed.sql beside the peer servers (PEERS): measuring no accounts'
    return
  fi
  say 'filling the databases'
  for url in $(printf '%s\n' "${database_url[@]}" | grep '^postgres' | sort -u); do
    # The file fills a table of snapshots as well, which not every release has.
    psql -qX -v ON_ERROR_STOP=1 "$url" -c 'SET client_min_messages = warning' \
      -c 'CREATE TABLE IF NOT EXISTS metrics_snapshot (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, timestamp timestamptz NOT NULL,
            source varchar(255) NOT NULL, metric_type varchar(50) NOT NULL, metric_data jsonb NOT NULL)' \
      -f "$PEERS/seed.sql" >"$work/log/seed" 2>&1 || die "seed.sql: $(tail -n 3 "$work/log/seed")"
  done
  export IDS_FILE=$work/ids
  psql -qAtX "${database_url[postgresql]}" -c 'SELECT id FROM users ORDER BY md5(id::text) LIMIT 1000' >"$IDS_FILE"
  read -r account <"$IDS_FILE"
  echo 'SELECT id, username, email, user_type, eve_character_id, is_active, is_blocked, is_admin, is_test_user,
    created_at, updated_at, last_login, version FROM users WHERE id = :id;' | tr '\n' ' ' >"$work/account.sql"
  account_paths=("$ONE_ACCOUNT" "$LIST_OF_ACCOUNTS")
}
