-- Answers of requests that carried an Idempotency-Key, written in the transaction of what they did.

CREATE TABLE idempotency_key (
    -- The id of the user who asked.
    caller     uuid NOT NULL,
    method     text NOT NULL,
    path       text NOT NULL,
    key        text NOT NULL,
    -- HMAC-SHA-256 of the body under AUTH_SECRET: the same key with another body is an error.
    body_hmac  bytea NOT NULL,
    status     bigint NOT NULL,
    -- The headers of the answer that belong to it (ETag, Location) and its body, without any secret.
    headers    jsonb NOT NULL,
    body       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT idempotency_key_pkey PRIMARY KEY (caller, method, path, key),
    CONSTRAINT idempotency_key_user_fkey FOREIGN KEY (caller) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT idempotency_key_key_length CHECK (length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_key_body_hmac_length CHECK (length(body_hmac) = 32)
);

-- Those that are over, for pruning.
CREATE INDEX idx_idempotency_key_created_at ON idempotency_key (created_at);
