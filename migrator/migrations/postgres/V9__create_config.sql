-- Settings that are changed while the service runs. Which there are, their types and defaults stand in the
-- code; a row holds what was put there.
-- migrator: lint-allow prefer-text-field a key is as long as the code that knows it makes it

CREATE TABLE config (
    key         varchar(100) NOT NULL,
    -- Nothing where the default holds.
    value       jsonb,
    description text         NOT NULL,
    -- The ETag.
    version     bigint       NOT NULL DEFAULT 1,
    updated_at  timestamptz  NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT config_pkey PRIMARY KEY (key),
    CONSTRAINT config_version_positive CHECK (version >= 1)
);

INSERT INTO config (key, description) VALUES
    ('archive.run_hour', 'The hour of the day, in UTC, at which archive policies are run.'),
    ('archive.secret_access_key', 'The secret key with which archives are written to S3.'),
    ('auth.login_attempts', 'Failed logins of one account that cost no delay; of one address ten times as many.'),
    ('auth.login_delay', 'The delay after the first failure above these, doubled by each further one.'),
    ('auth.login_max_delay', 'The longest delay.'),
    ('metrics.collect_interval', 'How often the figures of this host and of the service are written as snapshots.');
