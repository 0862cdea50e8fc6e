# shellcheck shell=bash disable=SC2154 # shared with run.sh and servers.sh
# logins.sh: whether logins can be told apart by their time, and what many at once cost everybody else.

# What the service is told its hashes may take together. The table compares with it.
HASHING_MIB=64
CLIENTS=50

# The accounts that service/examples/logins.rs signs in with, all with the administrator's password.
make_accounts() {
  sql 'CREATE DATABASE logins'
  up_with_password "${database_url[logins]}" >"$work/log/up" 2>&1 || die "$(cat "$work/log/up")"
  psql -qX -v ON_ERROR_STOP=1 -v clients="$CLIENTS" "${database_url[logins]}" >"$work/log/sql" 2>&1 <<'SQL' || die "$(cat "$work/log/sql")"
INSERT INTO users (id, username, password_hash, user_type, is_active, is_blocked)
SELECT gen_random_uuid(), account.name, admin.password_hash, 'local', account.is_active, account.is_blocked
FROM users AS admin,
     (SELECT * FROM (VALUES ('bench-active', true, false), ('bench-absent', false, false), ('bench-barred', true, true))
        AS single (name, is_active, is_blocked)
      UNION ALL
      SELECT 'bench-crowd-' || number, true, false FROM generate_series(0, :clients - 1) AS number) AS account
WHERE admin.is_admin;
SQL
}

# logins ARGUMENT...: its lines, recorded.
logins() {
  local key number
  "$logins_program" "$1" "127.0.0.1:${port[logins]}" correct-horse-battery "${@:2}" >"$work/log/logins" ||
    die "logins $1 failed: $(tail -n 1 "$work/log/logins")"
  while read -r key number; do record "login.$key" "$number"; done <"$work/log/logins"
}

measure_logins() {
  database_url[logins]=$base_url/logins
  free_port
  port[logins]=$REPLY
  make_accounts
  # Failures on purpose, which must not be delayed.
  AUTH_LOGIN_ATTEMPTS=1000000 AUTH_HASHING_MEMORY_LIMIT=${HASHING_MIB}MiB launch logins /dev/null
  await logins /dev/null
  sleep "$IDLE_SECONDS"
  record idle.logins "$(resident "${pid[logins]}" VmRSS)"
  logins crowd "$CLIENTS" $((ROUNDS * SECONDS_EACH))
  is_alive "${pid[logins]}" || die "${label[logins]} died under load"
  record loaded-peak.logins "$(resident "${pid[logins]}" VmHWM)"
  logins timing "$TRIES"
  end logins
  timing_table
  crowd_table
}

timing_table() {
  local kind name status least most difference
  heading "Logins that must not be told apart by their time: $TRIES of each, in mixed order"
  row login answer 'median ms' least most
  row --- ---: ---: ---: ---:
  for kind in 'unknown:unknown user:401' 'wrong:wrong password:401' 'inactive:inactive, right password:401' \
    'inactive-wrong:inactive, wrong password:401' 'blocked-wrong:blocked, wrong password:401' \
    'blocked:blocked, right password:403'; do
    IFS=: read -r kind name status <<<"$kind"
    record login-medians "$(value "login.$kind" median 3)"
    row "$name" "$status" "$(value "login.$kind" median 2)" "$(value "login.$kind" least 2)" "$(value "login.$kind" most 2)"
  done
  least=$(value login-medians least 3) most=$(value login-medians most 3)
  difference=$(awk -v a="$least" -v b="$most" 'BEGIN { printf "%.1f", (b - a) / a * 100 }')
  printf '\n%s\n' "The medians differ by $difference % at most ($(aim "$difference" '<' 5))."
}

crowd_table() {
  local key status bound
  heading "$CLIENTS clients that sign in all the time, on $(nproc) cores, for $((ROUNDS * SECONDS_EACH)) s"
  row what number 'p50 ms' 'p99 ms'
  row --- ---: ---: ---:
  for key in "$work"/values/login.login-*; do
    status=${key##*/login.login-}
    row "logins answered with $status" "$(wc -l <"$key")" "$(value "login.login-$status" median 2)" "$(value "login.login-$status" p99 2)"
  done
  for key in 'alone:nobody signing in' 'beside:these logins'; do
    row "\`/api/v1/auth/whoami\` beside ${key#*:}" "$(wc -l <"$work/values/login.whoami-${key%%:*}")" \
      "$(value "login.whoami-${key%%:*}" median 2)" "$(value "login.whoami-${key%%:*}" p99 2)"
  done
  bound=$(awk -v idle="$(value idle.logins median 1)" -v mib="$HASHING_MIB" 'BEGIN { printf "%.1f", idle + mib * 1.048576 }')
  printf '\n%s\n' "Peak memory $(value loaded-peak.logins median 1) MB; bound: idle $(value idle.logins median 1) MB and \`AUTH_HASHING_MEMORY_LIMIT\` of $HASHING_MIB MiB ($(aim "$(value loaded-peak.logins median 1)" '<=' "$bound"))."
}
