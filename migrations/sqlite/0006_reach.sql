-- What one step of a worker asks is found by index, so that its cost does not grow with the leases of
-- others. The documented tables have no index and no trigger beyond theirs: which entries name a cluster
-- stands in a table of its own. Nothing else is in these two tables: a replay makes them anew.
CREATE INDEX idx_leases_config_hash ON leases(config_hash);
CREATE INDEX idx_leases_cluster_id ON leases(cluster_id);
CREATE INDEX idx_participants_run ON participants(run);
CREATE INDEX idx_shares_busy ON shares(config_hash) WHERE creation IS NOT NULL OR "check" IS NOT NULL;
CREATE INDEX idx_terminations_config_hash ON terminations(config_hash);
CREATE INDEX idx_terminations_waiting ON terminations(owed_at, subject) WHERE termination IS NULL;
CREATE INDEX idx_terminations_of_host ON terminations(host, owed_at, subject)
WHERE termination IS NULL;
CREATE INDEX idx_terminations_running ON terminations(subject) WHERE termination IS NOT NULL;

CREATE TABLE entry_clusters (
    config_hash TEXT PRIMARY KEY NOT NULL,
    cluster_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX idx_entry_clusters_cluster_id ON entry_clusters(cluster_id);

INSERT INTO entry_clusters (config_hash, cluster_id)
SELECT config_hash, cluster_id FROM shared_cluster_registry WHERE cluster_id IS NOT NULL;

CREATE TABLE share_runs (
    run TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    PRIMARY KEY (run, config_hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_share_runs_config_hash ON share_runs(config_hash);

INSERT OR IGNORE INTO share_runs (run, config_hash)
SELECT value, config_hash FROM shares, json_each(CASE WHEN json_valid(runs) THEN runs ELSE '[]' END)
WHERE runs <> '[]';

CREATE TRIGGER share_runs_insert AFTER INSERT ON shares WHEN NEW.runs <> '[]' AND json_valid(NEW.runs)
BEGIN
    INSERT OR IGNORE INTO share_runs SELECT value, NEW.config_hash FROM json_each(NEW.runs);
END;

CREATE TRIGGER share_runs_update AFTER UPDATE OF runs ON shares WHEN NEW.runs <> OLD.runs
BEGIN
    DELETE FROM share_runs WHERE config_hash = OLD.config_hash;
    INSERT OR IGNORE INTO share_runs SELECT value, NEW.config_hash
    FROM json_each(CASE WHEN json_valid(NEW.runs) THEN NEW.runs ELSE '[]' END);
END;

CREATE TRIGGER share_runs_delete AFTER DELETE ON shares WHEN OLD.runs <> '[]'
BEGIN
    DELETE FROM share_runs WHERE config_hash = OLD.config_hash;
END;
