"""Fixtures as users of the documented system have them. They call every method of the document on
the `CacheManager` that they are given."""

import os
import time

CONFIG = {
    "cluster_name": "test_name",
    "host": "https://workspace.cloud.databricks.com",
    "node_type_id": "m5.large",
    "spark_version": "13.3.x-scala2.12",
    "num_workers": 1,
    "created_at": "2025-06-09T13:37:23.420000",
    "autotermination_minutes": 120,
    "is_shared": False,
}


def cached_cluster(manager):
    yield manager.load_cluster_cache()
    yield manager.get_cached_cluster_info()
    yield manager.is_cluster_cache_valid({})
    yield manager.cache_new_cluster("cluster-123", CONFIG)
    cache_data = manager.load_cluster_cache()
    yield cache_data
    yield manager.is_cluster_cache_valid(cache_data)
    yield manager.get_cached_cluster_info()
    yield manager.update_cluster_access("cluster-123")
    yield manager.update_cluster_access("cluster-404")
    yield manager.cache_new_cluster("cluster-456", {**CONFIG, "is_shared": True, "num_workers": 4})
    yield manager.update_cluster_access("cluster-123")
    yield manager.get_all_clusters()
    yield manager.get_cache_statistics()
    # Saves the loaded cluster again, with a key of the fixture's own.
    cache_data = manager.load_cluster_cache()
    cache_data["notebook_path"] = "/Repos/tests"
    yield manager.save_cluster_cache(cache_data)
    yield manager.save_cluster_cache({"cluster_id": "cluster-789", "is_active": False})
    yield manager.get_all_clusters()
    yield manager.cache_new_cluster("cluster-123", {"cluster_name": "again"})
    yield manager.load_cluster_cache()
    yield manager.remove_terminated_cluster("cluster-789")
    yield manager.remove_terminated_cluster("cluster-789")


def conditions(manager):
    for number in range(4):
        manager.cache_new_cluster(
            f"c-{number}", {"cluster_name": f"test-{number}", "num_workers": number}
        )
    for condition in [
        None,
        "",
        "is_active = 1",
        "is_active = 1 AND num_workers > 2",
        "cluster_name LIKE 'TEST-%'",
        "num_workers IN (0, 2) OR cluster_name GLOB '*-3'",
        "status = \"RUNNING\" AND host IS NULL",
        "datetime(expiry_time) > datetime('now')",
        "datetime(expiry_time) < datetime('now')",
        "julianday(expiry_time) - julianday(last_accessed) BETWEEN 0 AND 1",
        "access_count = (SELECT max(access_count) FROM clusters)",
        "lower(substr(cluster_id, 1, 1)) = 'c' -- all of them",
    ]:
        yield manager.get_all_clusters(where_clause=condition)


def expiry(manager, short_lived):
    short_lived.cache_new_cluster("cluster-1", CONFIG)
    time.sleep(0.1)
    yield manager.load_cluster_cache()
    yield manager.get_cached_cluster_info()["is_valid"]
    yield manager.get_cache_statistics()
    yield manager.get_all_clusters("expiry_time <= strftime('%Y-%m-%dT%H:%M:%f', 'now')")
    yield manager.cleanup_expired_clusters()
    yield manager.cleanup_expired_clusters()
    yield manager.cache_new_cluster("cluster-2", {})
    yield manager.clear_cluster_cache()
    yield manager.clear_cluster_cache()


def shared_cluster(manager):
    pid = os.getpid()
    yield manager.can_join_shared_cluster_creation("config_hash_123")
    yield manager.get_shared_cluster_info("config_hash_123")
    yield manager.register_shared_cluster_creation("config_hash_123", pid)
    yield manager.register_shared_cluster_creation("config_hash_123", pid)
    yield manager.can_join_shared_cluster_creation("config_hash_123")
    yield manager.get_shared_cluster_info("config_hash_123")
    yield manager.update_shared_cluster_status("config_hash_123", "ready", cluster_id="cluster-456")
    yield manager.get_shared_cluster_info("config_hash_123")
    yield manager.increment_shared_cluster_usage("config_hash_123")
    yield manager.increment_shared_cluster_usage("config_hash_123")
    yield manager.decrement_shared_cluster_usage("config_hash_123")
    yield manager.increment_shared_cluster_usage("unknown")
    yield manager.decrement_shared_cluster_usage("unknown")
    yield manager.register_shared_cluster_creation("other", worker_pid=pid)
    yield manager.update_shared_cluster_status("other", "failed", error_message="no quota")
    yield manager.register_shared_cluster_creation("other", pid)
    yield manager.can_join_shared_cluster_creation("other")
    yield manager.get_all_shared_clusters()
    for _ in range(3):
        yield manager.decrement_shared_cluster_usage("config_hash_123")
    yield manager.cleanup_shared_cluster_registry("config_hash_123")
    yield manager.cleanup_shared_cluster_registry("config_hash_123")
    yield manager.get_all_shared_clusters()


def database(manager):
    yield manager.cache_new_cluster("cluster-1", CONFIG)
    yield manager.optimize_database()
    info = manager.get_database_info()
    yield info["exists"]
    yield info["path"] == os.path.abspath(manager.db_path)
    yield manager.expiry_time.total_seconds()
