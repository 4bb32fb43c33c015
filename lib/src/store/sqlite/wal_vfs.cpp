#include "store/sqlite/wal_vfs.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <new>
#include <sqlite3.h>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace dbcache::store::sqlite {
namespace {

/// A frame is a header, and a page of the database (https://www.sqlite.org/fileformat2.html, 4.1).
constexpr int frame_header_size = 24;

/// What a larger transaction has goes to the file in pieces of this size and less than a frame
/// more: SQLite's VFS for Unix takes 128 KiB - 1 a call and no more (os_unix.c, seekAndWriteFd),
/// and a frame has 64 KiB and a header at most.
constexpr std::size_t most_gathered = std::size_t{32} * 1024;

/// Of the database after the commit, in pages; 0 in every frame but a transaction's last.
bool has_commit(const void* frame_header) {
  const auto* const bytes = static_cast<const unsigned char*>(frame_header);
  return (bytes[4] | bytes[5] | bytes[6] | bytes[7]) != 0;
}

struct DatabaseMethods;

/// What SQLite allocates for an open WAL; the memory of the file that is written follows it.
class WalFile : public sqlite3_file {
 public:
  WalFile() : sqlite3_file{nullptr} {}

  [[nodiscard]] sqlite3_file* file() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  [[nodiscard]] const sqlite3_io_methods& methods() { return *file()->pMethods; }

  int read(void* to, int size, sqlite3_int64 at) {
    const int result = write_gathered();
    if (result != SQLITE_OK) return result;
    read_last_ = at;
    return methods().xRead(file(), to, size, at);
  }

  int write(const void* from, int size, sqlite3_int64 at) {
    if (failed_ != SQLITE_OK) return failed_;
    const bool is_next = gathered_.empty() || at == begin_ + std::ssize(gathered_);
    // Where pages were written again in their place, a commit reads each frame after them, and
    // writes its header again for the checksum: without a page (wal.c, walRewriteChecksums).
    const bool is_written_again = std::exchange(read_last_, nothing) == at;
    if (size == frame_header_size && is_next && !page_is_next_ && !is_written_again) {
      if (!gather(from, size, at)) return SQLITE_IOERR_NOMEM;
      page_is_next_ = true;
      ends_ = has_commit(from);
      return SQLITE_OK;
    }
    if (is_next && page_is_next_) {
      if (!gather(from, size, at)) return SQLITE_IOERR_NOMEM;
      page_is_next_ = false;
      return ends_ || gathered_.size() >= most_gathered ? write_gathered() : SQLITE_OK;
    }
    // The WAL's own header, or a part of a frame that is written again.
    const int result = write_gathered();
    return result != SQLITE_OK ? result : methods().xWrite(file(), from, size, at);
  }

  int write_gathered() {
    page_is_next_ = false;
    if (gathered_.empty()) return SQLITE_OK;
    const int result =
        methods().xWrite(file(), gathered_.data(), static_cast<int>(gathered_.size()), begin_);
    gathered_.clear();
    // SQLite rolls all of it back where a write failed, but not where a read did.
    failed_ = result;
    return result;
  }

  /// The transaction has ended: what is still kept back was rolled back, and others write there.
  void forget() {
    gathered_.clear();
    page_is_next_ = false;
    failed_ = SQLITE_OK;
  }

  DatabaseMethods* database = nullptr;  ///< Whose WAL it is.

 private:
  [[nodiscard]] bool gather(const void* from, int size, sqlite3_int64 at) {
    const auto* const bytes = static_cast<const std::byte*>(from);
    try {
      if (gathered_.empty()) begin_ = at;
      gathered_.insert(gathered_.end(), bytes, bytes + size);
    } catch (const std::bad_alloc&) {
      gathered_.clear();
      page_is_next_ = false;
      return false;
    }
    return true;
  }

  static constexpr sqlite3_int64 nothing = -1;

