#!/usr/bin/env bash
# test-database.sh: what the tests call for each database of theirs on Citus (foundation::testing).
#
#   made URL       has made it: brings Citus into it, with the workers of the database in CITUS_DATABASE_URL. A table
#                  metrics_snapshot is distributed as soon as it is made
#   dropped NAME   has dropped it: drops what is left of it on the workers
set -euo pipefail
export LC_ALL=C
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

on() { psql --no-psqlrc --no-password --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$@"; }
workers() {
  on "$CITUS_DATABASE_URL" --command "SELECT nodename || ':' || nodeport FROM pg_dist_node WHERE groupid <> 0 ORDER BY 1"
}

case $1 in
  made)
    mapfile -t workers < <(workers)
    # Several at a time get in each other's way on the workers, where each tells of the same role.
    tries=0
    until said=$(DATABASE_URL=$2 "$HERE/citus.sh" prepare "${workers[@]}" 2>&1); do
      if [ $((tries += 1)) -ge 10 ]; then
        printf '%s\n' "$said" >&2
        exit 1
      fi
      sleep 0.5
    done
    # What the coordinator says to itself needs a password, as what anybody else does.
    [[ $2 =~ ^postgres(ql)?://([^:@/]+):([^@/]+)@ ]]
    on "$2" --set role="${BASH_REMATCH[2]}" --set password="${BASH_REMATCH[3]}" <<'SQL'
INSERT INTO pg_dist_authinfo (nodeid, rolename, authinfo) VALUES (0, :'role', 'password=' || :'password');
SQL
    # Whoever migrates it gets a table that is distributed from the start, by the statement of distribute.sql.
    on "$2" <<'SQL'
CREATE SCHEMA bedplate_test;
CREATE FUNCTION bedplate_test.distribute() RETURNS event_trigger LANGUAGE plpgsql AS $function$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity LIKE '%.metrics_snapshot') THEN
        SET LOCAL citus.multi_shard_modify_mode = 'sequential';
        PERFORM create_distributed_table('metrics_snapshot', 'source', shard_count => 4, colocate_with => 'none');
    END IF;
END
$function$;
CREATE EVENT TRIGGER bedplate_test_distribute ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
    EXECUTE FUNCTION bedplate_test.distribute();
SQL
    ;;
  dropped)
    for worker in $(workers); do
      [[ $CITUS_DATABASE_URL =~ ^(postgres(ql)?://([^@/]*@)?)[^/?,]+/[^?]+(\?.*)?$ ]]
      url=${BASH_REMATCH[1]}$worker/postgres${BASH_REMATCH[4]}
      on "$url" --set name="$2" <<<'DROP DATABASE IF EXISTS :"name" WITH (FORCE)'
    done
    ;;
  *) exit 2 ;;
esac
