#pragma once

namespace dbcache::store::sqlite {

/// The name of a VFS (https://www.sqlite.org/vfs.html) that is the default one, with one exception:
/// a checkpoint gives up if the WAL was begun anew after the checkpoint had read its length. SQLite
/// up to 3.51.2 continues, counts pages as moved that were not, and loses committed pages
/// (https://www.sqlite.org/wal.html, "The WAL-Reset Bug").
///
/// The first call registers it, for good. Thread-safe; call it holding a pass of the ForkGate.
[[nodiscard]] const char* wal_vfs();

}  // namespace dbcache::store::sqlite
