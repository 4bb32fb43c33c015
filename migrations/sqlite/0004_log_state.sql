-- One row, of the log as a whole. `gaps_until`: up to this position numbers may be missing, in a log
-- that was moved in from an engine that leaves some. `closed`: nobody may append, because the log is
-- being moved or was (away, gone, in), to or from the database `other`. While it
-- is closed a trigger, events_closed, refuses every INSERT.
CREATE TABLE log_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    gaps_until INTEGER NOT NULL,
    closed TEXT,
    other TEXT
) STRICT;

INSERT INTO log_state (id, gaps_until) VALUES (1, 0);
