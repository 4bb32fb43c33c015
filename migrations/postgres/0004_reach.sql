-- What one step of a worker asks is found by index, so that its cost does not grow with the leases of
-- others.
CREATE INDEX leases_of_config_hash ON leases (config_hash, id);
CREATE INDEX leases_on_cluster ON leases (cluster_id, id);
CREATE INDEX participants_of_run ON participants (run, id);
CREATE INDEX entries_naming_cluster ON shared_cluster_registry (cluster_id)
WHERE cluster_id IS NOT NULL;
CREATE INDEX shares_busy ON shares (config_hash)
WHERE creation IS NOT NULL OR "check" IS NOT NULL;
-- A list that a hand has broken must not stop the migration: a replay mends it.
CREATE FUNCTION list_of_runs(runs text) RETURNS jsonb IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    RETURN runs::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN '[]';
END $$;
CREATE INDEX shares_of_run ON shares USING gin (list_of_runs(runs) jsonb_path_ops)
WHERE runs <> '[]';
CREATE INDEX terminations_of_config_hash ON terminations (config_hash);
CREATE INDEX terminations_waiting ON terminations (owed_at, subject) WHERE termination IS NULL;
CREATE INDEX terminations_of_host ON terminations (host, owed_at, subject) WHERE termination IS NULL;
CREATE INDEX terminations_running ON terminations (subject) WHERE termination IS NOT NULL;

-- Not projected. When the next sweep for what the dead held is due.
CREATE TABLE sweeps (due timestamptz NOT NULL);
INSERT INTO sweeps (due) VALUES ('-infinity');
