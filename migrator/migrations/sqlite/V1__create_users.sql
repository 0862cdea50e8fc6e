-- The accounts. What another program may leave out has a default here too.

CREATE TABLE users (
    -- A version 7 UUID in lower case, made by whoever inserts, so that the order of ids is the order of creation.
    id               TEXT    NOT NULL,
    username         TEXT    NOT NULL,
    -- Names without case: ASCII only, which is what lower() does here, compared byte by byte, so that
    -- looking one up, listing by key and searching by prefix are all ranges of one index on both databases.
    username_key     TEXT    NOT NULL GENERATED ALWAYS AS (lower(username)) STORED,
    email            TEXT,
    email_key        TEXT    GENERATED ALWAYS AS (lower(email)) STORED,
    password_hash    TEXT,
    user_type        TEXT    NOT NULL,
    eve_character_id INTEGER,
    -- The owner's state: an inactive account does not exist for signing in.
    is_active        INTEGER NOT NULL DEFAULT 1,
    -- The admin's state: a blocked account is told so after a right password.
    is_blocked       INTEGER NOT NULL DEFAULT 0,
    is_admin         INTEGER NOT NULL DEFAULT 0,
    is_test_user     INTEGER NOT NULL DEFAULT 0,
    -- Times are microseconds since 1970 in UTC. SQLite's clock shows milliseconds, rounded before they are
    -- multiplied because a real number of seconds is not exact.
    created_at       INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    updated_at       INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    last_login       INTEGER,
    -- The ETag: raised by edits, not by last_login.
    version          INTEGER NOT NULL DEFAULT 1,

    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_username_unique UNIQUE (username_key),
    CONSTRAINT users_email_unique UNIQUE (email_key),
    CONSTRAINT users_eve_character_id_unique UNIQUE (eve_character_id),
    CONSTRAINT users_id_is_uuid CHECK (
        id LIKE '________-____-____-____-____________'
        AND length(replace(id, '-', '')) = 32
        AND replace(id, '-', '') NOT GLOB '*[^0-9a-f]*'
    ),
    -- length() stops at a NUL character, which PostgreSQL never stores, so none is let in here.
    CONSTRAINT users_username_length CHECK (
        length(username) BETWEEN 1 AND 255 AND instr(username, char(0)) = 0
    ),
    CONSTRAINT users_email_length CHECK (length(email) BETWEEN 1 AND 255 AND instr(email, char(0)) = 0),
    CONSTRAINT users_password_hash_length CHECK (
        length(password_hash) >= 1 AND instr(password_hash, char(0)) = 0
    ),
    CONSTRAINT users_user_type_known CHECK (user_type IN ('local', 'eve_sso', 'domain')),
    CONSTRAINT users_eve_character_id_positive CHECK (eve_character_id >= 1),
    CONSTRAINT users_is_active_boolean CHECK (is_active IN (0, 1)),
    CONSTRAINT users_is_blocked_boolean CHECK (is_blocked IN (0, 1)),
    CONSTRAINT users_is_admin_boolean CHECK (is_admin IN (0, 1)),
    CONSTRAINT users_is_test_user_boolean CHECK (is_test_user IN (0, 1)),
    CONSTRAINT users_version_positive CHECK (version >= 1),
    -- Local and domain users sign in with a password, eve_sso ones with their character and never with one.
    CONSTRAINT users_credentials_match_type CHECK (
        CASE user_type
            WHEN 'eve_sso' THEN eve_character_id IS NOT NULL AND password_hash IS NULL
            ELSE password_hash IS NOT NULL
        END
    ),
    -- A domain user is called \domain\name, and nobody else's name has a backslash. SQLite has no regular
    -- expressions: the pattern together with exactly two backslashes is ^\\[^\\]+\\[^\\]+$.
    CONSTRAINT users_username_matches_type CHECK (
        CASE user_type
            WHEN 'domain' THEN username GLOB '\?*\?*' AND length(username) - length(replace(username, '\', '')) = 2
            ELSE instr(username, '\') = 0
        END
    )
) STRICT;

-- Few accounts are blocked, so listing those reads an index of those alone.
CREATE INDEX idx_users_is_blocked ON users (username_key) WHERE is_blocked;
-- Few are administrators, and few are not active. Pages of those, like pages of one type, are in the order of ids.
CREATE INDEX idx_users_is_admin ON users (id) WHERE is_admin;
CREATE INDEX idx_users_is_inactive ON users (id) WHERE NOT is_active;
CREATE INDEX idx_users_user_type ON users (user_type, id);
