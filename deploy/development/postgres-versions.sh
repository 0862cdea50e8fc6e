#!/usr/bin/env bash
# postgres-versions.sh COMMAND...: runs COMMAND once for each version of PostgreSQL, with POSTGRES_VERSION set.
#
# The versions are those of VERSIONS, default 14 to 18. What throwaway-postgres.sh finds of them is used
# (TEST_POSTGRES_BIN_17 names the folder of the programs of one that lies elsewhere); nothing is installed.
# A version that fails does not keep the next ones from being tried. At the end there is a line for each; the
# exit status is 0 when all of them passed, and 1 when one failed or is missing: that is not counted as passed.
set -euo pipefail

VERSIONS=${VERSIONS:-14 15 16 17 18}
POSTGRES=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/throwaway-postgres.sh

say() { printf 'postgres-versions: %s\n' "$*"; }

[ $# -gt 0 ] || {
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$0" >&2
  exit 2
}
# One that is named for all would be taken for each.
unset TEST_POSTGRES_BIN

lines=()
status=0
for version in $VERSIONS; do
  export POSTGRES_VERSION=$version
  if ! bin=$("$POSTGRES" find 2>/dev/null); then
    say "PostgreSQL $version is not here: nothing is tried with it"
    lines+=("PostgreSQL $version: MISSING, not tried (Debian, Ubuntu: postgresql-$version, of https://apt.postgresql.org where the distribution lacks it; or TEST_POSTGRES_BIN_$version)")
    status=1
    continue
  fi
  release=$("$bin/postgres" --version | awk '{ print $3 }')
  say "PostgreSQL $release, from $bin"
  SECONDS=0
  if "$@"; then
    lines+=("PostgreSQL $release: passed in $SECONDS s")
  else
    # A signal ends it all.
    failed=$?
    if [ "$failed" -gt 128 ]; then exit "$failed"; fi
    lines+=("PostgreSQL $release: FAILED after $SECONDS s")
    status=1
  fi
done
for line in "${lines[@]}"; do say "$line"; done
exit "$status"
