#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <sqlite3.h>
#include <string>

// A VFS (https://www.sqlite.org/vfs.html) that stands before SQLite's own and fails on demand: a
// full disk, an fsync that fails, a read error; or only watches.
namespace dbcache::test {

/// `committed`: SQLite's lock to write is let go of, where others see what was committed already.
/// `unmap`: pages that were mapped are given up, as a checkpoint does that has read how long the
/// WAL is, and not yet how much of it is in the database (wal.c, sqlite3WalCheckpoint).
enum class FileCall { open, read, write, sync, close, committed, unmap };

struct FileAccess {
  FileCall call;
  const std::string& path;

  [[nodiscard]] bool on_wal() const { return path.ends_with("-wal"); }
};

/// Asked before each access: SQLITE_OK lets it through, another code is its result.
using FileJudge = std::function<int(const FileAccess&)>;

/// While this lives, every access of SQLite's to a file in this process is judged. One at a time.
class FaultVfs {
 public:
  explicit FaultVfs(FileJudge judge) {
    shim();
    set_judge(std::make_shared<const FileJudge>(std::move(judge)));
  }
  ~FaultVfs() { set_judge(nullptr); }
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

 private:
  /// What SQLite allocates for a file of ours; the real one's memory follows it.
  struct File {
    sqlite3_file base;
    std::string* path;

    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  };

  struct State {
    std::mutex mutex;
    std::shared_ptr<const FileJudge> judge;
    sqlite3_vfs* real = nullptr;
    sqlite3_vfs vfs{};
  };

  static State& state() {
    static State& state = *new State;
    return state;
  }

  static void set_judge(std::shared_ptr<const FileJudge> judge) {
    const std::lock_guard lock(state().mutex);
    state().judge = std::move(judge);
  }

  static int judge(FileCall call, const std::string& path) {
    std::shared_ptr<const FileJudge> judge;
    {
      const std::lock_guard lock(state().mutex);
      judge = state().judge;
    }
    return judge ? (*judge)({call, path}) : SQLITE_OK;
  }

  /// Registers the shim as the default, once; it stays, and lets everything through.
  static void shim() {
    static const bool done = [] {
      sqlite3_initialize();
      State& shared = state();
      shared.real = sqlite3_vfs_find(nullptr);
      shared.vfs = *shared.real;
      shared.vfs.zName = "dbcache-test-fault";
      shared.vfs.szOsFile = static_cast<int>(sizeof(File)) + shared.real->szOsFile;
      shared.vfs.xOpen = open;
      sqlite3_vfs_register(&shared.vfs, 1);
      return true;
    }();
    static_cast<void>(done);
  }

  static File* of(sqlite3_file* file) { return reinterpret_cast<File*>(file); }

  static int open(sqlite3_vfs*, const char* name, sqlite3_file* out, int flags, int* out_flags) {
    File* file = of(out);
    file->base.pMethods = nullptr;
    file->path = new std::string(name == nullptr ? "" : name);
    file->real()->pMethods = nullptr;
    int result = judge(FileCall::open, *file->path);
    if (result == SQLITE_OK) {
      result = state().real->xOpen(state().real, name, file->real(), flags, out_flags);
    }
    if (result == SQLITE_OK) {
      file->base.pMethods = methods();
    } else {
      delete file->path;
    }
    return result;
  }

  static int close(sqlite3_file* out) {
    File* file = of(out);
    judge(FileCall::close, *file->path);
    const int result = file->real()->pMethods->xClose(file->real());
    delete file->path;
    return result;
  }

  static const sqlite3_io_methods* methods() {
    static const sqlite3_io_methods table = [] {
      sqlite3_io_methods shim{};
      shim.iVersion = 3;  // with shared memory and mapped reads, of which there are none
      add_contents(shim);
      add_locks(shim);
      add_facts(shim);
      add_shared_memory(shim);
      add_mapped_reads(shim);
      return shim;
    }();
    return &table;
  }

