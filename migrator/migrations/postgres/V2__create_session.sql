-- Who is signed in. The token itself is nowhere: its SHA-256 is looked up.

CREATE TABLE session (
    id           uuid NOT NULL,
    user_id      uuid NOT NULL,
    token_hash   bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    -- When it was used last, written at most once a minute; the idle lifetime counts from here.
    last_used_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    -- The absolute end, whatever its use.
    expires_at   timestamptz NOT NULL,
    -- Where it was begun, so that its owner knows it again.
    address      text,
    user_agent   text,

    CONSTRAINT session_pkey PRIMARY KEY (id),
    CONSTRAINT session_user_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT session_token_hash_unique UNIQUE (token_hash),
    CONSTRAINT session_token_hash_length CHECK (length(token_hash) = 32)
);

-- The sessions of one user, and what deleting the user has to find.
CREATE INDEX idx_session_user ON session (user_id);
-- Those that are over, for pruning.
CREATE INDEX idx_session_expires_at ON session (expires_at);
CREATE INDEX idx_session_last_used_at ON session (last_used_at);
