-- The log. docs/log-format.md describes every column. STRICT, so that SQLite refuses a value of another
-- type.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    type TEXT NOT NULL,
    payload TEXT NOT NULL,
    metadata TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    command_id BLOB NOT NULL,
    hash BLOB NOT NULL,
    UNIQUE (stream, version)
) STRICT;

-- The log is append-only. The third trigger refuses INSERT OR REPLACE, which deletes the conflicting
-- row without firing a delete trigger (https://www.sqlite.org/lang_conflict.html).
CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only: no event can be changed');
END;

CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only: no event can be deleted');
END;

CREATE TRIGGER events_refuse_replace BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE position = NEW.position)
    OR EXISTS (SELECT 1 FROM events WHERE stream = NEW.stream AND version = NEW.version)
BEGIN
    SELECT RAISE(ABORT, 'events are append-only: this position or version is taken');
END;

-- The history of a cluster finds with it the registry streams that named the cluster.
CREATE INDEX idx_events_naming_cluster ON events(json_extract(payload, '$.cluster_id'), stream)
WHERE type IN ('RegistryStatusChanged', 'EntryImported');
