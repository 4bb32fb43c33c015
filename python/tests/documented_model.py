"""A plain model of the documented cache manager: Python's sqlite3 over the documented tables. Where
the document is silent, it does what dbcache does. The tests compare dbcache with it."""

import os
import sqlite3
from datetime import datetime, timedelta, timezone

SCHEMA = """
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
"""


def moment(of=None):
    of = of or datetime.now(timezone.utc).replace(tzinfo=None)
    return of.isoformat(timespec="microseconds")


class CacheManager:
    def __init__(self, default_expiry_hours=1, database=None):
        self.db_path = database or "Environment/Databricks/cluster_cache.db"
        os.makedirs(os.path.dirname(self.db_path), exist_ok=True)
        self.expiry_time = timedelta(hours=default_expiry_hours)
        self.connection = sqlite3.connect(
            self.db_path, timeout=30, check_same_thread=False, isolation_level="IMMEDIATE"
        )
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.executescript(SCHEMA)

    def rows(self, sql, *parameters):
        return [dict(row) for row in self.connection.execute(sql, parameters)]

    def change(self, sql, *parameters):
        with self.connection:
            return self.connection.execute(sql, parameters).rowcount

    def put(self, row):
        with self.connection:
            self.connection.execute(
                "DELETE FROM clusters WHERE cluster_id = ?", (row["cluster_id"],)
            )
            if row["is_active"]:
                self.connection.execute("UPDATE clusters SET is_active = 0")
            self.connection.execute(
                f"INSERT INTO clusters ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
                tuple(row.values()),
            )
        return True

    def cache_new_cluster(self, cluster_id, cluster_config=None):
        config = cluster_config or {}
        return self.put(
            {
                "cluster_id": cluster_id,
                "cluster_name": config.get("cluster_name"),
                "host": config.get("host"),
                "num_workers": config.get("num_workers"),
                "status": config.get("status", "RUNNING"),
                "created_at": config.get("created_at", moment()),
                "expiry_time": moment(datetime.utcnow() + self.expiry_time),
                "last_accessed": moment(),
                "access_count": 1,
                "is_active": 1,
                "is_shared": int(config.get("is_shared", False)),
            }
        )

    def save_cluster_cache(self, cache_data):
        return self.put(
            {
                "cluster_id": cache_data["cluster_id"],
                "cluster_name": cache_data.get("cluster_name"),
                "host": cache_data.get("host"),
                "num_workers": cache_data.get("num_workers"),
                "status": cache_data.get("status", "RUNNING"),
                "created_at": cache_data.get("created_at", moment()),
                "expiry_time": cache_data.get(
                    "expiry_time", moment(datetime.utcnow() + self.expiry_time)
                ),
                "last_accessed": cache_data.get("last_accessed", moment()),
                "access_count": cache_data.get("access_count", 1),
                "is_active": int(cache_data.get("is_active", True)),
                "is_shared": int(cache_data.get("is_shared", False)),
            }
        )

    def load_cluster_cache(self):
        found = self.rows(
            "SELECT * FROM clusters WHERE is_active = 1 AND expiry_time > ? "
            "ORDER BY id DESC LIMIT 1",
            moment(),
        )
        return found[0] if found else {}

    def get_cached_cluster_info(self):
        row = self.load_cluster_cache()
        if not row:
            found = self.rows("SELECT * FROM clusters WHERE is_active = 1 ORDER BY id DESC LIMIT 1")
            if not found:
                return {}
            row = found[0]
        left = (datetime.fromisoformat(row["expiry_time"]) - datetime.utcnow()).total_seconds()
        return {
            **row,
            "is_valid": left > 0,
            "remaining": max(left, 0.0),
            "from_environment": False,
        }

    def is_cluster_cache_valid(self, cache_data):
        return bool(
            cache_data
            and cache_data.get("cluster_id")
            and cache_data.get("is_active", True)
            and cache_data.get("expiry_time", "") > moment()
        )

    def update_cluster_access(self, cluster_id):
        return 1 == self.change(
            "UPDATE clusters SET access_count = access_count + 1, last_accessed = ? "
            "WHERE cluster_id = ? AND is_active = 1",
            moment(),
            cluster_id,
        )

    def get_all_clusters(self, where_clause=None):
        condition = f"WHERE {where_clause}\n" if where_clause else ""
        return self.rows(f"SELECT * FROM clusters {condition} ORDER BY id DESC")

    def get_cache_statistics(self):
        figures = self.rows(
            "SELECT count(*) AS total_clusters, coalesce(sum(is_active), 0) AS active_clusters, "
            "coalesce(sum(expiry_time <= ?), 0) AS expired_clusters, "
            "coalesce(sum(access_count), 0) AS total_accesses, "
            "coalesce(sum(is_shared), 0) AS shared_clusters FROM clusters",
            moment(),
        )[0]
        return {**figures, "cache_file_size": os.path.getsize(self.db_path)}

    def cleanup_expired_clusters(self):
        return self.change("DELETE FROM clusters WHERE expiry_time <= ?", moment())

    def remove_terminated_cluster(self, cluster_id):
        return self.change("DELETE FROM clusters WHERE cluster_id = ?", cluster_id) == 1

    def clear_cluster_cache(self):
        return self.change("DELETE FROM clusters")

    def optimize_database(self):
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.execute("PRAGMA optimize")
        return True

    def get_database_info(self):
        return {"path": os.path.abspath(self.db_path), "exists": os.path.exists(self.db_path)}

    def register_shared_cluster_creation(self, config_hash, worker_pid):
        self.change(
            "INSERT OR IGNORE INTO shared_cluster_registry "
            "(config_hash, status, worker_pid, creation_time, usage_count) "
            "VALUES (?, 'creating', ?, ?, 1)",
            config_hash,
            worker_pid,
            moment(),
        )
        return self.can_join_shared_cluster_creation(config_hash)

    def can_join_shared_cluster_creation(self, config_hash):
        entry = self.get_shared_cluster_info(config_hash)
        return entry is not None and entry["status"] in ("creating", "ready")

    def update_shared_cluster_status(
        self, config_hash, status, cluster_id=None, error_message=None
    ):
        changed = self.change(
            "UPDATE shared_cluster_registry SET status = ?, "
            "cluster_id = coalesce(?, cluster_id), error_message = ? WHERE config_hash = ?",
            status,
            cluster_id,
            error_message,
            config_hash,
        )
        if changed != 1:
            raise LookupError(config_hash)
        return True

    def get_shared_cluster_info(self, config_hash):
        found = self.rows(
            "SELECT * FROM shared_cluster_registry WHERE config_hash = ?", config_hash
        )
        return found[0] if found else None

    def _change_usage(self, config_hash, change):
        with self.connection:
            self.connection.execute(
                f"UPDATE shared_cluster_registry SET usage_count = {change} WHERE config_hash = ?",
                (config_hash,),
            )
            entry = self.get_shared_cluster_info(config_hash)
            return entry["usage_count"] if entry else 0

    def increment_shared_cluster_usage(self, config_hash):
        return self._change_usage(config_hash, "usage_count + 1")

    def decrement_shared_cluster_usage(self, config_hash):
        return self._change_usage(config_hash, "max(usage_count - 1, 0)")

    def cleanup_shared_cluster_registry(self, config_hash):
        self.change("DELETE FROM shared_cluster_registry WHERE config_hash = ?", config_hash)
        return True

    def get_all_shared_clusters(self):
        return self.rows("SELECT * FROM shared_cluster_registry ORDER BY id DESC")
