#pragma once

namespace dbcache::store::sqlite {

/// The name of a VFS (https://www.sqlite.org/vfs.html) that is the default one, but for two things.
///
/// A checkpoint through it gives up where the WAL was begun anew after it had read how long it is.
/// SQLite up to 3.51.2 goes on, counts as moved what nobody moved, and committed pages are lost
/// (https://www.sqlite.org/wal.html, "The WAL-Reset Bug").
///
/// And the frames of a transaction go to the WAL together, by one call, once the last of them is
/// there. SQLite itself makes two calls a frame, eight for the least that we commit. That changes
/// nothing that anybody could see. Frames are shown to others only after the last one, which has
/// the commit in its header, was written; and whatever this connection asks of the file itself
/// (reading, syncing, its size, cutting it off) writes first what was kept back. Where that fails,
/// what was asked fails, and the transaction with it. What is kept back of one that was rolled back
/// is forgotten as it lets go of the lock to write.
///
/// Registered on the first call, for good. Thread-safe; holding a pass of the ForkGate.
[[nodiscard]] const char* wal_vfs();

}  // namespace dbcache::store::sqlite
