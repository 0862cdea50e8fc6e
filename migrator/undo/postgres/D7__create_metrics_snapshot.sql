-- Deletes every snapshot, those in detached partitions included.

DROP FUNCTION metrics_snapshot_drop_detached(text);
DROP FUNCTION metrics_snapshot_detach_partition(timestamptz, timestamptz, integer);
DROP FUNCTION metrics_snapshot_ensure_partition(timestamptz, timestamptz);
DROP VIEW metrics_snapshot_partition;
DROP FUNCTION metrics_snapshot_bounds(oid);
DO $detached$
DECLARE
    detached text;
BEGIN
    FOR detached IN SELECT name FROM metrics_snapshot_detached LOOP
        EXECUTE format('DROP TABLE IF EXISTS %I', detached);
    END LOOP;
END
$detached$;
DROP TABLE metrics_snapshot_detached;
DROP TABLE metrics_snapshot;