  std::vector<std::byte> gathered_;  ///< Frames of one transaction, without gaps.
  sqlite3_int64 begin_ = 0;          ///< Where in the file.
  int failed_ = SQLITE_OK;  ///< Frames of this transaction are missing: it is not to be committed.
  bool page_is_next_ = false;
  bool ends_ = false;                  ///< With the frame that was begun last.
  sqlite3_int64 read_last_ = nothing;  ///< Where in the file, if nothing was written since.
};
static_assert(sizeof(WalFile) % alignof(std::max_align_t) == 0 || alignof(WalFile) <= 8);

WalFile& of(sqlite3_file* file) { return *static_cast<WalFile*>(file); }

// ---- The database's own file

/// Of the WAL (https://www.sqlite.org/walformat.html, 2.1): new ones for each that is begun.
using Salts = std::array<std::uint32_t, 2>;

/// The locks of the WAL-index (the same, 2.3).
constexpr int write_lock = 0;
constexpr int checkpoint_lock = 1;
constexpr int first_read_lock = 3;

/// What an open database is called by: as the file itself is, but for those locks.
struct DatabaseMethods : sqlite3_io_methods {
  const sqlite3_io_methods* under;
  bool may_write;  ///< It has the lock for it.
  WalFile* wal;    ///< Null while it is not open.
  Salts salts;     ///< When a checkpoint began.
};
/// It lies in SQLite's memory of the file, behind what is the file's own.
static_assert(std::is_trivially_destructible_v<DatabaseMethods>);

DatabaseMethods& methods_of(sqlite3_file* file) {
  return *static_cast<DatabaseMethods*>(const_cast<sqlite3_io_methods*>(file->pMethods));
}

constexpr int offset_of_methods(const sqlite3_vfs& under) {
  constexpr int alignment = alignof(std::max_align_t);
  return (under.szOsFile + alignment - 1) / alignment * alignment;
}

Salts salts_of(sqlite3_file* file) {
  constexpr int region_size = 32768;  // of the WAL-index, the first of which has the header
  constexpr int first_salt = 32 / sizeof(std::uint32_t);
  volatile void* region = nullptr;
  if (methods_of(file).under->xShmMap(file, 0, region_size, 0, &region) != SQLITE_OK ||
      region == nullptr) {
    return {};
  }
  const auto* const words = static_cast<const volatile std::uint32_t*>(region);
  return {__atomic_load_n(words + first_salt, __ATOMIC_ACQUIRE),
          __atomic_load_n(words + first_salt + 1, __ATOMIC_ACQUIRE)};
}

/// A checkpoint takes its lock, reads the WAL-index, takes the first lock of readers alone, and
/// moves pages. Until it has the second one a writer may begin the WAL anew, and not from then on
/// (wal.c, walCheckpoint, walRestartLog). One that keeps writers away meanwhile has read it since.
int lock_wal_index(sqlite3_file* file, int offset, int count, int flags) {
  DatabaseMethods& methods = methods_of(file);
  const bool ends = offset == write_lock && (flags & SQLITE_SHM_UNLOCK) != 0;
  if (ends && methods.wal != nullptr) methods.wal->forget();
  const int result = methods.under->xShmLock(file, offset, count, flags);
  if (result != SQLITE_OK || count != 1 || (flags & SQLITE_SHM_EXCLUSIVE) == 0) return result;
  const bool is_taken = (flags & SQLITE_SHM_LOCK) != 0;
  if (offset == write_lock) methods.may_write = is_taken;
  if (offset == checkpoint_lock && is_taken) methods.salts = salts_of(file);
  if (offset == first_read_lock && is_taken && !methods.may_write &&
      methods.salts != salts_of(file)) {
    methods.under->xShmLock(file, offset, count, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
    return SQLITE_BUSY;
  }
  return SQLITE_OK;
}

// ---- The WAL

int close(sqlite3_file* file) {
  if (of(file).database != nullptr) of(file).database->wal = nullptr;
  const int result = of(file).methods().xClose(of(file).file());
  of(file).~WalFile();
  return result;
}

/// Of version 1: neither memory is shared by way of a WAL, nor is it read by mapping it.
constexpr sqlite3_io_methods wal_methods{
    .iVersion = 1,
    .xClose = close,
    .xRead = [](sqlite3_file* file, void* to, int size,
                sqlite3_int64 at) { return of(file).read(to, size, at); },
    .xWrite = [](sqlite3_file* file, const void* from, int size,
                 sqlite3_int64 at) { return of(file).write(from, size, at); },
    .xTruncate =
        [](sqlite3_file* file, sqlite3_int64 size) {
          const int result = of(file).write_gathered();
          if (result != SQLITE_OK) return result;
          return of(file).methods().xTruncate(of(file).file(), size);
        },
    .xSync =
        [](sqlite3_file* file, int flags) {
          const int result = of(file).write_gathered();
          if (result != SQLITE_OK) return result;
          return of(file).methods().xSync(of(file).file(), flags);
        },
    .xFileSize =
        [](sqlite3_file* file, sqlite3_int64* size) {
          const int result = of(file).write_gathered();
          if (result != SQLITE_OK) return result;
          return of(file).methods().xFileSize(of(file).file(), size);
        },
    .xLock = [](sqlite3_file* file,
                int level) { return of(file).methods().xLock(of(file).file(), level); },
    .xUnlock = [](sqlite3_file* file,
                  int level) { return of(file).methods().xUnlock(of(file).file(), level); },
    .xCheckReservedLock =
        [](sqlite3_file* file, int* held) {
          return of(file).methods().xCheckReservedLock(of(file).file(), held);
        },
    .xFileControl =
        [](sqlite3_file* file, int operation, void* argument) {
          return of(file).methods().xFileControl(of(file).file(), operation, argument);
        },
    .xSectorSize =
        [](sqlite3_file* file) { return of(file).methods().xSectorSize(of(file).file()); },
    .xDeviceCharacteristics =
        [](sqlite3_file* file) {
          return of(file).methods().xDeviceCharacteristics(of(file).file());
        },
    .xShmMap = nullptr,
    .xShmLock = nullptr,
    .xShmBarrier = nullptr,
    .xShmUnmap = nullptr,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

struct Vfs : sqlite3_vfs {
  sqlite3_vfs* under = nullptr;
  std::string name;
};

int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* flags_out) {
  sqlite3_vfs* const under = static_cast<Vfs*>(vfs)->under;
  if ((flags & SQLITE_OPEN_WAL) == 0) {
    const int result = under->xOpen(under, path, file, flags, flags_out);
    if (result != SQLITE_OK || (flags & SQLITE_OPEN_MAIN_DB) == 0 || file->pMethods->iVersion < 2) {
      return result;
    }
    auto* const place = reinterpret_cast<std::byte*>(file) + offset_of_methods(*under);
    auto* const methods =
        new (place) DatabaseMethods{*file->pMethods, file->pMethods, false, nullptr, {}};
    methods->xShmLock = lock_wal_index;
    file->pMethods = methods;
    return SQLITE_OK;
  }
  auto* const wal = new (file) WalFile;
  wal->file()->pMethods = nullptr;
  const int result = under->xOpen(under, path, wal->file(), flags, flags_out);
  if (result == SQLITE_OK) {
    wal->pMethods = &wal_methods;
    // The path is SQLite's own (https://www.sqlite.org/c3ref/database_file_object.html).
    sqlite3_file* const database = sqlite3_database_file_object(path);
    if (database->pMethods != nullptr && database->pMethods->xShmLock == lock_wal_index) {
      wal->database = &methods_of(database);
      wal->database->wal = wal;
    }
    return SQLITE_OK;
  }
  if (wal->file()->pMethods != nullptr) wal->methods().xClose(wal->file());
  wal->~WalFile();
  file->pMethods = nullptr;
  return result;
}

}  // namespace

const char* wal_vfs() {
  // Never destroyed: connections of static objects may outlive whatever is.
  static std::mutex& mutex = *new std::mutex;
  static std::deque<Vfs>& all = *new std::deque<Vfs>;

  sqlite3_initialize();
  sqlite3_vfs* const under = sqlite3_vfs_find(nullptr);
  const std::lock_guard lock(mutex);
  for (const Vfs& vfs : all) {
    if (vfs.under == under) return vfs.zName;
  }
  // All that it does not do itself is done by the functions of the other one, which get what they
  // keep (pAppData) along with it.
  Vfs& vfs = all.emplace_back(Vfs{*under, under, std::string("dbcache-") + under->zName});
  vfs.zName = vfs.name.c_str();
  vfs.szOsFile = std::max(static_cast<int>(sizeof(WalFile)) + under->szOsFile,
                          offset_of_methods(*under) + static_cast<int>(sizeof(DatabaseMethods)));
  vfs.xOpen = open;
  sqlite3_vfs_register(&vfs, 0);
  return vfs.zName;
}

}  // namespace dbcache::store::sqlite
