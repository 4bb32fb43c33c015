#!/bin/sh
# A CI job that shares a cluster with whoever runs on this machine at the same time, and reuses the one
# of the run before. Everything about Databricks is in the three commands; here they only pretend.
set -eu

cat >config.$$.json <<'JSON'
{"cluster_name": "nightly", "host": "https://workspace.cloud.databricks.com",
 "node_type_id": "m5.large", "spark_version": "13.3.x-scala2.12", "num_workers": 1}
JSON

# Gets the configuration on standard input, and prints the cluster id as its last line. Asked again with
# the same token, Databricks answers with the same cluster.
create='
  id=cluster-${DBCACHE_IDEMPOTENCY_TOKEN#dbcache-}
  dbcache started "$id"   # found again, should this script die while the cluster starts
  echo "$id"
'
# Exits 0 where the cluster still runs, 1 where it is gone.
check='test -n "$DBCACHE_CLUSTER_ID"'
terminate='echo "terminating ${DBCACHE_CLUSTER_ID:-what $DBCACHE_IDEMPOTENCY_TOKEN made}" >&2'

# For the length of one command:
dbcache run --config config.$$.json --create "$create" --check "$check" --terminate "$terminate" \
  --hand-back -- sh -c 'echo "testing on $DATABRICKS_CLUSTER_ID"'

# Or over several steps of a job, by a lease that ends by itself if the job forgets it:
LEASE=$(dbcache acquire --config config.$$.json --create "$create" --check "$check" --ttl 600)
dbcache leases
dbcache release "$LEASE"
