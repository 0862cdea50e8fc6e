-- Time series: what a source measured at a time, as a JSON document. One table; what is old is deleted in
-- batches.

CREATE TABLE metrics_snapshot (
    -- Never given twice, also not after the newest row was deleted: what is archived is known by it.
    id          INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    timestamp   INTEGER NOT NULL,
    -- The host or agent that it came from.
    source      TEXT    NOT NULL,
    metric_type TEXT    NOT NULL,
    -- An object, as it was written.
    metric_data TEXT    NOT NULL,

    CONSTRAINT metrics_snapshot_source_length CHECK (length(source) BETWEEN 1 AND 255 AND instr(source, char(0)) = 0),
    CONSTRAINT metrics_snapshot_metric_type_length CHECK (
        length(metric_type) BETWEEN 1 AND 50 AND instr(metric_type, char(0)) = 0
    ),
    CONSTRAINT metrics_snapshot_metric_data_object CHECK (json_type(metric_data) = 'object')
) STRICT;

-- What one source says of one type in a range of time, which series there are, and the latest of each.
CREATE INDEX idx_metrics_type_source_timestamp ON metrics_snapshot (metric_type, source, timestamp, id);

-- What all sources say of one type, in the order of time.
CREATE INDEX idx_metrics_type_timestamp ON metrics_snapshot (metric_type, timestamp, id);
