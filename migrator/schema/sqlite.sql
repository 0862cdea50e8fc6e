CREATE TABLE archive_file (
    id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    metric_type TEXT NOT NULL,
    lower_bound INTEGER NOT NULL,
    upper_bound INTEGER NOT NULL,
    detached TEXT,
    location TEXT NOT NULL,
    state TEXT NOT NULL,
    rows INTEGER,
    bytes INTEGER,
    sha256 BLOB,
    first_at INTEGER,
    last_at INTEGER,
    restored_until INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT archive_file_pkey PRIMARY KEY (id),
    CONSTRAINT archive_file_location_unique UNIQUE (location),
    CONSTRAINT archive_file_bounds CHECK (lower_bound < upper_bound),
    CONSTRAINT archive_file_is_described CHECK (state = 'writing' OR (rows IS NOT NULL AND bytes IS NOT NULL AND sha256 IS NOT NULL)),
    CONSTRAINT archive_file_restored_until CHECK ((state = 'restored') = (restored_until IS NOT NULL)),
    CONSTRAINT archive_file_state_known CHECK (state IN ('writing', 'verified', 'archived', 'restored'))
) STRICT;
CREATE INDEX idx_archive_file_range ON archive_file (metric_type, lower_bound);
CREATE INDEX idx_archive_file_unfinished ON archive_file (state) WHERE state <> 'archived';

CREATE TABLE archive_policy (
    id TEXT NOT NULL,
    metric_type TEXT NOT NULL,
    retention_days INTEGER NOT NULL,
    action TEXT NOT NULL,
    is_enabled INTEGER NOT NULL DEFAULT 0,
    last_run_at INTEGER,
    created_at INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    updated_at INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    version INTEGER NOT NULL DEFAULT 1,
    CONSTRAINT archive_policy_pkey PRIMARY KEY (id),
    CONSTRAINT archive_policy_metric_type_unique UNIQUE (metric_type),
    CONSTRAINT archive_policy_action_known CHECK (action IN ('delete', 'archive')),
    CONSTRAINT archive_policy_is_enabled_boolean CHECK (is_enabled IN (0, 1)),
    CONSTRAINT archive_policy_metric_type_length CHECK (length(metric_type) BETWEEN 1 AND 50),
    CONSTRAINT archive_policy_retention_days_range CHECK (retention_days BETWEEN 1 AND 36500),
    CONSTRAINT archive_policy_version_positive CHECK (version >= 1)
) STRICT;

CREATE TABLE archive_run (
    id TEXT NOT NULL,
    reason TEXT NOT NULL,
    requested_by TEXT,
    is_dry_run INTEGER NOT NULL,
    state TEXT NOT NULL,
    fencing INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    rows_deleted INTEGER NOT NULL DEFAULT 0,
    rows_archived INTEGER NOT NULL DEFAULT 0,
    partitions_dropped INTEGER NOT NULL DEFAULT 0,
    bytes_freed INTEGER NOT NULL DEFAULT 0,
    details TEXT,
    error TEXT,
    CONSTRAINT archive_run_pkey PRIMARY KEY (id),
    CONSTRAINT archive_run_is_dry_run_boolean CHECK (is_dry_run IN (0, 1)),
    CONSTRAINT archive_run_reason_known CHECK (reason IN ('schedule', 'request', 'command_line')),
    CONSTRAINT archive_run_state_known CHECK (state IN ('running', 'succeeded', 'failed', 'abandoned'))
) STRICT;

CREATE TABLE audit_event (
    id TEXT NOT NULL,
    occurred_at INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    action TEXT NOT NULL,
    actor_id TEXT,
    actor_kind TEXT NOT NULL,
    credential_id TEXT,
    target_type TEXT NOT NULL,
    target_id TEXT,
    address TEXT,
    request_id TEXT,
    "before" TEXT,
    after TEXT,
    CONSTRAINT audit_event_pkey PRIMARY KEY (id),
    CONSTRAINT audit_event_action_length CHECK (length(action) BETWEEN 1 AND 50),
    CONSTRAINT audit_event_actor_kind_known CHECK (actor_kind IN ('session', 'api_token', 'command_line', 'anonymous'))
) STRICT;
CREATE INDEX idx_audit_event_action ON audit_event (action, id);
CREATE INDEX idx_audit_event_actor ON audit_event (actor_id, id);
CREATE INDEX idx_audit_event_credential ON audit_event (credential_id, id) WHERE credential_id IS NOT NULL;
CREATE INDEX idx_audit_event_occurred_at ON audit_event (occurred_at);
CREATE INDEX idx_audit_event_target ON audit_event (target_type, target_id, id);

