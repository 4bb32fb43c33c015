-- Grants two roles the rights that they need on a schema that `dbcache init` made, and no more. The
-- owner of the schema runs it, again after each upgrade:
--   psql URL -v schema=dbcache -v writer=dbcache_writer -v reader=dbcache_reader -f roles.sql
\set ON_ERROR_STOP on
BEGIN;
SET LOCAL search_path = :"schema";

REVOKE ALL ON ALL TABLES IN SCHEMA :"schema" FROM PUBLIC, :"writer", :"reader";
REVOKE ALL ON ALL SEQUENCES IN SCHEMA :"schema" FROM PUBLIC, :"writer", :"reader";
GRANT USAGE ON SCHEMA :"schema" TO :"writer", :"reader";

-- The reader audits. It may read the log and the tables. So may the writer.
GRANT SELECT ON ALL TABLES IN SCHEMA :"schema" TO :"writer", :"reader";
GRANT SELECT ON SEQUENCE event_positions TO :"writer", :"reader";

-- The writer works. It may add events, and never change one. It may change the tables, since they can be
-- rebuilt from the log.
GRANT INSERT ON events TO :"writer";
GRANT USAGE ON SEQUENCE event_positions TO :"writer";
GRANT INSERT, UPDATE, DELETE ON clusters, shared_cluster_registry, shares, leases, terminations,
    participants, suspects, creation_progress TO :"writer";
GRANT UPDATE ON sweeps TO :"writer";
COMMIT;
