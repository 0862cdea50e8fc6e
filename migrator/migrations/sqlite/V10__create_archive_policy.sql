-- How long snapshots are kept, what was done about it, and where the archives are.

CREATE TABLE archive_policy (
    id             TEXT    NOT NULL,
    -- The type of snapshots, or * for all that have no policy of their own.
    metric_type    TEXT    NOT NULL,
    retention_days INTEGER NOT NULL,
    -- delete, or archive before deleting.
    action         TEXT    NOT NULL,
    -- What has no policy that is enabled is kept for ever.
    is_enabled     INTEGER NOT NULL DEFAULT 0,
    last_run_at    INTEGER,
    created_at     INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    updated_at     INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    -- The ETag: raised by edits, not by runs.
    version        INTEGER NOT NULL DEFAULT 1,

    CONSTRAINT archive_policy_pkey PRIMARY KEY (id),
    CONSTRAINT archive_policy_metric_type_unique UNIQUE (metric_type),
    CONSTRAINT archive_policy_metric_type_length CHECK (length(metric_type) BETWEEN 1 AND 50),
    CONSTRAINT archive_policy_retention_days_range CHECK (retention_days BETWEEN 1 AND 36500),
    CONSTRAINT archive_policy_action_known CHECK (action IN ('delete', 'archive')),
    CONSTRAINT archive_policy_is_enabled_boolean CHECK (is_enabled IN (0, 1)),
    CONSTRAINT archive_policy_version_positive CHECK (version >= 1)
) STRICT;

CREATE TABLE archive_run (
    -- A version 7 UUID, so that the order of ids is the order of runs.
    id                 TEXT    NOT NULL,
    -- Why: schedule, request or command_line.
    reason             TEXT    NOT NULL,
    -- The user who asked for it.
    requested_by       TEXT,
    is_dry_run         INTEGER NOT NULL,
    -- running, succeeded, failed, or abandoned when its process ended in the middle.
    state              TEXT    NOT NULL,
    -- The number of the lease that it ran under.
    fencing            INTEGER NOT NULL,
    started_at         INTEGER NOT NULL,
    finished_at        INTEGER,
    -- What it did; of a dry run what it would have done.
    rows_deleted       INTEGER NOT NULL DEFAULT 0,
    rows_archived      INTEGER NOT NULL DEFAULT 0,
    partitions_dropped INTEGER NOT NULL DEFAULT 0,
    bytes_freed        INTEGER NOT NULL DEFAULT 0,
    -- Per policy and partition, for people.
    details            TEXT,
    error              TEXT,

    CONSTRAINT archive_run_pkey PRIMARY KEY (id),
    CONSTRAINT archive_run_is_dry_run_boolean CHECK (is_dry_run IN (0, 1)),
    CONSTRAINT archive_run_reason_known CHECK (reason IN ('schedule', 'request', 'command_line')),
    CONSTRAINT archive_run_state_known CHECK (state IN ('running', 'succeeded', 'failed', 'abandoned'))
) STRICT;

-- Each file in the archive. It is written down before the first byte is, so that a file of a run that was
-- killed is known, and its rows are in one place.
CREATE TABLE archive_file (
    id             TEXT    NOT NULL,
    -- The run that began it.
    run_id         TEXT    NOT NULL,
    metric_type    TEXT    NOT NULL,
    -- The range of time that it was made for: [lower_bound, upper_bound).
    lower_bound    INTEGER NOT NULL,
    upper_bound    INTEGER NOT NULL,
    -- Here the rows come from the table itself, always.
    detached       TEXT,
    -- Where it lies, below the archive's root; its manifest lies beside it.
    location       TEXT    NOT NULL,
    -- writing: it may be incomplete, and the rows are where they were.
    -- verified: it was read back whole; the rows are being deleted.
    -- archived: the rows are here alone.
    -- restored: they are in the table again, until restored_until.
    state          TEXT    NOT NULL,
    rows           INTEGER,
    bytes          INTEGER,
    sha256         BLOB,
    first_at       INTEGER,
    last_at        INTEGER,
    restored_until INTEGER,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,

    CONSTRAINT archive_file_pkey PRIMARY KEY (id),
    CONSTRAINT archive_file_location_unique UNIQUE (location),
    CONSTRAINT archive_file_bounds CHECK (lower_bound < upper_bound),
    CONSTRAINT archive_file_state_known CHECK (state IN ('writing', 'verified', 'archived', 'restored')),
    CONSTRAINT archive_file_is_described CHECK (state = 'writing' OR (rows IS NOT NULL AND bytes IS NOT NULL AND sha256 IS NOT NULL)),
    CONSTRAINT archive_file_restored_until CHECK ((state = 'restored') = (restored_until IS NOT NULL))
) STRICT;

-- What is not finished, few; and what a range of time was archived to.
CREATE INDEX idx_archive_file_unfinished ON archive_file (state) WHERE state <> 'archived';
CREATE INDEX idx_archive_file_range ON archive_file (metric_type, lower_bound);

-- Which of those that archive to one place this is: its files lie in a folder of this name.
CREATE TABLE deployment (
    -- There is one row.
    singleton INTEGER NOT NULL DEFAULT 1,
    -- 32 hexadecimal digits, made here at random.
    id        TEXT    NOT NULL DEFAULT (lower(hex(randomblob(16)))),

    CONSTRAINT deployment_pkey PRIMARY KEY (singleton),
    CONSTRAINT deployment_singleton_true CHECK (singleton = 1),
    CONSTRAINT deployment_id_plain CHECK (length(id) = 32 AND id NOT GLOB '*[^0-9a-f]*')
) STRICT;
INSERT INTO deployment DEFAULT VALUES;
