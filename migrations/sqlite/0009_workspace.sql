-- When the cluster was last known to run: a check said so, or a lease on it was released. NULL: not known, also
-- of what happened before this migration.
ALTER TABLE shares ADD COLUMN alive_at TEXT;
-- Whether the last creation failed in a way that another try cannot mend.
ALTER TABLE shares ADD COLUMN failed_for_good INTEGER NOT NULL DEFAULT 0;
-- What clusters are doing while they are created, for those who wait. Not projected from the log, and of no
-- account: the row of an ended creation may stay until another creation tells something.
CREATE TABLE creation_progress (
    config_hash TEXT PRIMARY KEY NOT NULL,
    creation INTEGER NOT NULL,
    doing TEXT NOT NULL
) STRICT, WITHOUT ROWID;
