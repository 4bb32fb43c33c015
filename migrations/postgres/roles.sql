-- Gives two roles what they need of a schema that `dbcache init` made, and no more. Run by its owner,
-- after each upgrade too:
--   psql URL -v schema=dbcache -v writer=dbcache_writer -v reader=dbcache_reader -f roles.sql
\set ON_ERROR_STOP on
BEGIN;
SET LOCAL search_path = :"schema";

REVOKE ALL ON ALL TABLES IN SCHEMA :"schema" FROM PUBLIC, :"writer", :"reader";
REVOKE ALL ON ALL SEQUENCES IN SCHEMA :"schema" FROM PUBLIC, :"writer", :"reader";
GRANT USAGE ON SCHEMA :"schema" TO :"writer", :"reader";

-- Who audits: the log and the tables, to read.
GRANT SELECT ON ALL TABLES IN SCHEMA :"schema" TO :"writer", :"reader";
GRANT SELECT ON SEQUENCE event_positions TO :"writer", :"reader";

-- Who works: events are added, and never changed; the tables are what the log says, and can be rebuilt.
GRANT INSERT ON events TO :"writer";
GRANT USAGE ON SEQUENCE event_positions TO :"writer";
GRANT INSERT, UPDATE, DELETE ON clusters, shared_cluster_registry, shares, leases, terminations,
    participants, suspects TO :"writer";
COMMIT;