  static void add_contents(sqlite3_io_methods& shim) {
    shim.xClose = close;
    shim.xRead = [](sqlite3_file* f, void* to, int size, sqlite3_int64 at) {
      const int result = judge(FileCall::read, *of(f)->path);
      sqlite3_file* real = of(f)->real();
      return result != SQLITE_OK ? result : real->pMethods->xRead(real, to, size, at);
    };
    shim.xWrite = [](sqlite3_file* f, const void* from, int size, sqlite3_int64 at) {
      const int result = judge(FileCall::write, *of(f)->path);
      sqlite3_file* real = of(f)->real();
      return result != SQLITE_OK ? result : real->pMethods->xWrite(real, from, size, at);
    };
    shim.xTruncate = [](sqlite3_file* f, sqlite3_int64 size) {
      return of(f)->real()->pMethods->xTruncate(of(f)->real(), size);
    };
    shim.xSync = [](sqlite3_file* f, int flags) {
      const int result = judge(FileCall::sync, *of(f)->path);
      sqlite3_file* real = of(f)->real();
      return result != SQLITE_OK ? result : real->pMethods->xSync(real, flags);
    };
    shim.xFileSize = [](sqlite3_file* f, sqlite3_int64* size) {
      return of(f)->real()->pMethods->xFileSize(of(f)->real(), size);
    };
  }

  static void add_locks(sqlite3_io_methods& shim) {
    shim.xLock = [](sqlite3_file* f, int level) {
      return of(f)->real()->pMethods->xLock(of(f)->real(), level);
    };
    shim.xUnlock = [](sqlite3_file* f, int level) {
      return of(f)->real()->pMethods->xUnlock(of(f)->real(), level);
    };
    shim.xCheckReservedLock = [](sqlite3_file* f, int* held) {
      return of(f)->real()->pMethods->xCheckReservedLock(of(f)->real(), held);
    };
  }

  static void add_facts(sqlite3_io_methods& shim) {
    shim.xFileControl = [](sqlite3_file* f, int operation, void* argument) {
      return of(f)->real()->pMethods->xFileControl(of(f)->real(), operation, argument);
    };
    shim.xSectorSize = [](sqlite3_file* f) {
      return of(f)->real()->pMethods->xSectorSize(of(f)->real());
    };
    shim.xDeviceCharacteristics = [](sqlite3_file* f) {
      return of(f)->real()->pMethods->xDeviceCharacteristics(of(f)->real());
    };
  }

  static void add_shared_memory(sqlite3_io_methods& shim) {
    shim.xShmMap = [](sqlite3_file* f, int page, int size, int extend, void volatile** out) {
      return of(f)->real()->pMethods->xShmMap(of(f)->real(), page, size, extend, out);
    };
    shim.xShmLock = [](sqlite3_file* f, int offset, int count, int flags) {
      // https://www.sqlite.org/walformat.html#wal_locks
      constexpr int write_lock = 0;
      if (offset == write_lock && (flags & SQLITE_SHM_UNLOCK) != 0) {
        judge(FileCall::committed, *of(f)->path);
      }
      return of(f)->real()->pMethods->xShmLock(of(f)->real(), offset, count, flags);
    };
    shim.xShmBarrier = [](sqlite3_file* f) { of(f)->real()->pMethods->xShmBarrier(of(f)->real()); };
    shim.xShmUnmap = [](sqlite3_file* f, int remove) {
      return of(f)->real()->pMethods->xShmUnmap(of(f)->real(), remove);
    };
  }

  static void add_mapped_reads(sqlite3_io_methods& shim) {
    shim.xFetch = [](sqlite3_file*, sqlite3_int64, int, void** page) {
      *page = nullptr;
      return SQLITE_OK;
    };
    shim.xUnfetch = [](sqlite3_file* f, sqlite3_int64, void*) {
      judge(FileCall::unmap, *of(f)->path);
      return SQLITE_OK;
    };
  }
};

}  // namespace dbcache::test
