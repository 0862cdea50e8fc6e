#!/usr/bin/env bash
# test.sh: the suites of metrics, retention and the migrator on distributed snapshots, on the Citus whose
# coordinator CITUS_DATABASE_URL names (a superuser's address of a database that knows its workers), or on a
# throwaway one where PostgreSQL's programs have Citus. Ends with 77 where there is neither: nothing was tested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export LC_ALL=C

say() { printf 'test-citus: %s\n' "$*" >&2; }

if [ -z "${CITUS_DATABASE_URL:-}" ]; then
  if ! ./deploy/citus/throwaway.sh available; then
    say "there is no Citus, so nothing was tested: set CITUS_DATABASE_URL to a coordinator with two workers," \
      "or install Citus into the PostgreSQL that TEST_POSTGRES_BIN names"
    exit 77
  fi
  exec ./deploy/citus/throwaway.sh run "$0" "$@"
fi
# The servers that tests start for themselves are plain ones.
if [ -z "${TEST_POSTGRES_BIN:-}" ] || [ -z "${TEST_POSTGRES_TEMPLATE:-}" ]; then
  exec ./deploy/development/throwaway-postgres.sh run "$0" "$@"
fi
PATH=$PATH:$TEST_POSTGRES_BIN
workers=$(psql --no-psqlrc --no-password --tuples-only --no-align --dbname "$CITUS_DATABASE_URL" \
  --command "SELECT count(*) FROM pg_dist_node WHERE groupid <> 0 AND isactive") || workers=0
if [ "$workers" -lt 2 ]; then
  say "CITUS_DATABASE_URL names no coordinator with two workers or more, so nothing was tested"
  exit 77
fi

export TEST_POSTGRES_URL=$CITUS_DATABASE_URL TEST_DATABASE_HOOK=$PWD/deploy/citus/test-database.sh PATH
# Each database needs Citus on every machine, so few tests at a time.
THREADS=(--test-threads "${TEST_THREADS:-3}")
run() {
  say "cargo test $*"
  cargo test --locked --all-features "$@"
}
run -p service --test suite -- citus:: --include-ignored
# Left out: one puts a view in the place of the table, which is not distributed then; one needs a trigger of rows, which
# Citus does not know.
run -p service --test suite "$@" -- metrics_reference:: metrics_snapshots:: metrics_streams:: partitions:: collector:: \
  archive:: "${THREADS[@]}" --skip a_dry_run_estimates_what_it_cannot_count_in_time \
  --skip a_batch_that_met_a_deadlock_is_tried_again
# Left out of the migrator's:
NOT_HERE=(
  # They drop the whole schema `public` again and again, for schemas of all kinds that have no snapshots, and Citus
  # loses its own objects by that.
  postgres_goes_from_any_schema_to_any_other_and_back postgres_needs_no_files_for_it
  # They compare the locks that PostgreSQL takes for tables of theirs, and Citus takes further ones.
  postgresql_takes_the_locks_that_are_planned locks_are_recorded_by_statement
  # Citus distributes no table of a schema whose name needs quotation marks.
  everything_is_in_one_schema a_schema_is_restored_beside_others
  # A database is restored into one that has no Citus yet, and is prepared then (README.md, Backups).
  backups_to_one_name_are_in_nobodys_way rights_are_restored_as_they_were
  migrators_are_locked_out_while_it_is_restored what_is_restored_belongs_to_the_role_of_the_migrator
  public_is_restored_as_a_schema_of_that_name what_lies_in_no_schema_is_restored a_restore_says_what_it_knows
)
for test in "${NOT_HERE[@]}"; do THREADS+=(--skip "$test"); done
run -p migrator "$@" -- "${THREADS[@]}"
