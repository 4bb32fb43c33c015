-- The two tables and the six indexes that the Python system documents. IF NOT EXISTS, because a
-- database that the Python system made has them already.
CREATE TABLE IF NOT EXISTS clusters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    cluster_id TEXT UNIQUE NOT NULL,
    cluster_name TEXT,
    host TEXT,
    num_workers INTEGER,
    status TEXT DEFAULT 'RUNNING',
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    expiry_time TIMESTAMP NOT NULL,
    last_accessed TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    access_count INTEGER DEFAULT 1,
    is_active BOOLEAN DEFAULT 1,
    is_shared BOOLEAN DEFAULT 0
);

CREATE TABLE IF NOT EXISTS shared_cluster_registry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    config_hash TEXT UNIQUE NOT NULL,
    cluster_id TEXT,
    status TEXT DEFAULT 'creating',
    worker_pid INTEGER,
    creation_time TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    usage_count INTEGER DEFAULT 0,
    error_message TEXT,
    FOREIGN KEY (cluster_id) REFERENCES clusters(cluster_id)
);

CREATE INDEX IF NOT EXISTS idx_cluster_id ON clusters(cluster_id);
CREATE INDEX IF NOT EXISTS idx_expiry_time ON clusters(expiry_time);
CREATE INDEX IF NOT EXISTS idx_is_active ON clusters(is_active);
CREATE INDEX IF NOT EXISTS idx_config_hash ON shared_cluster_registry(config_hash);
CREATE INDEX IF NOT EXISTS idx_registry_status ON shared_cluster_registry(status);
CREATE INDEX IF NOT EXISTS idx_registry_usage_count ON shared_cluster_registry(usage_count);
