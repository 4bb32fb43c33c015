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

namespace dbcache::store::sqlite {
namespace {

/// The WAL's salts (https://www.sqlite.org/walformat.html, 2.1). A WAL begun anew has new ones.
using Salts = std::array<std::uint32_t, 2>;

/// The locks of the WAL-index (the same, 2.3).
constexpr int write_lock = 0;
constexpr int checkpoint_lock = 1;
constexpr int first_read_lock = 3;

/// The methods of an open database file: the file's own, except for those locks.
struct DatabaseMethods : sqlite3_io_methods {
  const sqlite3_io_methods* under;
  bool may_write;  ///< The connection has the write lock.
  Salts salts;     ///< As a checkpoint found them when it began.
};
/// They lie in the memory that SQLite allocates for the file, after the file's own part.
static_assert(std::is_trivially_destructible_v<DatabaseMethods>);

DatabaseMethods& methods_of(sqlite3_file* file) {
  return *static_cast<DatabaseMethods*>(const_cast<sqlite3_io_methods*>(file->pMethods));
}

constexpr int offset_of_methods(const sqlite3_vfs& under) {
  constexpr int alignment = alignof(std::max_align_t);
  return (under.szOsFile + alignment - 1) / alignment * alignment;
}

Salts salts_of(sqlite3_file* file) {
  constexpr int region_size = 32768;  // the first region of the WAL-index has the header
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
/// moves pages. A writer may begin the WAL anew until the checkpoint has that second lock, and not
/// afterwards (wal.c, walCheckpoint, walRestartLog). A checkpoint that holds the write lock too has
/// read the WAL-index since it took it.
int lock_wal_index(sqlite3_file* file, int offset, int count, int flags) {
  DatabaseMethods& methods = methods_of(file);
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

struct Vfs : sqlite3_vfs {
  sqlite3_vfs* under = nullptr;
  std::string name;
};

int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* flags_out) {
  sqlite3_vfs* const under = static_cast<Vfs*>(vfs)->under;
  const int result = under->xOpen(under, path, file, flags, flags_out);
  if (result != SQLITE_OK || (flags & SQLITE_OPEN_MAIN_DB) == 0 || file->pMethods->iVersion < 2) {
    return result;
  }
  auto* const place = reinterpret_cast<std::byte*>(file) + offset_of_methods(*under);
  auto* const methods = new (place) DatabaseMethods{*file->pMethods, file->pMethods, false, {}};
  methods->xShmLock = lock_wal_index;
  file->pMethods = methods;
  return SQLITE_OK;
}

}  // namespace

const char* wal_vfs() {
  // Never destroyed: connections of static objects may outlive everything else.
  static std::mutex& mutex = *new std::mutex;
  static std::deque<Vfs>& all = *new std::deque<Vfs>;

  sqlite3_initialize();
  sqlite3_vfs* const under = sqlite3_vfs_find(nullptr);
  const std::lock_guard lock(mutex);
  for (const Vfs& vfs : all) {
    if (vfs.under == under) return vfs.zName;
  }
  // The other functions are those of the VFS beneath, which need its pAppData.
  Vfs& vfs = all.emplace_back(Vfs{*under, under, std::string("dbcache-") + under->zName});
  vfs.zName = vfs.name.c_str();
  vfs.szOsFile = offset_of_methods(*under) + static_cast<int>(sizeof(DatabaseMethods));
  vfs.xOpen = open;
  sqlite3_vfs_register(&vfs, 0);
  return vfs.zName;
}

}  // namespace dbcache::store::sqlite
