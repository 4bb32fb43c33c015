#!/bin/sh
# Runs a program four times at once, on a new database that the four share.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
export DBCACHE_DATABASE="$directory/cache.db"
unset DATABRICKS_HOST DATABRICKS_TOKEN DATABRICKS_CLUSTER_ID DBCACHE_LEASE
cd "$directory"

pids=
for number in 1 2 3; do
  "$@" &
  pids="$pids $!"
done
"$@"
for pid in $pids; do wait "$pid"; done
