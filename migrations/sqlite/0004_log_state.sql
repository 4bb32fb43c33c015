-- One row, about the log as a whole.
-- `gaps_until`: up to this position, positions may be missing. The log was moved here from an engine
-- that leaves gaps.
-- `closed`: if not NULL, nobody may append. The log is being moved to the database `other` (away), was
-- moved there (gone), or is being moved from there (in). While it is closed, the trigger events_closed
-- refuses every INSERT.
CREATE TABLE log_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    gaps_until INTEGER NOT NULL,
    closed TEXT,
    other TEXT
) STRICT;

INSERT INTO log_state (id, gaps_until) VALUES (1, 0);
