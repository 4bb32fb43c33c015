#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <pthread.h>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace dbcache::power_loss {

/// What a process did to a file under the watched directory, or said of itself.
enum class What : std::uint32_t {
  found,           ///< Opened what was there. Bytes: its path below the directory.
  create,          ///< Made a file. Bytes: its path.
  make_directory,  ///< Bytes: its path.
  write,           ///< Bytes at an offset.
  truncate,        ///< The offset is the new size.
  allocate,        ///< The offset is the size that it has at least.
  sync_begin,      ///< Of a file or directory.
  sync_end,        ///< It succeeded; the offset is the record of its begin.
  unlink,          ///< Bytes: the path.
  rename,          ///< Bytes: the path before, a zero byte, the path after.
  map,             ///< Mapped to be stored to: stores are not seen.
  snapshot,        ///< Bytes: what a mapped file held at this moment.
  acknowledge,     ///< Bytes: what a call that returned has promised.
  complain,        ///< Bytes: what is wrong.
};

/// One record of a journal.
struct Record {
  What what;
  std::uint64_t inode;
  std::uint64_t offset;
  std::string_view bytes;
};

/// The records of several processes in one total order, in memory that they share with the process
/// that made it. An operation and its record are atomic together: both are done under the lock. It
/// lives in shared memory rather than in a file so that recording costs little beside the
/// operation.
class Journal {
 public:
  /// A new one, for this process and those forked from it.
  static Journal& make();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// Nobody else is in the middle of an operation while this lives. A process that dies holding it
  /// would leave an operation without its record: whoever kills holds it himself.
  class Lock {
   public:
    explicit Lock(Journal& journal);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    Journal& journal_;
  };

  /// Empties it, for files below this directory.
  void begin(const std::string& directory, const std::string& boot_id_file);

  /// Adds a record; its number is returned. Under the lock.
  std::size_t append(const Record& record);

  /// The records so far. Under the lock, or when all is quiet.
  [[nodiscard]] std::string_view bytes() const { return {text(), used_}; }

  [[nodiscard]] std::string_view directory() const { return directory_.data(); }
  [[nodiscard]] const char* boot_id_file() const { return boot_id_file_.data(); }
  [[nodiscard]] dev_t device() const { return device_; }

  /// Readable (eventfd(2)) after every few records.
  [[nodiscard]] int ticks() const { return ticks_; }

  [[nodiscard]] bool has_seen(std::uint64_t inode) const;

 private:
  Journal() = default;
  void note(std::uint64_t inode);
  [[nodiscard]] const char* text() const { return reinterpret_cast<const char*>(this + 1); }
  [[nodiscard]] char* text() { return reinterpret_cast<char*>(this + 1); }

  pthread_mutex_t mutex_{};
  std::size_t used_ = 0;
  std::size_t records_ = 0;
  int ticks_ = -1;
  dev_t device_{};
  std::array<char, 512> directory_{};
  std::array<char, 512> boot_id_file_{};
  std::atomic<std::size_t> inodes_seen_ = 0;
  std::array<std::atomic<std::uint64_t>, 4096> inodes_{};
};

/// The records in the bytes of a journal, which must outlive them.
std::vector<Record> records_of(std::string_view bytes);

}  // namespace dbcache::power_loss
