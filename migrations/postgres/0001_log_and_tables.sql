-- The log. docs/log-format.md describes every column. Keys compare byte by byte.
CREATE TABLE events (
    position bigint PRIMARY KEY,
    stream text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    payload text COLLATE "C" NOT NULL,
    metadata text COLLATE "C" NOT NULL,
    recorded_at bigint NOT NULL,
    command_id bytea NOT NULL,
    hash bytea NOT NULL,
    -- The number of the event among those of its command, from 0. The unique key refuses a second
    -- commit of a command, if a client tries again because it never learnt the outcome of the first.
    ordinal bigint NOT NULL,
    -- The cluster that an event of a registry stream names. The history of the cluster reads it.
    names text COLLATE "C",
    UNIQUE (stream, version),
    UNIQUE (command_id, ordinal)
);

CREATE INDEX events_naming_cluster ON events (names, stream) WHERE names IS NOT NULL;

-- The log is append-only, for the owner of the table too. Other roles have no right beyond INSERT.
CREATE FUNCTION refuse_to_change_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only: no event can be %',
        CASE TG_OP WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER events_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events
FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_events();

-- A transaction draws positions before it commits, and does not return them if it fails. Before it
-- draws one, it takes an advisory lock that says above which number the position lies. The two
-- numbers of the lock are the table `events` and the last 32 bits of that number.
-- `settled_position` stops there.
CREATE SEQUENCE event_positions;

-- Returns the settled position: no event will be added at it or below it. It lies below the positions
-- that open transactions have drawn. A snapshot of the log that is taken after this call has every
-- event up to there. The function is volatile, so that its two queries run in this order.
CREATE FUNCTION settled_position() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    last bigint;
    settled bigint;
BEGIN
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO last FROM event_positions;
    SELECT min(last - ((last - objid::bigint) & 4294967295)) INTO settled
    FROM pg_catalog.pg_locks
    WHERE locktype = 'advisory' AND objsubid = 2 AND granted
        AND classid = 'events'::regclass::oid
        AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database());
    RETURN least(last, settled);
END $$;

-- The documented tables. Times are text, as on SQLite. Text order is time order.
CREATE TABLE clusters (
    id bigint PRIMARY KEY,
    cluster_id text COLLATE "C" UNIQUE NOT NULL,
    cluster_name text COLLATE "C",
    host text COLLATE "C",
    num_workers bigint,
    status text COLLATE "C",
    created_at text COLLATE "C",
    expiry_time text COLLATE "C" NOT NULL,
    last_accessed text COLLATE "C",
    access_count bigint,
    is_active boolean,
    is_shared boolean
);
CREATE INDEX idx_expiry_time ON clusters (expiry_time);
CREATE INDEX idx_is_active ON clusters (id) WHERE is_active;

CREATE TABLE shared_cluster_registry (
    id bigint PRIMARY KEY,
    config_hash text COLLATE "C" UNIQUE NOT NULL,
    cluster_id text COLLATE "C",
    status text COLLATE "C",
    worker_pid bigint,
    creation_time text COLLATE "C",
    usage_count bigint,
    error_message text COLLATE "C"
);

-- The tables that coordinate the workers. They are projected from the log too. A column that holds a
-- structure is JSON text.
CREATE TABLE shares (
    config_hash text COLLATE "C" PRIMARY KEY,
    origin text COLLATE "C" NOT NULL,
    host text COLLATE "C",
    worker text COLLATE "C",
    creation bigint,
    idempotency_token text COLLATE "C",
    created boolean NOT NULL,
    "check" bigint,
    checker text COLLATE "C",
    policy text COLLATE "C",
    runs text COLLATE "C" NOT NULL
);

CREATE TABLE leases (
    id bigint PRIMARY KEY,
    config_hash text COLLATE "C" NOT NULL,
    cluster_id text COLLATE "C" NOT NULL,
    holder text COLLATE "C" NOT NULL,
    policy text COLLATE "C" NOT NULL,
    run text COLLATE "C",
    granted_at text COLLATE "C" NOT NULL,
    created_here boolean NOT NULL
);

CREATE TABLE terminations (
    subject text COLLATE "C" PRIMARY KEY,
    cluster_id text COLLATE "C",
    idempotency_token text COLLATE "C",
    config_hash text COLLATE "C" NOT NULL,
    host text COLLATE "C",
    reason text COLLATE "C" NOT NULL,
    owed_at text COLLATE "C" NOT NULL,
    attempts bigint NOT NULL,
    termination bigint,
    terminator text COLLATE "C",
    error text COLLATE "C"
);

CREATE TABLE participants (
    id bigint PRIMARY KEY,
    run text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C",
    holder text COLLATE "C" NOT NULL,
    joined_at text COLLATE "C" NOT NULL
);

-- Not projected. Holders whose lock is gone although they may live, and since when. Their session may
-- have been lost, or the server restarted. From that moment they have 15 seconds to take their lock
-- again.
CREATE TABLE suspects (
    lock bigint PRIMARY KEY,
    server_start timestamptz NOT NULL,
    since timestamptz NOT NULL
);

CREATE TABLE schema_version (
    number bigint NOT NULL,
    -- Names this log. The holders of locks contain it, which keeps the locks of different logs apart.
    log text COLLATE "C" NOT NULL,
    -- If not NULL, nobody may append: the log is being moved to the database `other` (away), was
    -- moved there (gone), or is being moved from there (in).
    closed text COLLATE "C",
    other text COLLATE "C"
);
INSERT INTO schema_version (number, log) VALUES (0, gen_random_uuid());
