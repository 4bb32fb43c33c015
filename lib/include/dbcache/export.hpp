#pragma once

/// Marks the symbols that the shared library exports. All others stay inside it.
#define DBCACHE_EXPORT __attribute__((visibility("default")))
