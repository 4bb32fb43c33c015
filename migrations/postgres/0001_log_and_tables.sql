-- The log. docs/log-format.md describes every column but `ordinal`. Keys compare byte by byte.
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
    -- Which of its command's events it is, from 0: an attempt to commit whose outcome was never
    -- learnt is not made twice.
    ordinal bigint NOT NULL,
    -- The cluster that an event of a registry stream names, for that cluster's history.
    names text COLLATE "C",
    UNIQUE (stream, version),
    UNIQUE (command_id, ordinal)
);

CREATE INDEX events_naming_cluster ON events (names, stream) WHERE names IS NOT NULL;

-- Append-only, for the owner of the table too; others have no right to more than INSERT.
CREATE FUNCTION refuse_to_change_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only: no event can be %',
        CASE TG_OP WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER events_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events
FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_events();

-- Positions are drawn before a transaction commits, and not given back when it does not. Before one
-- is drawn, an advisory lock of that transaction says above which number it lies (its two numbers
-- are the table `events` and that number's last 32 bits): `settled_position` stops there.
CREATE SEQUENCE event_positions;

-- The position up to which no event will come to be any more: below what open transactions have
-- drawn. A view of the log that is taken after this was asked has every event up to there. Volatile,
-- so that its two looks are in this order.
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

-- The documented tables. Times are text, as on SQLite, so that text order is time order.
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

-- What coordinates the workers: projected from the log too. A column that holds a structure is JSON
-- text.
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

-- Not projected: holders whose lock was found gone while they may live (a session can be lost, or
-- the server have been started anew), and since when. They have a while from then to show up.
CREATE TABLE suspects (
    lock bigint PRIMARY KEY,
    server_start timestamptz NOT NULL,
    since timestamptz NOT NULL
);

CREATE TABLE schema_version (
    number bigint NOT NULL,
    -- Names this log: it stands in the holders of locks, and keeps the locks of logs apart.
    log text COLLATE "C" NOT NULL,
    -- Nobody may append, because the log is being moved or was (away, gone, in), to or from the
    -- database `other`.
    closed text COLLATE "C",
    other text COLLATE "C"
);
INSERT INTO schema_version (number, log) VALUES (0, gen_random_uuid());
