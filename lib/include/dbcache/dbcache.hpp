#pragma once

/// Includes every public header except <dbcache/async.hpp>, which needs Boost.Asio.
#include <dbcache/cache_manager.hpp>
#include <dbcache/cluster.hpp>
#include <dbcache/databricks.hpp>
#include <dbcache/errors.hpp>
#include <dbcache/history.hpp>
#include <dbcache/json.hpp>
#include <dbcache/lease.hpp>
#include <dbcache/move.hpp>
#include <dbcache/options.hpp>
#include <dbcache/registry.hpp>
#include <dbcache/replay.hpp>
#include <dbcache/shared_clusters.hpp>
#include <dbcache/time.hpp>
#include <dbcache/version.hpp>
