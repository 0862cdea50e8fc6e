#!/usr/bin/env bash
# conformance.sh: asks a running service everything that its OpenAPI document allows, and what it forbids,
# and holds each answer against the document (schemathesis). On PostgreSQL and on SQLite, each as an
# administrator, as a plain user and as nobody. Ends with failure when anything is found.
#
# Needs cargo and python3 (3.11 or later) with its module venv; schemathesis comes from PyPI, pinned, into
# target/. conformance.toml says what is tried and conformance_hooks.py who asks.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
TOOLS=$TARGET/conformance
REQUIREMENTS=$HERE/conformance-requirements.txt

say() { printf 'conformance: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# prepare: the programs and schemathesis. What is there already is left alone.
prepare() {
  command -v python3 >/dev/null ||
    die "python3 is not installed (Debian, Ubuntu: sudo apt-get install python3 python3-venv)"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$(python3 --version) is too old for schemathesis, which needs 3.11 or later"
  if ! cmp -s "$REQUIREMENTS" "$TOOLS/installed.txt"; then
    rm -rf "$TOOLS"
    python3 -m venv "$TOOLS" ||
      die "python3 has no module venv with pip (Debian, Ubuntu: sudo apt-get install python3-venv)"
    say "installing schemathesis into $TOOLS"
    "$TOOLS/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$REQUIREMENTS" ||
      die "pip could not install what $REQUIREMENTS names (see above); PyPI has to be reachable"
    cp "$REQUIREMENTS" "$TOOLS/installed.txt"
  fi
  cargo build --quiet --locked --manifest-path "$ROOT/Cargo.toml" --package migrator --package service
}

SERVICE=
FOLDER=

stop_service() {
  if [ -n "$SERVICE" ]; then
    kill -TERM "$SERVICE" 2>/dev/null || true
    wait "$SERVICE" || true
    SERVICE=
  fi
}

# shellcheck disable=SC2317 # the trap calls it
clean_up() {
  stop_service
  if [ -n "$FOLDER" ]; then rm -rf "$FOLDER"; fi
}

# start_service LOG: starts it on a free port and leaves its URL in CONFORMANCE_URL.
start_service() {
  local log=$1 address='' tries=0
  "$TARGET/debug/service" serve >"$log" 2>&1 </dev/null &
  SERVICE=$!
  while [ -z "$address" ]; do
    if ! kill -0 "$SERVICE" 2>/dev/null || [ $((tries += 1)) -gt 300 ]; then
      cat "$log" >&2
      die "the service does not listen (see above)"
    fi
    sleep 0.1
    address=$(sed -n 's/.*"message":"listening","address":"\([^"]*\)".*/\1/p' "$log")
  done
  export CONFORMANCE_URL=http://$address
}

# ask CALLER: one run of schemathesis.
ask() {
  local started=$SECONDS status=0
  export CONFORMANCE_CALLER=$1
  "$TOOLS/bin/schemathesis" --config-file "$HERE/conformance.toml" run "$CONFORMANCE_URL/openapi.json" --no-color \
    >"$FOLDER/report" 2>&1 </dev/null || status=$?
  if [ "$status" = 0 ]; then
    say "$2, $1: nothing found in $((SECONDS - started)) s ($(sed -n 's/^  \([0-9]* generated.*\)/\1/p' "$FOLDER/report"))"
  else
    cat "$FOLDER/report"
    say "$2, $1: schemathesis ended with $status after $((SECONDS - started)) s (see above)"
    FOUND=1
  fi
}

# check NAME URL: migrates the database at URL, serves on it, asks.
check() {
  local caller
  export DATABASE_URL=$2
  "$TARGET/debug/migrator" up >"$FOLDER/$1.migrator" 2>&1 || {
    cat "$FOLDER/$1.migrator" >&2
    die "the migrator failed on $1 (see above)"
  }
  start_service "$FOLDER/$1.log"
  for caller in admin user nobody; do ask "$caller" "$1"; done
  kill -0 "$SERVICE" 2>/dev/null || {
    tail -n 20 "$FOLDER/$1.log" >&2
    die "the service on $1 ended by itself (see above)"
  }
  stop_service
}

if [ -z "${TEST_POSTGRES_URL:-}" ]; then
  prepare
  exec "$HERE/throwaway-postgres.sh" run "$HERE/conformance.sh"
fi

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
FOLDER=$(mktemp -d)
FOUND=0
# Away from whatever .env there is.
cd "$FOLDER"
ADMIN_PASSWORD=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export ADMIN_PASSWORD HTTP_ADDRESS=127.0.0.1:0 TELEMETRY_PROMETHEUS_ADDRESS=off LOG_FORMAT=json
# Guessing at passwords is what is tried here, all of it from one address, and not how much a hash costs.
export AUTH_LOGIN_ATTEMPTS=1000000 AUTH_ARGON2_MEMORY=64KiB AUTH_ARGON2_PASSES=1
export CONFORMANCE_SERVICE=$TARGET/debug/service SCHEMATHESIS_HOOKS=conformance_hooks PYTHONPATH=$HERE PYTHONDONTWRITEBYTECODE=1

check PostgreSQL "${TEST_POSTGRES_URL%/*}/conformance"
check SQLite "sqlite:///$FOLDER/conformance.db"
exit "$FOUND"
