-- How long snapshots are kept, what was done about it, and where the archives are.
-- migrator: lint-allow prefer-text-field the words are those of a CHECK, the types of snapshots those of their table
-- migrator: lint-allow prefer-bigint-over-int it counts days, at most 36500

CREATE TABLE archive_policy (
    id             uuid        NOT NULL,
    -- The type of snapshots, or * for all that have no policy of their own.
    metric_type    varchar(50) NOT NULL,
    retention_days integer     NOT NULL,
    -- delete, or archive before deleting.
    action         varchar(20) NOT NULL,
    -- What has no policy that is enabled is kept for ever.
    is_enabled     boolean     NOT NULL DEFAULT false,
    last_run_at    timestamptz,
    created_at     timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at     timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    -- The ETag: raised by edits, not by runs.
    version        bigint      NOT NULL DEFAULT 1,

    CONSTRAINT archive_policy_pkey PRIMARY KEY (id),
    CONSTRAINT archive_policy_metric_type_unique UNIQUE (metric_type),
    CONSTRAINT archive_policy_metric_type_length CHECK (metric_type <> ''),
    CONSTRAINT archive_policy_retention_days_range CHECK (retention_days BETWEEN 1 AND 36500),
    CONSTRAINT archive_policy_action_known CHECK (action IN ('delete', 'archive')),
    CONSTRAINT archive_policy_version_positive CHECK (version >= 1)
);

CREATE TABLE archive_run (
    -- A version 7 UUID, so that the order of ids is the order of runs.
    id                 uuid        NOT NULL,
    -- Why: schedule, request or command_line.
    reason             varchar(20) NOT NULL,
    -- The user who asked for it.
    requested_by       uuid,
    is_dry_run         boolean     NOT NULL,
    -- running, succeeded, failed, or abandoned when its process ended in the middle.
    state              varchar(20) NOT NULL,
    -- The number of the lease that it ran under.
    fencing            bigint      NOT NULL,
    started_at         timestamptz NOT NULL,
    finished_at        timestamptz,
    -- What it did; of a dry run what it would have done.
    rows_deleted       bigint      NOT NULL DEFAULT 0,
    rows_archived      bigint      NOT NULL DEFAULT 0,
    partitions_dropped bigint      NOT NULL DEFAULT 0,
    bytes_freed        bigint      NOT NULL DEFAULT 0,
    -- Per policy and partition, for people.
    details            jsonb,
    error              text,

    CONSTRAINT archive_run_pkey PRIMARY KEY (id),
    CONSTRAINT archive_run_reason_known CHECK (reason IN ('schedule', 'request', 'command_line')),
    CONSTRAINT archive_run_state_known CHECK (state IN ('running', 'succeeded', 'failed', 'abandoned'))
);

-- Each file in the archive. It is written down before the first byte is, so that a file of a run that was
-- killed is known, and its rows are in one place.
CREATE TABLE archive_file (
    id             uuid         NOT NULL,
    -- The run that began it.
    run_id         uuid         NOT NULL,
    metric_type    varchar(50)  NOT NULL,
    -- The range of time that it was made for: [lower_bound, upper_bound).
    lower_bound    timestamptz  NOT NULL,
    upper_bound    timestamptz  NOT NULL,
    -- The detached partition that its rows come from; nothing when they come from the table itself.
    detached       text,
    -- Where it lies, below the archive's root; its manifest lies beside it.
    location       text         NOT NULL,
    -- writing: it may be incomplete, and the rows are where they were.
    -- verified: it was read back whole; the rows are being deleted.
    -- archived: the rows are here alone.
    -- restored: they are in the table again, until restored_until.
    state          varchar(20)  NOT NULL,
    rows           bigint,
    bytes          bigint,
    sha256         bytea,
    first_at       timestamptz,
    last_at        timestamptz,
    restored_until timestamptz,
    created_at     timestamptz  NOT NULL,
    updated_at     timestamptz  NOT NULL,

    CONSTRAINT archive_file_pkey PRIMARY KEY (id),
    CONSTRAINT archive_file_location_unique UNIQUE (location),
    CONSTRAINT archive_file_bounds CHECK (lower_bound < upper_bound),
    CONSTRAINT archive_file_state_known CHECK (state IN ('writing', 'verified', 'archived', 'restored')),
    CONSTRAINT archive_file_is_described CHECK (state = 'writing' OR (rows IS NOT NULL AND bytes IS NOT NULL AND sha256 IS NOT NULL)),
    CONSTRAINT archive_file_restored_until CHECK ((state = 'restored') = (restored_until IS NOT NULL))
);

-- What is not finished, few; and what a range of time was archived to.
CREATE INDEX idx_archive_file_unfinished ON archive_file (state) WHERE state <> 'archived';
CREATE INDEX idx_archive_file_range ON archive_file (metric_type, lower_bound);

-- Which of those that archive to one place this is: its files lie in a folder of this name.
CREATE TABLE deployment (
    -- There is one row.
    singleton boolean NOT NULL DEFAULT true,
    -- 32 hexadecimal digits, made here at random.
    id        text    NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', ''),

    CONSTRAINT deployment_pkey PRIMARY KEY (singleton),
    CONSTRAINT deployment_singleton_true CHECK (singleton),
    CONSTRAINT deployment_id_plain CHECK (id ~ '^[0-9a-f]{32}$')
);
INSERT INTO deployment DEFAULT VALUES;
