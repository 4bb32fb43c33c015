#!/bin/sh
# A CI job that shares a cluster with the jobs that run on this machine at the same time, and reuses the
# cluster of the run before. Only the three commands ask Databricks. Here they pretend to.
set -eu

cat >config.$$.json <<'JSON'
{"cluster_name": "nightly", "host": "https://workspace.cloud.databricks.com",
 "node_type_id": "m5.large", "spark_version": "13.3.x-scala2.12", "num_workers": 1}
JSON

# Reads the configuration on standard input, and prints the cluster id as its last line. Another request
# to Databricks with the same token returns the same cluster.
create='
  id=cluster-${DBCACHE_IDEMPOTENCY_TOKEN#dbcache-}
  dbcache started "$id"   # it is found again if this script dies while the cluster starts
  echo "$id"
'
# Exits 0 if the cluster still runs, 1 if it is gone.
check='test -n "$DBCACHE_CLUSTER_ID"'
terminate='echo "terminating ${DBCACHE_CLUSTER_ID:-what $DBCACHE_IDEMPOTENCY_TOKEN made}" >&2'

# Holds the cluster while one command runs:
dbcache run --config config.$$.json --create "$create" --check "$check" --terminate "$terminate" \
  --hand-back -- sh -c 'echo "testing on $DATABRICKS_CLUSTER_ID"'

# Or holds it over several steps of a job. The lease ends by itself after 600 seconds, if the job forgets
# to release it:
LEASE=$(dbcache acquire --config config.$$.json --create "$create" --check "$check" --ttl 600)
dbcache leases
dbcache release "$LEASE"
