-- Duties that one process at a time has. Whoever holds the row, by the clock of the database, does it.

CREATE TABLE lease (
    -- The duty.
    name       TEXT    NOT NULL,
    -- The process that has it.
    holder     TEXT    NOT NULL,
    -- Raised whenever it goes to somebody else, so that one who had it and does not know yet that it is over
    -- is told from the one who has it.
    fencing    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,

    CONSTRAINT lease_pkey PRIMARY KEY (name),
    CONSTRAINT lease_fencing_positive CHECK (fencing >= 1)
) STRICT;