CREATE TABLE config (
    key TEXT NOT NULL,
    value TEXT,
    description TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    updated_at INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    CONSTRAINT config_pkey PRIMARY KEY (key),
    CONSTRAINT config_key_length CHECK (length(key) BETWEEN 1 AND 100),
    CONSTRAINT config_value_json CHECK (json_valid(value)),
    CONSTRAINT config_version_positive CHECK (version >= 1)
) STRICT;

CREATE TABLE deployment (
    singleton INTEGER NOT NULL DEFAULT 1,
    id TEXT NOT NULL DEFAULT (lower(hex(randomblob(16)))),
    CONSTRAINT deployment_pkey PRIMARY KEY (singleton),
    CONSTRAINT deployment_id_plain CHECK (length(id) = 32 AND id NOT GLOB '*[^0-9a-f]*'),
    CONSTRAINT deployment_singleton_true CHECK (singleton = 1)
) STRICT;

CREATE TABLE lease (
    name TEXT NOT NULL,
    holder TEXT NOT NULL,
    fencing INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    CONSTRAINT lease_pkey PRIMARY KEY (name),
    CONSTRAINT lease_fencing_positive CHECK (fencing >= 1)
) STRICT;

CREATE TABLE login_failure (
    subject TEXT NOT NULL,
    failures INTEGER NOT NULL,
    last_failed_at INTEGER NOT NULL,
    locked_until INTEGER NOT NULL,
    CONSTRAINT login_failure_pkey PRIMARY KEY (subject),
    CONSTRAINT login_failure_failures_positive CHECK (failures >= 1),
    CONSTRAINT login_failure_subject_length CHECK (length(subject) BETWEEN 1 AND 300)
) STRICT;
CREATE INDEX idx_login_failure_last_failed_at ON login_failure (last_failed_at);

CREATE TABLE metrics_snapshot (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    timestamp INTEGER NOT NULL,
    source TEXT NOT NULL,
    metric_type TEXT NOT NULL,
    metric_data TEXT NOT NULL,
    CONSTRAINT metrics_snapshot_metric_data_object CHECK (json_type(metric_data) = 'object'),
    CONSTRAINT metrics_snapshot_metric_type_length CHECK (length(metric_type) BETWEEN 1 AND 50 AND instr(metric_type, char(0)) = 0),
    CONSTRAINT metrics_snapshot_source_length CHECK (length(source) BETWEEN 1 AND 255 AND instr(source, char(0)) = 0)
) STRICT;
CREATE INDEX idx_metrics_type_source_timestamp ON metrics_snapshot (metric_type, source, timestamp, id);
CREATE INDEX idx_metrics_type_timestamp ON metrics_snapshot (metric_type, timestamp, id);

