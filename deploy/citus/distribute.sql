-- Distributes metrics_snapshot by its source over the workers, with all its partitions and rows.
-- Run by citus.sh, as the owner of the table. Variables: shards.
\set ON_ERROR_STOP on
SET client_min_messages = error;
SET lock_timeout = '10s';
SET statement_timeout = 0;
SELECT set_config('bedplate.shards', :'shards', false) \g /dev/null

DO $ask$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
        RAISE EXCEPTION 'this database has no extension citus; run citus.sh prepare first';
    END IF;
    IF to_regclass('metrics_snapshot') IS NULL THEN
        RAISE EXCEPTION 'this database has no table metrics_snapshot; run migrator up first';
    END IF;
    IF current_setting('bedplate.shards') !~ '^[1-9][0-9]{0,3}$' THEN
        RAISE EXCEPTION 'the number of shards is between 1 and 9999';
    END IF;
END
$ask$;

DO $distribute$
DECLARE
    partition record;
BEGIN
    IF EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'metrics_snapshot'::regclass) THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_dist_node WHERE noderole = 'primary' AND isactive AND shouldhaveshards) THEN
        RAISE EXCEPTION 'no node takes shards; run citus.sh prepare with the workers';
    END IF;
    -- Nobody makes or detaches a partition meanwhile.
    PERFORM pg_advisory_xact_lock(hashtextextended('partitions of ' || 'metrics_snapshot'::regclass::oid, 0));
    -- Whoever writes waits from here to the end.
    LOCK TABLE metrics_snapshot IN SHARE ROW EXCLUSIVE MODE;
    -- One connection for each worker: what is done to the partitions, one after the other, belongs together.
    SET LOCAL citus.multi_shard_modify_mode = 'sequential';
    PERFORM create_distributed_table('metrics_snapshot', 'source',
        shard_count => current_setting('bedplate.shards')::integer, colocate_with => 'none');
END
$distribute$;

-- The rows are on the workers now; what is left of them here is hidden, and only takes room.
SELECT format('SELECT truncate_local_data_after_distributing_table(%L)', 'metrics_snapshot'::regclass)
WHERE EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'metrics_snapshot'::regclass) \gexec
