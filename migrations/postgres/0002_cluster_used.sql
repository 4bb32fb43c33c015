-- From this schema on, the log may hold ClusterUsed, which an older dbcache cannot read. No table
-- changes.
COMMENT ON TABLE events IS 'The log, append-only; ClusterUsed since schema 2';
