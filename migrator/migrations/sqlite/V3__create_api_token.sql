-- Tokens for programs. The token itself is nowhere: its SHA-256 is looked up.

CREATE TABLE api_token (
    id           TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    name         TEXT NOT NULL,
    token_hash   BLOB NOT NULL,
    -- What it may do, words such as users:read with a blank between two, sorted.
    scopes       TEXT NOT NULL,
    created_at   INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    expires_at   INTEGER NOT NULL,
    last_used_at INTEGER,

    CONSTRAINT api_token_pkey PRIMARY KEY (id),
    CONSTRAINT api_token_user_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT api_token_token_hash_unique UNIQUE (token_hash),
    CONSTRAINT api_token_token_hash_length CHECK (length(token_hash) = 32),
    CONSTRAINT api_token_name_unique UNIQUE (user_id, name),
    CONSTRAINT api_token_name_length CHECK (length(name) BETWEEN 1 AND 100),
    CONSTRAINT api_token_scopes_length CHECK (length(scopes) BETWEEN 1 AND 500)
) STRICT;

-- Those that are over, for pruning.
CREATE INDEX idx_api_token_expires_at ON api_token (expires_at);
