-- Who did what, when and from where. Rows are only ever added, and pruned when they are old.
-- Neither actor nor target is a foreign key: what happened stays true when an account is gone.

CREATE TABLE audit_event (
    -- A version 7 UUID, so that the order of ids is the order of events.
    id          TEXT NOT NULL,
    occurred_at INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    -- What happened, for example user.updated or login.failed.
    action      TEXT NOT NULL,
    -- The user who did it; nothing for nobody, or for an operator on the command line.
    actor_id    TEXT,
    -- How they were known: session, api_token, command_line, anonymous.
    actor_kind  TEXT NOT NULL,
    -- By which session or token, where it was one: its id, which signs in nowhere.
    credential_id TEXT,
    -- What it was done to, for example user, and its id.
    target_type TEXT NOT NULL,
    target_id   TEXT,
    address     TEXT,
    request_id  TEXT,
    -- What was changed, before and after, without secrets.
    before      TEXT,
    after       TEXT,

    CONSTRAINT audit_event_pkey PRIMARY KEY (id),
    CONSTRAINT audit_event_action_length CHECK (length(action) BETWEEN 1 AND 50),
    CONSTRAINT audit_event_actor_kind_known CHECK (actor_kind IN ('session', 'api_token', 'command_line', 'anonymous'))
) STRICT;

-- Those that are old, for pruning; what happened to one target, and what one actor did, newest last.
CREATE INDEX idx_audit_event_occurred_at ON audit_event (occurred_at);
CREATE INDEX idx_audit_event_target ON audit_event (target_type, target_id, id);
CREATE INDEX idx_audit_event_actor ON audit_event (actor_id, id);
-- What one session or token did, which may have been stolen.
CREATE INDEX idx_audit_event_credential ON audit_event (credential_id, id) WHERE credential_id IS NOT NULL;
-- What is of one kind, which may be one event among millions.
CREATE INDEX idx_audit_event_action ON audit_event (action, id);
