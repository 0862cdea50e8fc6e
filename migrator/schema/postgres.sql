SET check_function_bodies = off;

CREATE OR REPLACE FUNCTION metrics_snapshot_bounds(partition oid)
 RETURNS timestamp with time zone[]
 LANGUAGE sql
 STABLE
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, YMD'
AS $function$
    SELECT CAST(regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(.+)''\) TO \(''(.+)''\)') AS timestamptz[])
    FROM pg_catalog.pg_class AS c WHERE c.oid = $1
$function$;

CREATE OR REPLACE FUNCTION metrics_snapshot_detach_partition(lower_bound timestamp with time zone, upper_bound timestamp with time zone, lock_timeout_ms integer)
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET lock_timeout TO '2s'
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, YMD'
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    partition text;
    detached text;
    granted record;
BEGIN
    IF $3 IS NULL OR $3 NOT BETWEEN 1 AND 60000 THEN
        RAISE EXCEPTION 'lock_timeout_ms is between 1 and 60000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM set_config('lock_timeout', $3::text || 'ms', true);
    PERFORM pg_advisory_xact_lock(hashtextextended('partitions of ' || 'metrics_snapshot'::regclass::oid, 0));
    SELECT p.name INTO partition FROM metrics_snapshot_partition AS p
    WHERE p.lower_bound = $1 AND p.upper_bound = $2;
    IF partition IS NULL THEN
        RETURN NULL;
    END IF;
    -- The same range may be detached again, after late rows came.
    detached := 'metrics_snapshot_detached_' || format('%I', partition)::regclass::oid;
    EXECUTE format('ALTER TABLE metrics_snapshot DETACH PARTITION %I', partition);
    EXECUTE format('ALTER TABLE %I RENAME TO %I', partition, detached);
    INSERT INTO metrics_snapshot_detached (name, lower_bound, upper_bound) VALUES (detached, $1, $2);
    FOR granted IN
        SELECT a.privilege_type AS privilege,
               CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS grantee
        FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        WHERE c.oid = 'metrics_snapshot'::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON %I TO %s', granted.privilege, detached, granted.grantee);
    END LOOP;
    RETURN detached;
END
$function$;

CREATE OR REPLACE FUNCTION metrics_snapshot_drop_detached(name text)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET lock_timeout TO '2s'
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    DELETE FROM metrics_snapshot_detached AS d WHERE d.name = $1;
    -- Whoever may write the list cannot have anything else dropped.
    IF NOT FOUND OR $1 !~ '^metrics_snapshot_detached_[0-9]+$' THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS %I', $1);
    RETURN true;
END
$function$;

CREATE OR REPLACE FUNCTION metrics_snapshot_ensure_partition(lower_bound timestamp with time zone, upper_bound timestamp with time zone)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET lock_timeout TO '2s'
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, YMD'
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    existing record;
    begins_at timestamptz := $1;
    made integer := 0;
