"""The Python examples of the document, word for word."""

BASIC = '''\
from Fixtures.Databricks.cache_manager import CacheManager

# Initialize cache manager
cache_manager = CacheManager(default_expiry_hours=1)

# Cache a new cluster
cluster_config = {
    "cluster_name": "test-cluster",
    "cluster_name": "test_name",
    "host": "https://workspace.cloud.databricks.com",
    "node_type_id": "m5.large",
    "spark_version": "13.3.x-scala2.12",
    "num_workers": 1,
    "created_at": "2025-06-09T13:37:23.420000"
    "autotermination_minutes": 120,
    "is_shared": False
}
cache_manager.cache_new_cluster("cluster-123", cluster_config)

# Load cached cluster
cache_data = cache_manager.load_cluster_cache()
if cache_data:
    print(f"Found cached cluster: {cache_data['cluster_id']}")

# Check if cache is valid
is_valid = cache_manager.is_cluster_cache_valid(cache_data)
'''

ADVANCED = '''\
# Update access tracking
cache_manager.update_cluster_access("cluster-123")

# Get cache statistics
stats = cache_manager.get_cache_statistics()
print(f"Active clusters: {stats['active_clusters']}")
print(f"Total accesses: {stats['total_accesses']}")

# Get all cached clusters
all_clusters = cache_manager.get_all_clusters()
for cluster in all_clusters:
    print(f"Cluster {cluster['cluster_id']}: {cluster['cluster_name']}")

# Clean up expired clusters
removed_count = cache_manager.cleanup_expired_clusters()
print(f"Removed {removed_count} expired clusters")

# Clear all cache
cache_manager.clear_cluster_cache()
'''

SHARED = '''\
# Register shared cluster creation
success = cache_manager.register_shared_cluster_creation("config_hash_123", os.getpid())

# Check if we can join existing creation
can_join = cache_manager.can_join_shared_cluster_creation("config_hash_123")

# Update cluster status
cache_manager.update_shared_cluster_status("config_hash_123", "ready", cluster_id="cluster-456")

# Get shared cluster information
info = cache_manager.get_shared_cluster_info("config_hash_123")

# Manage usage counts
new_count = cache_manager.increment_shared_cluster_usage("config_hash_123")
remaining_count = cache_manager.decrement_shared_cluster_usage("config_hash_123")

# Cleanup shared cluster registry
success = cache_manager.cleanup_shared_cluster_registry("config_hash_123")

# Get all shared clusters
all_shared = cache_manager.get_all_shared_clusters()
'''

DEBUG = '''\
import logging
logging.basicConfig(level=logging.DEBUG)
'''
