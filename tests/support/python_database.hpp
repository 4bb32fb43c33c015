#pragma once

#include <string>

#include "support/raw_database.hpp"

namespace dbcache::test {

/// The documented schema, as the document has it.
inline constexpr const char* documented_schema = R"(CREATE TABLE clusters (
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

CREATE TABLE shared_cluster_registry (
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

CREATE INDEX idx_cluster_id ON clusters(cluster_id);
CREATE INDEX idx_expiry_time ON clusters(expiry_time);
CREATE INDEX idx_is_active ON clusters(is_active);
CREATE INDEX idx_config_hash ON shared_cluster_registry(config_hash);
CREATE INDEX idx_registry_status ON shared_cluster_registry(status);
CREATE INDEX idx_registry_usage_count ON shared_cluster_registry(usage_count);
)";

/// What the Python system's machine-local `isoformat()` and SQLite's CURRENT_TIMESTAMP leave: times
/// with a `T` are local, times with a space are UTC.
inline constexpr const char* python_rows = R"(
INSERT INTO clusters (cluster_id, cluster_name, host, num_workers, status, created_at, expiry_time,
                      last_accessed, access_count, is_active, is_shared) VALUES
  ('old-1', 'first', 'https://a.example', 2, 'RUNNING', '2025-06-09T13:37:23.420000',
   '2025-06-09T14:37:23.420000', '2025-06-09 11:40:00', 7, 0, 0),
  ('old-2', NULL, NULL, NULL, 'PENDING', '2025-06-10 08:00:00', '2025-06-10T11:00:00',
   '2025-06-10 08:00:00', 1, 1, 1);
INSERT INTO shared_cluster_registry (config_hash, cluster_id, status, worker_pid, creation_time,
                                     usage_count, error_message) VALUES
  ('hash-1', 'old-2', 'ready', 4711, '2025-06-10 08:00:01', 3, NULL),
  ('hash-2', NULL, 'failed', 4712, '2025-06-10 08:00:02', 0, 'quota');
)";

/// A database made exactly as the Python system makes one.
inline void make_python_database(const std::string& path, const std::string& journal_mode = "wal",
                                 const std::string& rows = python_rows) {
  SQLite::Database database = open_raw(path);
  database.exec("PRAGMA journal_mode = " + journal_mode);
  database.exec(documented_schema);
  database.exec(rows);
}

}  // namespace dbcache::test
