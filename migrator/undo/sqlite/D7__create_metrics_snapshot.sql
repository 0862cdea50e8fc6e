-- Deletes every snapshot.

DROP TABLE metrics_snapshot;
