#pragma once

/// Marks what the shared library exports; everything else stays inside it.
#define DBCACHE_EXPORT __attribute__((visibility("default")))
