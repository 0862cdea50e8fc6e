-- The accounts. What another program may leave out has a default here too.
-- migrator: lint-allow prefer-text-field the lengths are what others are told, and what the API refuses first

CREATE TABLE users (
    -- A version 7 UUID, made by whoever inserts, so that the order of ids is the order of creation.
    id               uuid         NOT NULL,
    username         varchar(255) NOT NULL,
    -- Names without case: ASCII only, which is what SQLite's lower() does, compared byte by byte, so that
    -- looking one up, listing by key and searching by prefix are all ranges of one index on both databases.
    username_key     text COLLATE "C" NOT NULL GENERATED ALWAYS AS (lower(username COLLATE "C")) STORED,
    email            varchar(255),
    email_key        text COLLATE "C" GENERATED ALWAYS AS (lower(email COLLATE "C")) STORED,
    password_hash    text,
    user_type        varchar(20)  NOT NULL,
    eve_character_id bigint,
    -- The owner's state: an inactive account does not exist for signing in.
    is_active        boolean      NOT NULL DEFAULT true,
    -- The admin's state: a blocked account is told so after a right password.
    is_blocked       boolean      NOT NULL DEFAULT false,
    is_admin         boolean      NOT NULL DEFAULT false,
    is_test_user     boolean      NOT NULL DEFAULT false,
    created_at       timestamptz  NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at       timestamptz  NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_login       timestamptz,
    -- The ETag: raised by edits, not by last_login.
    version          bigint       NOT NULL DEFAULT 1,

    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_username_unique UNIQUE (username_key),
    CONSTRAINT users_email_unique UNIQUE (email_key),
    CONSTRAINT users_eve_character_id_unique UNIQUE (eve_character_id),
    CONSTRAINT users_username_length CHECK (length(username) BETWEEN 1 AND 255),
    CONSTRAINT users_email_length CHECK (length(email) BETWEEN 1 AND 255),
    CONSTRAINT users_password_hash_length CHECK (length(password_hash) >= 1),
    CONSTRAINT users_user_type_known CHECK (user_type IN ('local', 'eve_sso', 'domain')),
    CONSTRAINT users_eve_character_id_positive CHECK (eve_character_id >= 1),
    CONSTRAINT users_version_positive CHECK (version >= 1),
    -- Local and domain users sign in with a password, eve_sso ones with their character and never with one.
    CONSTRAINT users_credentials_match_type CHECK (
        CASE user_type
            WHEN 'eve_sso' THEN eve_character_id IS NOT NULL AND password_hash IS NULL
            ELSE password_hash IS NOT NULL
        END
    ),
    -- A domain user is called \domain\name, and nobody else's name has a backslash.
    CONSTRAINT users_username_matches_type CHECK (
        CASE user_type
            WHEN 'domain' THEN username ~ '^\\[^\\]+\\[^\\]+$'
            ELSE position('\' IN username) = 0
        END
    )
);

-- Few accounts are blocked, so listing those reads an index of those alone.
CREATE INDEX idx_users_is_blocked ON users (username_key) WHERE is_blocked;
-- Few are administrators, and few are not active. Pages of those, like pages of one type, are in the order of ids.
CREATE INDEX idx_users_is_admin ON users (id) WHERE is_admin;
CREATE INDEX idx_users_is_inactive ON users (id) WHERE NOT is_active;
CREATE INDEX idx_users_user_type ON users (user_type, id);
