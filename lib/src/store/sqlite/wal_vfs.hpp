#pragma once

namespace dbcache::store::sqlite {

/// The name of a VFS (https://www.sqlite.org/vfs.html) that is the default one, but for how it
/// writes to a WAL: the frames of a transaction go to the file together, by one call, once the last
/// of them is there. SQLite itself makes two calls a frame, eight for the least that we commit.
///
/// It changes nothing that anybody could see. Frames are shown to others only after the last one,
/// which has the commit in its header, was written; and whatever this connection asks of the file
/// itself (reading, syncing, its size, cutting it off) writes first what was kept back. Where that
/// fails, what was asked fails.
///
/// Registered on the first call, for good. Thread-safe; holding a pass of the ForkGate.
[[nodiscard]] const char* wal_gathering_vfs();

}  // namespace dbcache::store::sqlite