BEGIN
    IF $1 IS NULL OR $2 IS NULL OR NOT isfinite($1) OR NOT isfinite($2) OR $1 >= $2
        OR $2 - $1 > interval '366 days' OR date_trunc('minute', $1) <> $1 OR date_trunc('minute', $2) <> $2
        OR $1 < '1970-01-01' OR $2 > '2262-01-01'
    THEN
        RAISE EXCEPTION 'a partition lies between two full minutes, the first before the second and at most 366 days before it'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- One at a time; whoever comes second finds it made.
    PERFORM pg_advisory_xact_lock(hashtextextended('partitions of ' || 'metrics_snapshot'::regclass::oid, 0));
    FOR existing IN
        SELECT p.lower_bound AS begins, p.upper_bound AS ends FROM metrics_snapshot_partition AS p
        WHERE p.lower_bound < $2 AND p.upper_bound > $1
        UNION ALL SELECT $2, $2
        ORDER BY 1
    LOOP
        IF existing.begins > begins_at THEN
            EXECUTE format('CREATE TABLE %I (LIKE metrics_snapshot INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)',
                to_char(begins_at, '"metrics_snapshot_"YYYYMMDD"t"HH24MI'));
            EXECUTE format('ALTER TABLE metrics_snapshot ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                to_char(begins_at, '"metrics_snapshot_"YYYYMMDD"t"HH24MI'), begins_at, existing.begins);
            -- A partition does not have this from its table.
            EXECUTE format('ALTER TABLE %I REPLICA IDENTITY FULL', to_char(begins_at, '"metrics_snapshot_"YYYYMMDD"t"HH24MI'));
            -- The catalog does not know it, and an empty one that is new may be there for a load of old data.
            EXECUTE format('COMMENT ON TABLE %I IS %L', to_char(begins_at, '"metrics_snapshot_"YYYYMMDD"t"HH24MI'),
                to_char(clock_timestamp(), '"made at "YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
            made := made + 1;
        END IF;
        begins_at := greatest(begins_at, existing.ends);
    END LOOP;
    RETURN made;
END
$function$;

CREATE TABLE archive_file (
    id uuid NOT NULL,
    run_id uuid NOT NULL,
    metric_type character varying(50) NOT NULL,
    lower_bound timestamp with time zone NOT NULL,
    upper_bound timestamp with time zone NOT NULL,
    detached text,
    location text NOT NULL,
    state character varying(20) NOT NULL,
    rows bigint,
    bytes bigint,
    sha256 bytea,
    first_at timestamp with time zone,
    last_at timestamp with time zone,
    restored_until timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT archive_file_pkey PRIMARY KEY (id),
    CONSTRAINT archive_file_location_unique UNIQUE (location),
    CONSTRAINT archive_file_bounds CHECK (lower_bound < upper_bound),
    CONSTRAINT archive_file_is_described CHECK (state::text = 'writing'::text OR rows IS NOT NULL AND bytes IS NOT NULL AND sha256 IS NOT NULL),
    CONSTRAINT archive_file_restored_until CHECK ((state::text = 'restored'::text) = (restored_until IS NOT NULL)),
    CONSTRAINT archive_file_state_known CHECK (state::text = ANY (ARRAY['writing'::text, 'verified'::text, 'archived'::text, 'restored'::text]))
);
CREATE INDEX idx_archive_file_range ON archive_file USING btree (metric_type, lower_bound);
CREATE INDEX idx_archive_file_unfinished ON archive_file USING btree (state) WHERE state::text <> 'archived'::text;

CREATE TABLE archive_policy (
    id uuid NOT NULL,
    metric_type character varying(50) NOT NULL,
    retention_days integer NOT NULL,
    action character varying(20) NOT NULL,
    is_enabled boolean NOT NULL DEFAULT false,
    last_run_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT archive_policy_pkey PRIMARY KEY (id),
    CONSTRAINT archive_policy_metric_type_unique UNIQUE (metric_type),
    CONSTRAINT archive_policy_action_known CHECK (action::text = ANY (ARRAY['delete'::text, 'archive'::text])),
    CONSTRAINT archive_policy_metric_type_length CHECK (metric_type::text <> ''::text),
    CONSTRAINT archive_policy_retention_days_range CHECK (retention_days >= 1 AND retention_days <= 36500),
    CONSTRAINT archive_policy_version_positive CHECK (version >= 1)
);

CREATE TABLE archive_run (
    id uuid NOT NULL,
    reason character varying(20) NOT NULL,
    requested_by uuid,
    is_dry_run boolean NOT NULL,
    state character varying(20) NOT NULL,
    fencing bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    rows_deleted bigint NOT NULL DEFAULT 0,
    rows_archived bigint NOT NULL DEFAULT 0,
    partitions_dropped bigint NOT NULL DEFAULT 0,
    bytes_freed bigint NOT NULL DEFAULT 0,
    details jsonb,
    error text,
    CONSTRAINT archive_run_pkey PRIMARY KEY (id),
    CONSTRAINT archive_run_reason_known CHECK (reason::text = ANY (ARRAY['schedule'::text, 'request'::text, 'command_line'::text])),
    CONSTRAINT archive_run_state_known CHECK (state::text = ANY (ARRAY['running'::text, 'succeeded'::text, 'failed'::text, 'abandoned'::text]))
);

CREATE TABLE audit_event (
    id uuid NOT NULL,
    occurred_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    action text NOT NULL,
    actor_id uuid,
    actor_kind text NOT NULL,
    credential_id uuid,
    target_type text NOT NULL,
    target_id text,
    address text,
    request_id text,
    "before" jsonb,
    after jsonb,
    CONSTRAINT audit_event_pkey PRIMARY KEY (id),
    CONSTRAINT audit_event_action_length CHECK (length(action) >= 1 AND length(action) <= 50),
    CONSTRAINT audit_event_actor_kind_known CHECK (actor_kind = ANY (ARRAY['session'::text, 'api_token'::text, 'command_line'::text, 'anonymous'::text]))
);
CREATE INDEX idx_audit_event_action ON audit_event USING btree (action, id);
CREATE INDEX idx_audit_event_actor ON audit_event USING btree (actor_id, id);
CREATE INDEX idx_audit_event_credential ON audit_event USING btree (credential_id, id) WHERE credential_id IS NOT NULL;
CREATE INDEX idx_audit_event_occurred_at ON audit_event USING btree (occurred_at);
CREATE INDEX idx_audit_event_target ON audit_event USING btree (target_type, target_id, id);

CREATE TABLE config (
    key character varying(100) NOT NULL,
    value jsonb,
    description text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    updated_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT config_pkey PRIMARY KEY (key),
    CONSTRAINT config_version_positive CHECK (version >= 1)
);

CREATE TABLE deployment (
    singleton boolean NOT NULL DEFAULT true,
    id text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-'::text, ''::text),
    CONSTRAINT deployment_pkey PRIMARY KEY (singleton),
    CONSTRAINT deployment_id_plain CHECK (id ~ '^[0-9a-f]{32}$'::text),
    CONSTRAINT deployment_singleton_true CHECK (singleton)
);

CREATE TABLE lease (
    name text NOT NULL,
    holder uuid NOT NULL,
    fencing bigint NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT lease_pkey PRIMARY KEY (name),
    CONSTRAINT lease_fencing_positive CHECK (fencing >= 1)
);

CREATE TABLE login_failure (
    subject text NOT NULL,
    failures bigint NOT NULL,
    last_failed_at timestamp with time zone NOT NULL,
    locked_until timestamp with time zone NOT NULL,
    CONSTRAINT login_failure_pkey PRIMARY KEY (subject),
    CONSTRAINT login_failure_failures_positive CHECK (failures >= 1),
    CONSTRAINT login_failure_subject_length CHECK (length(subject) >= 1 AND length(subject) <= 300)
);
CREATE INDEX idx_login_failure_last_failed_at ON login_failure USING btree (last_failed_at);

CREATE TABLE metrics_snapshot (
    id bigint NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    timestamp timestamp with time zone NOT NULL,
    source character varying(255) COLLATE "C" NOT NULL,
    metric_type character varying(50) COLLATE "C" NOT NULL,
    metric_data jsonb NOT NULL,
    CONSTRAINT metrics_snapshot_contents CHECK (source::text <> ''::text AND metric_type::text <> ''::text AND jsonb_typeof(metric_data) = 'object'::text)
) PARTITION BY RANGE ("timestamp");
CREATE INDEX idx_metrics_type_source_timestamp ON metrics_snapshot USING btree (metric_type, source, "timestamp");
CREATE INDEX idx_metrics_type_timestamp ON metrics_snapshot USING btree (metric_type, "timestamp");

CREATE TABLE metrics_snapshot_detached (
    name text NOT NULL,
    lower_bound timestamp with time zone NOT NULL,
    upper_bound timestamp with time zone NOT NULL,
    detached_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT metrics_snapshot_detached_pkey PRIMARY KEY (name),
    CONSTRAINT metrics_snapshot_detached_bounds CHECK (lower_bound < upper_bound)
);

CREATE TABLE users (
    id uuid NOT NULL,
    username character varying(255) NOT NULL,
    username_key text COLLATE "C" NOT NULL GENERATED ALWAYS AS (lower(username::text COLLATE "C")) STORED,
    email character varying(255),
    email_key text COLLATE "C" GENERATED ALWAYS AS (lower(email::text COLLATE "C")) STORED,
    password_hash text,
    user_type character varying(20) NOT NULL,
    eve_character_id bigint,
    is_active boolean NOT NULL DEFAULT true,
    is_blocked boolean NOT NULL DEFAULT false,
    is_admin boolean NOT NULL DEFAULT false,
    is_test_user boolean NOT NULL DEFAULT false,
    created_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_login timestamp with time zone,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_unique UNIQUE (email_key),
    CONSTRAINT users_eve_character_id_unique UNIQUE (eve_character_id),
    CONSTRAINT users_username_unique UNIQUE (username_key),
    CONSTRAINT users_credentials_match_type CHECK (
CASE user_type
    WHEN 'eve_sso'::text THEN eve_character_id IS NOT NULL AND password_hash IS NULL
    ELSE password_hash IS NOT NULL
END),
    CONSTRAINT users_email_length CHECK (length(email::text) >= 1 AND length(email::text) <= 255),
    CONSTRAINT users_eve_character_id_positive CHECK (eve_character_id >= 1),
    CONSTRAINT users_password_hash_length CHECK (length(password_hash) >= 1),
    CONSTRAINT users_user_type_known CHECK (user_type::text = ANY (ARRAY['local'::text, 'eve_sso'::text, 'domain'::text])),
    CONSTRAINT users_username_length CHECK (length(username::text) >= 1 AND length(username::text) <= 255),
    CONSTRAINT users_username_matches_type CHECK (
CASE user_type
    WHEN 'domain'::text THEN username::text ~ '^\\[^\\]+\\[^\\]+$'::text
    ELSE POSITION(('\'::text) IN (username)) = 0
END),
    CONSTRAINT users_version_positive CHECK (version >= 1)
);
CREATE INDEX idx_users_is_admin ON users USING btree (id) WHERE is_admin;
CREATE INDEX idx_users_is_blocked ON users USING btree (username_key) WHERE is_blocked;
CREATE INDEX idx_users_is_inactive ON users USING btree (id) WHERE NOT is_active;
CREATE INDEX idx_users_user_type ON users USING btree (user_type, id);

CREATE TABLE api_token (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    token_hash bytea NOT NULL,
    scopes text NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    expires_at timestamp with time zone NOT NULL,
    last_used_at timestamp with time zone,
    CONSTRAINT api_token_pkey PRIMARY KEY (id),
    CONSTRAINT api_token_name_unique UNIQUE (user_id, name),
    CONSTRAINT api_token_token_hash_unique UNIQUE (token_hash),
    CONSTRAINT api_token_name_length CHECK (length(name) >= 1 AND length(name) <= 100),
    CONSTRAINT api_token_scopes_length CHECK (length(scopes) >= 1 AND length(scopes) <= 500),
    CONSTRAINT api_token_token_hash_length CHECK (length(token_hash) = 32),
    CONSTRAINT api_token_user_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX idx_api_token_expires_at ON api_token USING btree (expires_at);

CREATE TABLE idempotency_key (
    caller uuid NOT NULL,
    method text NOT NULL,
    path text NOT NULL,
    key text NOT NULL,
    body_hmac bytea NOT NULL,
    status bigint NOT NULL,
    headers jsonb NOT NULL,
    body text NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT idempotency_key_pkey PRIMARY KEY (caller, method, path, key),
    CONSTRAINT idempotency_key_body_hmac_length CHECK (length(body_hmac) = 32),
    CONSTRAINT idempotency_key_key_length CHECK (length(key) >= 1 AND length(key) <= 255),
    CONSTRAINT idempotency_key_user_fkey FOREIGN KEY (caller) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX idx_idempotency_key_created_at ON idempotency_key USING btree (created_at);

CREATE TABLE session (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    token_hash bytea NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_used_at timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP,
    expires_at timestamp with time zone NOT NULL,
    address text,
    user_agent text,
    CONSTRAINT session_pkey PRIMARY KEY (id),
    CONSTRAINT session_token_hash_unique UNIQUE (token_hash),
    CONSTRAINT session_token_hash_length CHECK (length(token_hash) = 32),
    CONSTRAINT session_user_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX idx_session_expires_at ON session USING btree (expires_at);
CREATE INDEX idx_session_last_used_at ON session USING btree (last_used_at);
CREATE INDEX idx_session_user ON session USING btree (user_id);

CREATE VIEW metrics_snapshot_partition AS
SELECT child.relname::text AS name,
    bounds.of_range[1] AS lower_bound,
    bounds.of_range[2] AS upper_bound,
    pg_total_relation_size(child.oid::regclass) AS bytes,
    "substring"(obj_description(child.oid, 'pg_class'::name), '^made at ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z)$'::text)::timestamp with time zone AS made_at
   FROM pg_inherits
     JOIN pg_class child ON child.oid = pg_inherits.inhrelid
     CROSS JOIN LATERAL metrics_snapshot_bounds(child.oid) bounds(of_range)
  WHERE pg_inherits.inhparent = 'metrics_snapshot'::regclass::oid AND bounds.of_range IS NOT NULL;

ALTER TABLE metrics_snapshot REPLICA IDENTITY FULL;
REVOKE EXECUTE ON FUNCTION metrics_snapshot_detach_partition(timestamp with time zone, timestamp with time zone, integer) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION metrics_snapshot_drop_detached(text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION metrics_snapshot_ensure_partition(timestamp with time zone, timestamp with time zone) FROM PUBLIC;
