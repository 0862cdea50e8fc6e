-- Failed sign-ins, counted by account, by address and by both, so that all replicas act as one.

CREATE TABLE login_failure (
    -- 'user:' and the id of a user; where no user has the name, 'account:' and the name in lower case;
    -- 'address:' and the address (an IPv6 one by its /64); or 'user-pair:' or 'pair:', the address (an IPv6 one
    -- by its /48), a blank and the id or the name: 277 characters at most.
    subject        TEXT NOT NULL,
    failures       INTEGER NOT NULL,
    last_failed_at INTEGER NOT NULL,
    -- Until then nobody is let in by this subject.
    locked_until   INTEGER NOT NULL,

    CONSTRAINT login_failure_pkey PRIMARY KEY (subject),
    CONSTRAINT login_failure_subject_length CHECK (length(subject) BETWEEN 1 AND 300),
    CONSTRAINT login_failure_failures_positive CHECK (failures >= 1)
) STRICT;

-- Those that are long ago, for pruning.
CREATE INDEX idx_login_failure_last_failed_at ON login_failure (last_failed_at);