CREATE TABLE users (
    id TEXT NOT NULL,
    username TEXT NOT NULL,
    username_key TEXT NOT NULL GENERATED ALWAYS AS (lower(username)) STORED,
    email TEXT,
    email_key TEXT GENERATED ALWAYS AS (lower(email)) STORED,
    password_hash TEXT,
    user_type TEXT NOT NULL,
    eve_character_id INTEGER,
    is_active INTEGER NOT NULL DEFAULT 1,
    is_blocked INTEGER NOT NULL DEFAULT 0,
    is_admin INTEGER NOT NULL DEFAULT 0,
    is_test_user INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    updated_at INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    last_login INTEGER,
    version INTEGER NOT NULL DEFAULT 1,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_unique UNIQUE (email_key),
    CONSTRAINT users_eve_character_id_unique UNIQUE (eve_character_id),
    CONSTRAINT users_username_unique UNIQUE (username_key),
    CONSTRAINT users_credentials_match_type CHECK (CASE user_type WHEN 'eve_sso' THEN eve_character_id IS NOT NULL AND password_hash IS NULL ELSE password_hash IS NOT NULL END),
    CONSTRAINT users_email_length CHECK (length(email) BETWEEN 1 AND 255 AND instr(email, char(0)) = 0),
    CONSTRAINT users_eve_character_id_positive CHECK (eve_character_id >= 1),
    CONSTRAINT users_id_is_uuid CHECK (id LIKE '________-____-____-____-____________' AND length(replace(id, '-', '')) = 32 AND replace(id, '-', '') NOT GLOB '*[^0-9a-f]*'),
    CONSTRAINT users_is_active_boolean CHECK (is_active IN (0, 1)),
    CONSTRAINT users_is_admin_boolean CHECK (is_admin IN (0, 1)),
    CONSTRAINT users_is_blocked_boolean CHECK (is_blocked IN (0, 1)),
    CONSTRAINT users_is_test_user_boolean CHECK (is_test_user IN (0, 1)),
    CONSTRAINT users_password_hash_length CHECK (length(password_hash) >= 1 AND instr(password_hash, char(0)) = 0),
    CONSTRAINT users_user_type_known CHECK (user_type IN ('local', 'eve_sso', 'domain')),
    CONSTRAINT users_username_length CHECK (length(username) BETWEEN 1 AND 255 AND instr(username, char(0)) = 0),
    CONSTRAINT users_username_matches_type CHECK (CASE user_type WHEN 'domain' THEN username GLOB '\?*\?*' AND length(username) - length(replace(username, '\', '')) = 2 ELSE instr(username, '\') = 0 END),
    CONSTRAINT users_version_positive CHECK (version >= 1)
) STRICT;
CREATE INDEX idx_users_is_admin ON users (id) WHERE is_admin;
CREATE INDEX idx_users_is_blocked ON users (username_key) WHERE is_blocked;
CREATE INDEX idx_users_is_inactive ON users (id) WHERE NOT is_active;
CREATE INDEX idx_users_user_type ON users (user_type, id);

CREATE TABLE api_token (
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    token_hash BLOB NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    expires_at INTEGER NOT NULL,
    last_used_at INTEGER,
    CONSTRAINT api_token_pkey PRIMARY KEY (id),
    CONSTRAINT api_token_name_unique UNIQUE (user_id, name),
    CONSTRAINT api_token_token_hash_unique UNIQUE (token_hash),
    CONSTRAINT api_token_name_length CHECK (length(name) BETWEEN 1 AND 100),
    CONSTRAINT api_token_scopes_length CHECK (length(scopes) BETWEEN 1 AND 500),
    CONSTRAINT api_token_token_hash_length CHECK (length(token_hash) = 32),
    CONSTRAINT api_token_user_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
) STRICT;
CREATE INDEX idx_api_token_expires_at ON api_token (expires_at);

CREATE TABLE idempotency_key (
    caller TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hmac BLOB NOT NULL,
    status INTEGER NOT NULL,
    headers TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    CONSTRAINT idempotency_key_pkey PRIMARY KEY (caller, method, path, key),
    CONSTRAINT idempotency_key_body_hmac_length CHECK (length(body_hmac) = 32),
    CONSTRAINT idempotency_key_key_length CHECK (length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_key_user_fkey FOREIGN KEY (caller) REFERENCES users(id) ON DELETE CASCADE
) STRICT;
CREATE INDEX idx_idempotency_key_created_at ON idempotency_key (created_at);

CREATE TABLE session (
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    token_hash BLOB NOT NULL,
    created_at INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    last_used_at INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    expires_at INTEGER NOT NULL,
    address TEXT,
    user_agent TEXT,
    CONSTRAINT session_pkey PRIMARY KEY (id),
    CONSTRAINT session_token_hash_unique UNIQUE (token_hash),
    CONSTRAINT session_token_hash_length CHECK (length(token_hash) = 32),
    CONSTRAINT session_user_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
) STRICT;
CREATE INDEX idx_session_expires_at ON session (expires_at);
CREATE INDEX idx_session_last_used_at ON session (last_used_at);
CREATE INDEX idx_session_user ON session (user_id);
