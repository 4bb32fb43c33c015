-- The tables that coordinate the workers. They are projected from the log, like the documented ones. A
-- column that holds a structure is JSON text.
CREATE TABLE shares (
    config_hash TEXT PRIMARY KEY NOT NULL,
    origin TEXT NOT NULL,
    host TEXT,
    worker TEXT,
    creation INTEGER,
    idempotency_token TEXT,
    created INTEGER NOT NULL,
    "check" INTEGER,
    checker TEXT,
    policy TEXT,
    runs TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    id INTEGER PRIMARY KEY,
    config_hash TEXT NOT NULL,
    cluster_id TEXT NOT NULL,
    holder TEXT NOT NULL,
    policy TEXT NOT NULL,
    run TEXT,
    granted_at TEXT NOT NULL,
    created_here INTEGER NOT NULL
) STRICT;

CREATE TABLE terminations (
    subject TEXT PRIMARY KEY NOT NULL,
    cluster_id TEXT,
    idempotency_token TEXT,
    config_hash TEXT NOT NULL,
    host TEXT,
    reason TEXT NOT NULL,
    owed_at TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    termination INTEGER,
    terminator TEXT,
    error TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE participants (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT,
    holder TEXT NOT NULL,
    joined_at TEXT NOT NULL
) STRICT;

-- The creators of the entries that were registered before this migration. The id of an entry is the
-- position of the event that made it.
INSERT INTO shares (config_hash, origin, created, worker, runs)
SELECT entry.config_hash, 'documented', 0,
       json_object('lock_file', '', 'lock', 0, 'process', json_extract(event.payload, '$.worker'),
                   'host', '', 'label', NULL, 'until', NULL),
       '[]'
FROM shared_cluster_registry AS entry
JOIN events AS event ON event.position = entry.id AND event.type = 'CreationRegistered';

-- Now more types of event in a registry stream name a cluster.
DROP INDEX idx_events_naming_cluster;
CREATE INDEX idx_events_naming_cluster ON events(json_extract(payload, '$.cluster_id'), stream)
WHERE type IN ('RegistryStatusChanged', 'EntryImported', 'LeaseGranted');
